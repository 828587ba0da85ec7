# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of a change, the way back, and what the next run makes of one that was killed at any step."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_change, _builder_journal, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_change_plan as planning_of_change
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import ROLL_BACK, Journal, Origin
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_turn import Turn
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.builder_world import (
    HOST_KEY,
    FakeDisk,
    FakeJob,
    Killed,
    World,
    own_files,
)


@pytest.fixture(autouse=True)
def _own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    own_files(monkeypatch, tmp_path)


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


@pytest.fixture
def builder(world: World) -> World:
    """A Mac whose builder of revision 1 serves."""
    world.change()
    return world


def test_a_first_run_brings_a_builder_that_serves(world: World, tmp_path: pathlib.Path) -> None:
    report = world.change()
    assert world.steps == ["lock", "build", "root", "profile", "write plist", "start", "ready", "prove", "settle disk"]
    assert report.taken == ["fetch", "switch", "start", "ready", "prove"]
    assert report.change.changed
    assert report.ready is not None
    assert world.serves() == "1"
    assert not os.path.exists(world.layout.journal)
    assert not os.path.lexists(world.layout.staged)
    assert planning.read_record(world.layout)["created_parents"] == [f"{tmp_path}/lib", f"{tmp_path}/newsyslog.d"]


def test_a_second_run_changes_nothing_and_starts_one_process(builder: World, tmp_path: pathlib.Path) -> None:
    before = snapshot(tmp_path)
    builder.started = 0
    report = builder.change(update=False)
    assert not report.change.changed
    assert (report.taken, report.change.before, report.change.after) == ([], "", "")
    assert builder.steps == ["ready"]
    assert builder.started == 1
    assert snapshot(tmp_path) == before


def test_an_upgrade_is_built_before_the_old_vm_stops(builder: World) -> None:
    first = builder.vm
    builder.revision = "2"
    report = builder.change()
    assert builder.steps == [
        "lock",
        "build",
        "root",
        "drain",
        "stop",
        "profile",
        "write plist",
        "start",
        "ready",
        "prove",
        "settle disk",
    ]
    assert report.change.why == ("another store path", "another launchd job")
    assert builder.serves() == "2"
    assert os.readlink(builder.layout.previous) == first
    assert planning.read_generation(builder.layout.profile).number == 2


def test_host_side_options_restart_the_vm_and_build_nothing(builder: World) -> None:
    report = builder.change(cores=7, update=False)
    assert builder.steps == ["drain", "stop", "write plist", "start", "ready", "settle disk"]
    assert report.taken == ["drain", "stop", "switch", "start", "ready"]
    assert "-smp 7" in pathlib.Path(builder.layout.runner).read_text()
    assert not os.path.lexists(builder.layout.previous)


def test_without_prove_the_answer_counts(builder: World) -> None:
    builder.revision = "2"
    builder.change(prove=False)
    assert "prove" not in builder.steps
    assert builder.serves() == "2"


def test_the_disk_is_changed_only_while_the_vm_is_stopped(builder: World) -> None:
    builder.disk = "grown to 9 GiB"
    report = builder.change(update=False)
    assert report.taken == ["drain", "stop", "disk", "start", "ready", "prove"]
    assert report.change.why == ("disk: grown to 9 GiB",)
    assert "disk: grown to 9 GiB" in report.change.after
    assert not builder.change(update=False).change.changed


def test_another_reason_to_restart_counts_only_while_the_vm_runs(builder: World) -> None:
    builder.reasons = ["its clock is 90 s behind"]
    assert builder.change(update=False).change.why == ("its clock is 90 s behind",)
    builder.service = builder.vm = None
    assert builder.change(update=False).taken == ["start", "ready"]


def test_a_job_that_is_not_loaded_is_started(builder: World) -> None:
    builder.service = builder.vm = None
    assert builder.change(update=False).taken == ["start", "ready"]
    assert builder.serves() == "1"


def test_a_job_on_its_way_out_is_waited_for(builder: World) -> None:
    builder.service = Service("system/x", path=f"{builder.root}/daemons/org.example.builder.plist", state="SIGTERMed")
    report = builder.change(update=False)
    assert report.taken == ["stop", "start", "ready"]
    assert report.change.why == ("it was being stopped",)
    assert "VM: restarted (it was being stopped)\n" in report.change.after


def test_a_job_of_the_label_from_another_file_is_replaced(builder: World) -> None:
    builder.service = Service("system/x", path="/Library/LaunchDaemons/other.plist", state="running")
    report = builder.change(update=False)
    assert report.change.why == ("loaded from /Library/LaunchDaemons/other.plist",)
    assert report.taken == ["drain", "stop", "start", "ready"]


def test_a_removed_property_list_is_written_again(builder: World) -> None:
    os.unlink(f"{builder.root}/daemons/org.example.builder.plist")
    assert builder.change(update=False).change.changed
    assert builder.serves() == "1"


def test_running_builds_leave_everything_as_it_is(builder: World) -> None:
    builder.revision, builder.busy = "2", True
    with pytest.raises(StateError, match="builds still run"):
        builder.change()
    assert builder.steps == ["lock", "build", "root", "drain"]
    assert not os.path.exists(builder.layout.journal)
    assert planning.read_generation(builder.layout.profile).store_path == builder.vm
    builder.change(force=True)
    assert builder.serves() == "2"


def test_a_restart_for_the_clock_alone_is_put_off_where_builds_do_not_end(builder: World) -> None:
    builder.reasons, builder.busy = ["its clock is 120 s off"], True
    report = builder.change(update=False)
    assert (report.change.changed, report.change.why, report.taken) == (False, (), ["drain"])
    assert len(report.warnings) == 1
    assert "not restarted now (its clock is 120 s off); the next run tries again. builds still run" in report.warnings[0]
    assert (builder.boots, builder.serves()) == (1, "1")
    assert not os.path.exists(builder.layout.journal)
    builder.busy = False
    report = builder.change(update=False)
    assert (report.change.why, report.warnings, builder.boots) == (("its clock is 120 s off",), [], 2)


def test_what_needs_no_restart_is_done_where_that_for_the_clock_is_put_off(builder: World) -> None:
    builder.reasons, builder.busy = ["its clock is 120 s off"], True
    os.unlink(builder.layout.known_hosts)
    report = builder.change(update=False)
    assert report.taken == ["drain", "switch", "ready"]
    assert (report.change.phases, len(report.warnings)) == (("switch", "ready"), 1)
    assert os.path.exists(builder.layout.known_hosts)


def test_a_restart_that_was_asked_for_is_not_put_off_with_that_for_the_clock(builder: World) -> None:
    builder.reasons, builder.busy = ["its clock is 120 s off"], True
    with pytest.raises(StateError, match="builds still run"):
        builder.change(update=False, cores=7)


def test_a_restart_for_the_clock_is_put_off_in_a_run_that_goes_on_with_another_ones_change(
    builder: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.revision = "2"
    killed(builder, monkeypatch, builder, "prove")
    builder.reasons, builder.busy = ["its clock is 120 s off"], True
    report = builder.change(update=False)
    assert report.taken == ["drain", "ready", "prove"]
    assert (builder.boots, len(report.warnings)) == (2, 1)
    assert not os.path.exists(builder.layout.journal)


def test_a_disk_that_is_refused_leaves_everything_as_it_is(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: t.Any) -> str:
        raise StateError("a disk cannot be made smaller in place")

    monkeypatch.setattr(FakeDisk, "plan", refuse)
    builder.revision = "2"
    with pytest.raises(StateError, match="made smaller"):
        builder.change()
    assert builder.serves() == "1"
    assert not os.path.exists(builder.layout.journal)


def test_what_was_staged_and_is_not_wanted_any_more_is_let_go(builder: World) -> None:
    builder.revision, builder.busy = "2", True
    with pytest.raises(StateError, match="builds still run"):
        builder.change()
    assert os.path.islink(builder.layout.staged)
    assert not builder.change(update=False).change.changed
    assert not os.path.lexists(builder.layout.staged)


def test_check_mode_names_the_phases_and_touches_nothing(builder: World, tmp_path: pathlib.Path) -> None:
    before = snapshot(tmp_path)
    report = builder.change(check_mode=True, cores=7, update=False)
    assert report.change.phases == ("drain", "stop", "switch", "start", "ready")
    assert "restarted (other host-side options)" in report.change.after
    assert snapshot(tmp_path) == before
    assert builder.serves() == "1"


def test_check_mode_on_a_fresh_mac(world: World, tmp_path: pathlib.Path) -> None:
    before = snapshot(tmp_path)
    report = world.change(check_mode=True)
    assert report.change.changed
    assert report.ready is None
    assert world.steps == []
    assert "launchd job /" in report.change.after
    assert snapshot(tmp_path) == before


# --- the way back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "words"), [("mute", "not ready"), ("barren", "builds nothing")])
def test_a_guest_that_does_not_serve_is_rolled_back(builder: World, fault: str, words: str) -> None:
    first = builder.vm
    getattr(builder, fault).add("2")
    builder.revision = "2"
    with pytest.raises(StateError, match=words) as caught:
        builder.change()
    assert caught.value.details["rolled_back"] is True
    assert f"(generation 1, {first}) was put back and answers" in caught.value.message
    assert builder.serves() == "1"
    assert not os.path.exists(builder.layout.journal)
    assert not os.path.lexists(builder.layout.previous)
    builder.revision = "1"
    assert not builder.change().change.changed


def test_what_the_system_refuses_leads_back_too(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.revision = "2"
    point = _builder_change.point

    def refuse(link: str, target: str) -> None:
        if link == builder.layout.previous:
            raise OSError(28, "No space left on device", link)
        point(link, target)

    monkeypatch.setattr(_builder_change, "point", refuse)
    with pytest.raises(StateError, match="No space left on device. The builder from before .* was put back"):
        builder.change()
    assert builder.serves() == "1"


def test_a_journal_that_cannot_be_written_leads_back_too(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.revision = "2"
    write = _builder_journal.write

    def refuse(layout: Layout, journal: Journal) -> None:
        if journal.phase == "start":
            raise FileError(f"{layout.journal}: cannot be written: No space left on device.")
        write(layout, journal)

    monkeypatch.setattr(_builder_journal, "write", refuse)
    with pytest.raises(StateError, match="No space left on device. The builder from before .* was put back"):
        builder.change()
    assert builder.serves() == "1"


def test_a_roll_back_survives_that_garbage_was_collected(builder: World) -> None:
    first = builder.vm
    builder.mute.add("2")
    builder.revision = "2"
    ready = builder.ready

    def collect(*args: t.Any) -> t.Any:
        if builder.vm != first:  # as nix-collect-garbage -d does with generations that are not the present one
            os.unlink(f"{builder.layout.profile}-1-link")
        return ready(*args)

    builder.ready = collect  # type: ignore[method-assign]
    with pytest.raises(StateError, match="was put back"):
        builder.change()
    assert builder.serves() == "1"


def test_host_side_options_that_do_not_work_are_rolled_back(builder: World) -> None:
    builder.mute.add("1")
    heal_at(builder, 2)
    with pytest.raises(StateError, match="not ready") as caught:
        builder.change(cores=7, update=False)
    assert caught.value.details["rolled_back"] is True
    assert "-smp 2" in pathlib.Path(builder.layout.runner).read_text()


def heal_at(world: World, boots: int) -> None:
    """The guest answers again from that boot on."""
    ready = world.ready
    target = world.boots + boots

    def answer(*args: t.Any) -> t.Any:
        if world.boots >= target:
            world.mute.clear()
        return ready(*args)

    world.ready = answer  # type: ignore[method-assign]


def test_a_roll_back_that_fails_says_so_and_is_tried_again(builder: World) -> None:
    builder.mute |= {"1", "2"}
    builder.revision = "2"
    with pytest.raises(StateError, match="could not be put back either") as caught:
        builder.change()
    assert caught.value.details["rolled_back"] is False
    builder.mute.remove("1")
    with pytest.raises(StateError, match="An earlier run was killed while") as caught:
        builder.change()
    assert caught.value.details["rolled_back"] is True
    assert builder.serves() == "1"


def test_without_a_builder_from_before_the_new_one_stays_and_the_next_run_goes_on(world: World) -> None:
    world.mute.add("1")
    with pytest.raises(StateError, match="no other builder to go back to"):
        world.change()
    world.mute.clear()
    report = world.change(update=False)
    assert report.taken == ["ready", "prove"]
    assert not report.change.changed
    assert world.serves() == "1"


def test_no_vm_of_another_host_key_is_put_back_where_it_was_stopped(builder: World) -> None:
    builder.change()
    builder.service = builder.vm = builder.loaded = None
    builder.revision = "2"
    builder.mute.add("2")
    other = HOST_KEY[:-4] + "AAAA"
    with pytest.raises(StateError, match="no other builder to go back to"):
        builder.change(host_key=other)
    assert builder.serves() == "2"
    builder.service = builder.vm = builder.loaded = None
    builder.revision = "1"
    builder.change()
    assert builder.serves() == "1"


def test_the_present_client_key_stays_in_a_roll_back(builder: World) -> None:
    (builder.root / "key.pub").write_text("ssh-ed25519 BBBB client\n")
    builder.revision = "2"
    builder.mute.add("2")
    with pytest.raises(StateError, match="was put back"):
        builder.change()
    assert "BBBB" in pathlib.Path(builder.layout.keys, "builder_ed25519.pub").read_text()


# --- generations -----------------------------------------------------------------------------------------------------


def test_old_generations_go_but_never_the_one_before(builder: World) -> None:
    for revision in ("2", "3", "4", "5"):
        builder.revision = revision
        builder.change(keep_generations=1)
    numbers = [link.rsplit("-", 2)[1] for link in generation_links(builder.layout.profile)]
    assert len(numbers) == 2
    assert os.readlink(builder.layout.previous).endswith("vm-4-31022")


@pytest.mark.parametrize(
    ("keep", "present", "target", "gone"),
    [
        (3, 5, 4, [1, 2]),
        (1, 5, 4, [1, 2, 3]),
        (2, 5, 2, [1, 3, 4]),
        (5, 5, 4, []),
        (9, 5, None, []),
        (2, 3, None, [1, 2, 4]),
    ],
)
def test_which_generations_go(tmp_path: pathlib.Path, keep: int, present: int, target: int | None, gone: list[int]) -> None:
    profile = str(tmp_path / "lb")
    for number in range(1, 6):
        os.symlink("/nowhere", f"{profile}-{number}-link")
    os.symlink(f"lb-{present}-link", profile)
    assert _builder_change.superfluous(profile, keep, target) == [f"{profile}-{number}-link" for number in gone]


# --- killed at every step --------------------------------------------------------------------------------------------


def upgrade(world: World) -> t.Any:
    world.change(cores=2)
    world.revision, world.disk = "2", "grown"
    return {"cores": 4}


def host_side(world: World) -> t.Any:
    world.change()
    return {"cores": 4, "update": False}


def first_deployment(world: World) -> t.Any:
    return {}


def mute_upgrade(world: World) -> t.Any:
    world.change()
    world.revision = "2"
    world.mute.add("2")
    return {}


def killed_after(world: World, fuse: int, options: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with every write and removal of a file a step too; whether the run was killed before its end."""
    write, remove, point = _files.write, _files.remove, _builder_change.point

    def step(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def stepped(*args: t.Any, **more: t.Any) -> t.Any:
            world.tick()
            return function(*args, **more)

        return stepped

    with monkeypatch.context() as patch:
        patch.setattr(_files, "write", step(write))
        patch.setattr(_files, "remove", step(remove))
        patch.setattr(_builder_change, "point", step(point))
        world.fuse = fuse
        try:
            world.change(**options)
        except Killed:
            return True
        except StateError:
            return False
        finally:
            world.fuse = -1
    return False


@pytest.mark.parametrize("scenario", [first_deployment, upgrade, host_side, mute_upgrade])
def test_killed_at_any_step_the_next_run_completes_or_undoes_it(
    scenario: t.Callable[[World], t.Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fuse in range(1000):
        directory = tmp_path / str(fuse)
        directory.mkdir()
        world = World(directory)
        options = scenario(world)
        killed = killed_after(world, fuse, options, monkeypatch)
        if scenario is mute_upgrade:
            with pytest.raises(StateError):
                world.change(**options)
            assert world.serves() == "1", fuse
            world.revision = "1"
        else:
            world.change(**options)
            assert world.serves() == world.revision, fuse
        assert not world.change(**options).change.changed, fuse
        assert not os.path.exists(world.layout.journal), fuse
        assert not os.path.lexists(world.layout.staged), fuse
        assert (world.disk, world.kept_disk) == ("", False)
        if not killed:
            assert fuse > 12  # the fuse outlasted a run of many steps
            return
    pytest.fail("the run never ended")


def test_something_else_may_be_asked_for_after_a_killed_run(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.revision = "2"
    assert killed_after(builder, 25, {}, monkeypatch)
    assert _builder_journal.read(builder.layout) is not None
    builder.revision = "3"
    builder.mute.add("3")
    with pytest.raises(StateError, match="was put back") as caught:
        builder.change(cores=4)
    assert caught.value.details["store_path"].endswith("vm-1-31022")
    assert builder.serves() == "1"


def test_builds_that_run_do_not_make_an_unproven_change_forgotten(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = builder.vm
    builder.revision, builder.disk = "2", "made anew"
    killed(builder, monkeypatch, builder, "prove")
    builder.busy = True
    with pytest.raises(StateError, match="builds still run"):
        builder.change(cores=4)
    builder.busy = False
    assert builder.change(update=False).taken == ["ready", "prove"]
    assert not builder.kept_disk
    assert os.readlink(builder.layout.previous) == first


def kill(*_args: t.Any) -> t.Any:
    raise Killed


def killed(builder: World, monkeypatch: pytest.MonkeyPatch, where: t.Any, step: str) -> None:
    """A change that is killed at a step; the next one is not."""
    with monkeypatch.context() as patch:
        patch.setattr(where, step, kill)
        with pytest.raises(Killed):
            builder.change()


def test_a_builder_that_an_earlier_run_left_stopped_is_put_back_where_the_new_one_cannot_be_built(
    builder: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.revision = "2"
    killed(builder, monkeypatch, FakeJob, "start")
    assert builder.service is None
    builder.revision = "3"

    def fails(_argv: t.Any) -> tuple[int, str, str]:
        return 1, "", "error: a 'aarch64-linux' is required, but I am a 'aarch64-darwin'"

    with monkeypatch.context() as patch:
        patch.setattr(builder, "do_expr", fails)
        with pytest.raises(StateError, match="was put back and answers") as caught:
            builder.change(cores=4)
    assert "aarch64-linux" in caught.value.message
    assert builder.serves() == "1"
    assert not os.path.exists(builder.layout.journal)
    builder.change(cores=4)
    assert builder.serves() == "3"


@pytest.mark.parametrize("phase", ["fetch", "build", "drain"])
def test_a_run_that_was_killed_before_it_changed_anything_is_forgotten(builder: World, phase: str) -> None:
    """What its journal would go back to is not what serves now: here it began when this Mac had no builder yet."""
    _builder_journal.write(builder.layout, Journal(phase, "another request", Origin()))
    builder.revision = "2"
    builder.mute.add("2")
    with pytest.raises(StateError, match="was put back and answers"):
        builder.change()
    assert builder.serves() == "1"
    assert not os.path.exists(builder.layout.journal)


@pytest.mark.parametrize("phase", [*planning_of_change.PHASES[1:], ROLL_BACK])
def test_a_run_that_was_killed_after_it_changed_something_is_not(builder: World, phase: str) -> None:
    _builder_journal.write(builder.layout, Journal(phase, "another request", Origin()))
    builder.revision = "2"
    builder.mute.add("2")
    with pytest.raises(StateError, match="no other builder to go back to"):
        builder.change()
    assert _builder_journal.read(builder.layout) is not None


# --- stopped ---------------------------------------------------------------------------------------------------------


def stop(world: World, check_mode: bool = False, force: bool = False) -> bool:
    world.steps.clear()
    (pathlib.Path(world.layout.working_directory)).mkdir(parents=True, exist_ok=True)
    _builder_journal.write(world.layout, Journal("stop", "", Origin()))  # FakeJob looks for one
    turn = None if check_mode else Turn(world.layout, wait=1.0, force=force, root=str(world.root / "jobs"))
    return _builder_change.stop(
        world.layout, world.tools(), turn, uri="ssh-ng://x", force=force, drain_timeout=1.0, stop_timeout=1.0
    )


def test_stopped_drains_takes_the_job_out_and_is_done_once(builder: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "drain", lambda *_args: _builder_change._builder_drain.Hold())
    assert stop(builder, check_mode=True)
    assert builder.service is not None
    assert stop(builder)
    assert builder.steps == ["stop"]
    assert builder.service is None
    assert not stop(builder)


def snapshot(root: pathlib.Path) -> dict[str, t.Any]:
    """Every path below root with what tells a change of it."""
    return {
        os.path.join(directory, name): os.lstat(os.path.join(directory, name)).st_mtime_ns
        for directory, directories, files in os.walk(root)
        for name in (*directories, *files)
    }
