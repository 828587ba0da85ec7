# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import threading
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_apply, _builder_removal, _files, _newsyslog
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import (
    ConfigError,
    FileError,
    LinuxBuilderError,
    StateError,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix

STOCK = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"


@pytest.fixture(autouse=True)
def _own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Files are the test's own instead of root's."""
    monkeypatch.setattr(_newsyslog, "DIRECTORY", f"{tmp_path}/newsyslog.d")
    monkeypatch.setattr(planning, "root_owned", lambda mode: _files.Ownership(None, None, mode))


@pytest.fixture
def spec(tmp_path: pathlib.Path) -> Spec:
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA client\n")
    (tmp_path / "profiles").mkdir()
    return Spec(
        layout=Layout(f"{tmp_path}/lib/wd", f"{tmp_path}/profiles/lb", f"{tmp_path}/lb.log", "org.example.builder"),
        package="path:/x#a",
        update=False,
        host_address="127.0.0.1",
        port=31022,
        accept_any_address=False,
        cores=2,
        memory_mib=3072,
        disk_mib=None,
        client_key=f"{tmp_path}/key",
        host_key=STOCK,
        ca_file="/etc/ssl/cert.pem",
        stop_timeout=60,
    )


class FakeNix(Runner):
    """Acts as nix, sysctl and launchctl do for this module, on files below the test's directory, and counts the calls of nix."""

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__()
        self.root = root
        self.revision = "1"
        self.verbs: list[str] = []
        self.loaded = False
        self.fail_at = ""

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        words = [word for word in argv if word in ("metadata", "show-config", "--dry-run", "--expr", "--profile", "print")]
        verb = words[0] if words else os.path.basename(argv[0])
        if verb != "print":
            self.verbs.append(verb)
        if verb == self.fail_at:
            return Completed(tuple(argv), 1, "", "error: as the test wants it")
        return Completed(tuple(argv), *getattr(self, "do_" + verb.strip("-").replace("-", "_"))(argv))

    def do_metadata(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return 0, json.dumps({"url": f"{argv[-1]}?rev={self.revision}"}), ""

    def do_show_config(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return 0, json.dumps({"system": {"value": "x86_64-darwin"}}), ""

    def do_dry_run(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return 1, "", "error: more than scripts is missing"

    def do_expr(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        port = argv[-1].partition("host.port = ")[2].partition(";")[0]
        path = self.root / f"vm-{self.revision}-{port}"
        (path / "bin").mkdir(parents=True, exist_ok=True)
        (path / "bin/run-nixos-vm").write_text(f"hostfwd=tcp:127.0.0.1:{port}-:22")
        return 0, json.dumps([{"outputs": {"out": str(path)}}]), ""

    def do_profile(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        profile, path = argv[-2:]
        number = 1 + len(_builder_removal.generation_links(profile))
        os.symlink(path, f"{profile}-{number}-link")
        os.symlink(f"{os.path.basename(profile)}-{number}-link", f"{profile}.new")
        os.replace(f"{profile}.new", profile)
        return 0, "", ""

    def do_print(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return (0, f"{argv[-1]} = {{\n\tstate = running\n}}\n", "") if self.loaded else (113, "", "Could not find service")

    def do_ps(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return 0, f"qemu-system-x86_64 -drive file={self.root}/lib/wd/nixos.qcow2", ""


def deploy(spec: Spec, nix: FakeNix, check_mode: bool = False, **changes: t.Any) -> tuple[planning.Plan, Realised | None]:
    """One run of state=present; `changes` are fields of the spec."""
    wanted = spec._replace(**changes)
    deployment = _builder_apply.Deployment(wanted, nix, lambda runner: Nix(runner, "/nix"))
    nix.verbs.clear()
    plan, _current, realised = deployment.run(check_mode)
    return plan, realised


@pytest.fixture
def nix(tmp_path: pathlib.Path) -> FakeNix:
    return FakeNix(tmp_path)


def tree(root: str) -> dict[str, t.Any]:
    """Every path below root with what tells a change of it."""
    return {
        os.path.join(directory, name): os.lstat(os.path.join(directory, name)).st_mtime_ns
        for directory, directories, files in os.walk(root)
        for name in (*directories, *files)
    }


def test_a_first_run_realises_and_writes_everything(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    plan, realised = deploy(spec, nix)
    layout = spec.layout
    assert plan.changed
    assert nix.verbs == ["metadata", "show-config", "--expr", "--profile"]
    assert realised is not None
    assert planning.read_generation(layout.profile) == planning.Generation(1, realised.store_path, True)
    assert pathlib.Path(layout.known_hosts).read_text() == f"linux-builder {STOCK}\n"
    assert os.listdir(layout.keys) == ["builder_ed25519.pub"]
    assert pathlib.Path(layout.keys, "builder_ed25519.pub").read_text() == "ssh-ed25519 AAAA client\n"
    assert pathlib.Path(layout.runner).read_text() == plan.runner
    modes = {
        path: os.stat(path).st_mode & 0o777 for path in (layout.working_directory, layout.keys, layout.temporary, layout.runner)
    }
    assert list(modes.values()) == [0o755, 0o755, 0o700, 0o755]
    record = planning.read_record(layout)
    assert (record["requested"], record["locked"]) == ("path:/x#a", "path:/x?rev=1#a")
    assert record["created_parents"] == [f"{tmp_path}/lib", _newsyslog.DIRECTORY]
    assert pathlib.Path(_newsyslog.path(layout)).read_text() == _newsyslog.text(layout, 1024, 5)
    assert not os.path.exists(layout.nix_home)


def test_a_second_run_changes_nothing_and_starts_no_nix(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    first, _rest = deploy(spec, nix)
    before = tree(str(tmp_path))
    second, _rest = deploy(spec, nix)
    assert not second.changed
    assert nix.verbs == []
    assert tree(str(tmp_path)) == before
    assert (second.before, second.after) == ("", "")
    assert second.definition == first.definition


def test_check_mode_on_a_fresh_mac_names_everything_and_touches_nothing(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    os.unlink(spec.client_key + ".pub")
    before = tree(str(tmp_path))
    plan, realised = deploy(spec, nix, check_mode=True)
    assert plan.changed
    assert realised is None
    assert nix.verbs == []
    assert tree(str(tmp_path)) == before
    layout = spec.layout
    assert "store path: will be realised" in plan.after
    for path in (
        *(path for path, _mode in layout.directories),
        layout.runner,
        layout.known_hosts,
        layout.record,
        f"{layout.keys}/builder_ed25519.pub",
    ):
        assert f" {path}: " in plan.after
    assert plan.definition["Label"] == "org.example.builder"


def test_cores_and_memory_change_the_runner_but_build_nothing(spec: Spec, nix: FakeNix) -> None:
    first, _rest = deploy(spec, nix)
    plan, _rest = deploy(spec, nix, cores=7, memory_mib=9000)
    assert plan.changed
    assert not plan.switch
    assert nix.verbs == []
    assert "-m 9000 -smp 7" in pathlib.Path(spec.layout.runner).read_text()
    digest = "LINUX_BUILDER_DIGEST"
    assert plan.definition["EnvironmentVariables"][digest] != first.definition["EnvironmentVariables"][digest]


def test_a_new_port_is_built_from_the_recorded_lock_even_when_the_branch_has_moved(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    nix.revision = "2"
    plan, realised = deploy(spec, nix, port=2222)
    assert nix.verbs == ["show-config", "--dry-run", "--expr", "--profile"]
    assert realised is not None
    assert realised.locked == "path:/x?rev=1#a"
    assert plan.switch


def test_a_moved_branch_is_followed_only_with_update(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    nix.revision = "2"
    assert not deploy(spec, nix)[0].changed
    assert deploy(spec, nix, check_mode=True, update=True)[0].changed
    plan, realised = deploy(spec, nix, update=True)
    assert plan.switch
    assert not os.path.exists(spec.layout.nix_home)
    assert realised is not None
    assert realised.locked == "path:/x?rev=2#a"
    assert planning.read_generation(spec.layout.profile).number == 2
    plan, _rest = deploy(spec, nix, update=True)
    assert not plan.changed
    assert nix.verbs == ["metadata"]


def test_another_reference_is_resolved_again(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    _plan, realised = deploy(spec, nix, package="path:/y#a")
    assert realised is not None
    assert realised.locked == "path:/y?rev=1#a"


def test_a_lost_profile_is_made_again_without_evaluation(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    os.unlink(spec.layout.profile)
    plan, _rest = deploy(spec, nix)
    assert plan.switch
    assert nix.verbs == ["--profile"]


def test_a_collected_store_path_is_realised_again_from_the_lock(spec: Spec, nix: FakeNix) -> None:
    import shutil

    _plan, realised = deploy(spec, nix)
    assert realised is not None
    shutil.rmtree(realised.store_path)
    assert deploy(spec, nix)[1] == realised
    assert nix.verbs == ["show-config", "--dry-run", "--expr", "--profile"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 99}', "\x00\xff"])
def test_a_damaged_record_costs_one_realisation(spec: Spec, nix: FakeNix, damage: str) -> None:
    deploy(spec, nix)
    pathlib.Path(spec.layout.record).write_text(damage)
    deploy(spec, nix)
    assert "--expr" in nix.verbs
    assert not deploy(spec, nix)[0].changed


@pytest.mark.parametrize("verb", ["metadata", "show-config", "--expr", "--profile"])
def test_a_failure_of_nix_at_any_step_keeps_the_builder_and_the_next_run_converges(spec: Spec, nix: FakeNix, verb: str) -> None:
    deploy(spec, nix)
    generation = planning.read_generation(spec.layout.profile)
    runner = pathlib.Path(spec.layout.runner).read_text()
    nix.revision, nix.fail_at = "2", verb
    with pytest.raises(LinuxBuilderError):
        deploy(spec, nix, update=True, port=2222)
    assert planning.read_generation(spec.layout.profile) == generation
    assert pathlib.Path(spec.layout.runner).read_text() == runner
    nix.fail_at = ""
    assert deploy(spec, nix, update=True, port=2222)[0].changed
    assert not deploy(spec, nix, port=2222)[0].changed


def test_a_crash_before_the_record_is_repaired_by_the_next_run(spec: Spec, nix: FakeNix, monkeypatch: pytest.MonkeyPatch) -> None:
    write = _files.write

    def crash(path: str, *rest: t.Any, **options: t.Any) -> None:
        if path == spec.layout.record:
            raise FileError("power cut")
        write(path, *rest, **options)

    monkeypatch.setattr(_files, "write", crash)
    with pytest.raises(FileError):
        deploy(spec, nix)
    monkeypatch.setattr(_files, "write", write)
    assert deploy(spec, nix)[0].changed
    assert not deploy(spec, nix)[0].changed
    assert planning.read_generation(spec.layout.profile).number == 1


def test_the_record_is_written_after_everything_that_it_vouches_for(
    spec: Spec, nix: FakeNix, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = _files.write

    def note(path: str, *rest: t.Any, **options: t.Any) -> None:
        written.append(path)
        write(path, *rest, **options)

    monkeypatch.setattr(_files, "write", note)
    deploy(spec, nix)
    assert len(written) == 5
    assert written[-1] == spec.layout.record


@pytest.mark.parametrize("verb", ["metadata", "show-config", "--expr"])
def test_a_first_run_that_fails_leaves_no_trace(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path, verb: str) -> None:
    before = set(tree(str(tmp_path)))
    nix.fail_at = verb
    with pytest.raises(LinuxBuilderError):
        deploy(spec, nix)
    assert set(tree(str(tmp_path))) == before


def test_what_a_killed_first_run_left_is_taken_up_or_removed(spec: Spec, nix: FakeNix) -> None:
    os.makedirs(spec.layout.nix_home + "/cache/nix")
    deploy(spec, nix)
    assert not os.path.exists(spec.layout.nix_home)
    os.makedirs(spec.layout.nix_home + "/cache/nix")
    absent(spec, nix)
    assert not os.path.exists(spec.layout.working_directory)


def test_files_with_another_mode_or_content_are_put_right(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    os.chmod(spec.layout.runner, 0o777)
    pathlib.Path(spec.layout.known_hosts).write_text("linux-builder ssh-ed25519 other\n")
    os.chmod(spec.layout.keys, 0o777)
    plan, _rest = deploy(spec, nix)
    assert {change.path for change in plan.files} == {spec.layout.runner, spec.layout.known_hosts}
    assert plan.directories == ((spec.layout.keys, 0o755),)
    assert "linux-builder ssh-ed25519 other" in plan.before
    assert not deploy(spec, nix)[0].changed


def test_a_new_client_key_reaches_the_keys_directory(spec: Spec, nix: FakeNix) -> None:
    first, _rest = deploy(spec, nix)
    pathlib.Path(spec.client_key + ".pub").write_text("ssh-ed25519 BBBB client\n")
    plan, _rest = deploy(spec, nix)
    assert pathlib.Path(spec.layout.keys, "builder_ed25519.pub").read_text() == "ssh-ed25519 BBBB client\n"
    assert plan.definition == first.definition  # the guest reads it live: no restart


def test_a_ca_file_that_is_not_there_is_named_before_anything_is_done(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="/none/ca.pem is not on this Mac"):
        deploy(spec, nix, ca_file="/none/ca.pem")
    assert nix.verbs == []
    (tmp_path / "ca.pem").write_text("PEM")
    assert deploy(spec, nix, ca_file=str(tmp_path / "ca.pem"))[1] is not None


def test_without_a_client_key_nothing_is_realised(spec: Spec, nix: FakeNix) -> None:
    os.unlink(spec.client_key + ".pub")
    with pytest.raises(StateError, match="role credentials"):
        deploy(spec, nix)
    assert "--expr" not in nix.verbs
    assert not os.path.exists(spec.layout.working_directory)


def test_a_file_where_a_directory_belongs_and_a_profile_that_is_none_are_refused(spec: Spec, nix: FakeNix) -> None:
    pathlib.Path(spec.layout.profile).write_text("")
    with pytest.raises(FileError, match="no Nix profile"):
        deploy(spec, nix)
    os.unlink(spec.layout.profile)
    pathlib.Path(spec.layout.working_directory).parent.mkdir()
    pathlib.Path(spec.layout.working_directory).write_text("")
    with pytest.raises(FileError, match="is not a directory"):
        deploy(spec, nix)


def test_two_runs_at_once_wait_for_one_another_and_give_up_with_words(spec: Spec, nix: FakeNix) -> None:
    order: list[str] = []

    def other() -> None:
        with _builder_apply.exclusive(spec.layout.profile):
            order.append("other")

    with _builder_apply.exclusive(spec.layout.profile):
        with pytest.raises(StateError, match="another run"), _builder_apply.exclusive(spec.layout.profile, wait=0.3):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.5)
        order.append("mine")
    thread.join(10)
    assert order == ["mine", "other"]


def test_a_run_without_any_nix_directory_needs_no_lock() -> None:
    with _builder_apply.exclusive("/nonexistent/profiles/lb", wait=0):
        pass


# --- absent ------------------------------------------------------------------------------------------------------


def absent(spec: Spec, nix: FakeNix, check_mode: bool = False, keep_data: bool = False) -> _builder_removal.Removal:
    layout = spec.layout
    params = {
        "working_directory": layout.working_directory,
        "profile": layout.profile,
        "log_path": layout.log_path,
        "label": layout.label,
        "keep_data": keep_data,
    }
    return _builder_apply.remove(params, nix, None if check_mode else _builder_apply.exclusive(layout.profile))


def test_absent_leaves_the_mac_as_it_was_before_the_first_run(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    before = set(tree(str(tmp_path)))
    deploy(spec, nix)
    deploy(spec, nix, port=2222)
    pathlib.Path(spec.layout.disk).write_text("disk")
    for suffix in ("", ".0", ".12.bz2", ".1.gz"):
        pathlib.Path(spec.layout.log_path + suffix).write_text("log")
    pathlib.Path(spec.layout.temporary, "store.img").write_text("x")
    assert absent(spec, nix, check_mode=True).changed
    assert os.path.exists(spec.layout.disk)
    assert absent(spec, nix).changed
    assert {path for path in tree(str(tmp_path)) if f"{tmp_path}/vm-" not in path} == before
    assert not absent(spec, nix).changed


def test_absent_with_keep_data_leaves_the_disk_alone(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    pathlib.Path(spec.layout.disk).write_text("disk")
    absent(spec, nix, keep_data=True)
    assert os.listdir(spec.layout.working_directory) == ["nixos.qcow2"]
    assert not absent(spec, nix, keep_data=True).changed
    assert planning.read_generation(spec.layout.profile) == planning.Generation()


def test_absent_leaves_the_other_entries_and_logs_beside_ours(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    others = (f"{_newsyslog.DIRECTORY}/other.conf", f"{spec.layout.log_path}.old", f"{spec.layout.log_path}.0.bz2.part")
    for path in others:
        pathlib.Path(path).write_text("mine")
    absent(spec, nix)
    assert all(os.path.exists(path) for path in others)
    assert not os.path.exists(_newsyslog.path(spec.layout))


def test_absent_never_removes_what_is_not_ours(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    pathlib.Path(spec.layout.working_directory, "diary").write_text("mine")
    pathlib.Path(spec.layout.profile + "-other-1-link").symlink_to("/x")
    assert absent(spec, nix).foreign == ("diary",)
    assert os.listdir(spec.layout.working_directory) == ["diary"]
    assert os.path.islink(spec.layout.profile + "-other-1-link")
    assert not absent(spec, nix).changed


def test_absent_is_refused_while_the_job_is_loaded_but_foreseen_in_check_mode(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    nix.loaded = True
    assert absent(spec, nix, check_mode=True).changed
    with pytest.raises(StateError, match="still loaded"):
        absent(spec, nix)
    assert os.path.exists(spec.layout.runner)


def test_absent_is_refused_while_the_vm_runs(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    pathlib.Path(spec.layout.state_directory, "vm.pid").write_text("4711\n")
    with pytest.raises(StateError, match="process 4711"):
        absent(spec, nix)


def test_a_record_cannot_make_absent_remove_directories_elsewhere(spec: Spec, nix: FakeNix, tmp_path: pathlib.Path) -> None:
    deploy(spec, nix)
    (tmp_path / "empty").mkdir()
    record = dict(planning.read_record(spec.layout), created_parents=[f"{tmp_path}/empty", "/", 7, f"{tmp_path}/lib"])
    pathlib.Path(spec.layout.record).write_text(json.dumps(record))
    absent(spec, nix)
    assert (tmp_path / "empty").is_dir()
    assert not (tmp_path / "lib").exists()


# --- a host key of its own -----------------------------------------------------------------------------------------


def stage(spec: Spec, nix: FakeNix, check_mode: bool = False) -> planning.Staged:
    return _builder_apply.Deployment(spec, nix, lambda runner: Nix(runner, "/nix")).stage(check_mode)


def test_staging_says_whether_the_pinned_host_key_changes_and_switches_nothing(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    profile = os.readlink(spec.layout.profile)
    own = spec._replace(per_mac=True, host_key="ssh-ed25519 BBBB")
    staged = stage(own, nix, check_mode=True)
    assert (staged.before, staged.after, staged.previous) == (STOCK, "ssh-ed25519 BBBB", "stock")
    assert os.readlink(spec.layout.profile) == profile
    assert not os.path.lexists(spec.layout.staged)


def test_staging_the_vm_that_is_there_roots_nothing(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    staged = stage(spec, nix)
    assert not staged.root
    assert staged.before == staged.after


def test_without_a_builder_there_is_no_pin_that_could_change(spec: Spec) -> None:
    staged = planning.plan_stage(spec, planning.read_current(spec), Realised("l", "/nix/store/x", "p"))
    assert (staged.before, staged.previous, staged.root) == (None, None, True)


def test_every_disk_goes_with_the_data_and_stays_with_it(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    disks = {"nixos.qcow2", "nixos.qcow2.before", "nixos.qcow2.aside-20261123T100000Z", "disk.json"}
    for name in (*disks, "vzvm.json"):
        pathlib.Path(spec.layout.path(name)).write_text("")
    removal = absent(spec, nix, keep_data=True)
    assert set(os.listdir(spec.layout.working_directory)) == disks
    assert removal.foreign == ()
    removal = absent(spec, nix)
    assert {os.path.basename(path) for path in removal.paths} >= disks
    assert not os.path.exists(spec.layout.working_directory)


def test_a_disk_of_somebody_else_stays_also_where_it_was_moved_aside(spec: Spec, nix: FakeNix) -> None:
    deploy(spec, nix)
    aside = "nixos.qcow2.aside-20261123T101500Z"
    names = ("nixos.qcow2", "nixos.qcow2.before", aside, "disk.json")
    for name in names:
        pathlib.Path(spec.layout.path(name)).write_text(name)
    removal = _builder_removal.plan_removal(spec.layout, False, {spec.layout.disk})
    assert [name for name in names if spec.layout.path(name) in removal.paths] == ["disk.json"]
    assert spec.layout.working_directory not in removal.empty_directories
    removal = _builder_removal.plan_removal(spec.layout, False)
    assert [name for name in names if spec.layout.path(name) in removal.paths] == list(names)
