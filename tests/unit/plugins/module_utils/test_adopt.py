# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adoption: what is recognised and what is not, entries out and back, disks moved, and runs that were killed completed."""

from __future__ import annotations

import dataclasses
import errno
import os
import plistlib
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _adopt_apply,
    _adopt_disk,
    _adopt_find,
    _adopt_lines,
    _adopt_mark,
    _adopt_plan,
    _files,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import Found, Seeker
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import STOCK_KEY

LABEL = "org.nixmac.linux-builder"
# Arguments as nixpkgs' start script gives them (qemu-vm.nix), shortened.
QEMU = (
    "/nix/store/x-qemu/bin/qemu-system-aarch64 -machine virt -name nixos -m 3072 -smp 1 "
    "-netdev user,id=user.0,hostfwd=tcp::{port}-:22, "
    "-virtfs local,path=/nix/store/k-keys,security_model=mapped-xattr,mount_tag=keys "
    "-drive cache=writeback,file={directory}/nixos.qcow2,id=drive1,if=none -nographic"
)


class Programs(Runner):
    """ps and launchctl of a Mac; jobs: label -> pid, None for loaded without a process."""

    def __init__(self, processes: str = "", jobs: t.Mapping[str, int | None] | None = None) -> None:
        super().__init__()
        self.processes = processes
        self.jobs = dict(jobs or {})
        self.calls: list[tuple[str, ...]] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.calls.append(tuple(argv))
        if argv[0] == "/bin/ps":
            return Completed(tuple(argv), 0, self.processes, "")
        return self._launchctl(argv[1], argv[2].partition("/")[2])

    def _launchctl(self, verb: str, label: str) -> Completed:
        if label not in self.jobs:
            return Completed((), 113, "", f'Could not find service "{label}" in domain for system\n')
        if verb == "bootout":
            del self.jobs[label]
            return Completed((), 0, "", "")
        pid = self.jobs[label]
        lines = [f"system/{label} = {{", "\tstate = running", *([f"\tpid = {pid}"] if pid else []), "}"]
        return Completed((), 0, "\n".join(lines) + "\n", "")


@pytest.fixture(name="mac")
def fixture_mac(tmp_path: Path) -> Path:
    for name in ("Library/LaunchDaemons", "Users/alice", "var/lib", "var/db", "etc/nix"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def plist(mac: Path, label: str, *arguments: str, **keys: t.Any) -> str:
    (mac / f"Library/LaunchDaemons/{label}.plist").write_bytes(
        plistlib.dumps({"Label": label, "ProgramArguments": list(arguments), **keys})
    )
    return f"/Library/LaunchDaemons/{label}.plist"


def by_hand(mac: Path, directory: str = "/Users/alice") -> None:
    """What create-builder leaves in its directory and in /etc/nix."""
    (mac / directory.lstrip("/") / "keys").mkdir(parents=True, exist_ok=True)
    (mac / directory.lstrip("/") / "nixos.qcow2").write_bytes(b"QFI\xfb")
    (mac / directory.lstrip("/") / "keys/builder_ed25519").write_text("private")
    (mac / "etc/nix/builder_ed25519.pub").write_text("public")


def find(mac: Path, programs: Programs | None = None, directory: str = "") -> list[Found]:
    return Seeker(programs or Programs(), LABEL, "/var/lib/linux-builder", str(mac)).find(directory)


# -- recognising -----------------------------------------------------------------------------------------------------


def test_a_mac_without_any_sign_costs_no_process(mac: Path) -> None:
    programs = Programs()
    assert find(mac, programs) == []
    assert programs.calls == []


@pytest.mark.parametrize("port", [22, 31022, 31055])
def test_a_vm_in_a_terminal(mac: Path, port: int) -> None:
    by_hand(mac)
    found = find(mac, Programs(f"  1 0 /sbin/launchd\n 812 1 {QEMU.format(port=port, directory='/Users/alice')}\n"))
    assert [(builder.disk, builder.pid, builder.port, builder.plist) for builder in found] == [
        ("/Users/alice/nixos.qcow2", 812, port, None)
    ]


@pytest.mark.parametrize(
    ("word", "other"),
    [("mount_tag=keys", "mount_tag=shared"), ("nixos.qcow2", "debian.qcow2"), ("hostfwd=tcp::31022-:22,", "")],
)
def test_another_vm_is_none(mac: Path, word: str, other: str) -> None:
    (mac / "etc/nix/builder_ed25519.pub").write_text("public")
    command = QEMU.format(port=31022, directory="/Users/alice").replace(word, other)
    assert word not in command
    assert find(mac, Programs(f"812 1 {command}\n")) == []


def test_a_vm_under_its_own_daemon(mac: Path) -> None:
    by_hand(mac, "/opt/builder")
    path = plist(mac, "com.example.vm", "/nix/var/nix/profiles/default/bin/nix", "run", "nixpkgs#darwin.linux-builder")
    processes = (
        f"700 1 /bin/sh create-builder\n701 700 /bin/sh run\n812 701 {QEMU.format(port=31022, directory='/opt/builder')}\n"
    )
    (found,) = find(mac, Programs(processes, {"com.example.vm": 700}))
    assert (found.pid, found.plist, found.label, found.loaded) == (812, path, "com.example.vm", True)
    assert found.directory == "/opt/builder"


@pytest.mark.parametrize("directory", ["/var/lib/linux-builder", "/var/lib/darwin-builder"])
def test_what_nix_darwin_left(mac: Path, directory: str) -> None:
    by_hand(mac, directory)
    plist(mac, "org.nixos.linux-builder", "/bin/sh", "-c", "exec /nix/store/x", WorkingDirectory=directory)
    (found,) = find(mac, Programs(jobs={"org.nixos.linux-builder": None}))
    assert (found.owner, found.directory, found.pid, found.loaded) == ("nix-darwin (nix.linux-builder)", directory, None, True)


def test_a_daemon_that_names_no_directory_has_nix_darwins(mac: Path) -> None:
    by_hand(mac, "/var/lib/darwin-builder")
    plist(mac, "org.nixos.linux-builder", "/bin/sh", "-c", "exec /nix/store/x")
    (found,) = find(mac)
    assert (found.directory, found.disk) == ("/var/lib/darwin-builder", "/var/lib/darwin-builder/nixos.qcow2")


def test_files_alone(mac: Path) -> None:
    by_hand(mac)
    (found,) = find(mac)
    assert (found.directory, found.rank) == ("/Users/alice", 0)


def test_a_disk_without_the_key_pair_is_any_vms(mac: Path) -> None:
    (mac / "Users/alice/nixos.qcow2").write_bytes(b"QFI\xfb")
    assert find(mac) == []
    assert [found.directory for found in find(mac, directory="/Users/alice")] == ["/Users/alice"]


def test_the_running_one_is_meant_and_not_an_old_disk(mac: Path) -> None:
    by_hand(mac)
    by_hand(mac, "/opt/builder")
    found = find(mac, Programs(f"812 1 {QEMU.format(port=31022, directory='/opt/builder')}\n"))
    assert [builder.directory for builder in found] == ["/opt/builder"]


def test_this_collections_own_is_never_found(mac: Path) -> None:
    by_hand(mac, "/var/lib/linux-builder")
    (mac / "var/lib/linux-builder/builder.json").write_text("{}")
    plist(mac, LABEL, "/bin/sh", "-c", "exec /var/lib/linux-builder/run-builder")
    assert find(mac, Programs(f"812 1 {QEMU.format(port=31022, directory='/var/lib/linux-builder')}\n")) == []
    (mac / "var/lib/linux-builder/builder.json").unlink()
    (mac / "var/lib/linux-builder/nixos.qcow2").unlink()
    assert find(mac) == []


@pytest.mark.parametrize("content", [b"", b"builder", b"<plist>builder", b"bplist00builder"])
def test_a_property_list_that_cannot_be_read_is_passed_over(mac: Path, content: bytes) -> None:
    (mac / "Library/LaunchDaemons/x.plist").write_bytes(content)
    assert find(mac) == []


# -- entries ---------------------------------------------------------------------------------------------------------

ENTRY = b"ssh-ng://builder@localhost aarch64-linux /etc/nix/builder_ed25519 4 - - - c3No"


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (b"builders = " + ENTRY, None),
        (b"builders=" + ENTRY.replace(b"localhost", b"linux-builder") + b" # mine", None),
        (b"builders = ssh-ng://me@big x86_64-linux ; " + ENTRY, b"builders = ssh-ng://me@big x86_64-linux"),
        (b"extra-builders = " + ENTRY + b";@/etc/nix/machines", b"extra-builders = @/etc/nix/machines"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_old_entry_becomes_a_comment_and_comes_back(line: bytes, rest: bytes | None, end: bytes) -> None:
    before = b"# %3B 100%\nmax-jobs = 4\n" + line + end
    after = _adopt_lines.take_out_of_conf(before, 31022)
    live = [text for text in after.splitlines() if not text.startswith(b"#")]
    assert live == [b"max-jobs = 4", *([] if rest is None else [rest])]
    assert _adopt_lines.put_back(after) == before
    assert _adopt_lines.take_out_of_conf(after, 31022) == after


@pytest.mark.parametrize(
    "line",
    [
        b"builders = @/etc/nix/machines",
        b"builders = ssh-ng://builder@rosetta-builder aarch64-linux",
        b"builders = ssh-ng://me@localhost aarch64-linux",
        b"builders = ssh-ng://builder@localhost:31122 aarch64-linux",
        b"builders-use-substitutes = true",
        b"# builders = " + ENTRY,
    ],
)
def test_entries_of_other_builders_stay(line: bytes) -> None:
    assert _adopt_lines.take_out_of_conf(line + b"\n", 31022) == line + b"\n"


def test_this_collections_own_block_stays() -> None:
    content = b"# BEGIN nixmac.linux_builder x\nbuilders = " + ENTRY + b"\n# END nixmac.linux_builder\n"
    assert _adopt_lines.take_out_of_conf(content, 22) == content


def test_a_machines_file_is_safe_for_every_nix_afterwards() -> None:
    before = b"ssh-ng://me@big x86_64-linux;" + ENTRY + b"\n" + ENTRY + b"\n"
    after = _adopt_lines.take_out_of_machines(before, None)
    # Nix before 2.28.2 and Lix take what follows a `;` in a comment for a machine.
    assert not any(b";" in line for line in after.splitlines() if line.startswith(b"#"))
    assert [line for line in after.splitlines() if not line.startswith(b"#")] == [b"ssh-ng://me@big x86_64-linux"]
    assert _adopt_lines.put_back(after) == before


def test_what_somebody_changed_below_the_comment_stays() -> None:
    after = _adopt_lines.take_out_of_conf(b"builders = ssh://a x;" + ENTRY + b"\n", 22)
    changed = after.replace(b"\nbuilders = ssh://a x", b"\nbuilders = ssh://b x")
    assert changed != after
    assert _adopt_lines.put_back(changed) == changed


# -- the disk --------------------------------------------------------------------------------------------------------


def uid() -> tuple[int, int]:
    return os.getuid(), os.getgid()


def test_a_disk_is_renamed(tmp_path: Path) -> None:
    source, target = tmp_path / "old.qcow2", tmp_path / "new.qcow2"
    source.write_bytes(b"disk")
    inode = source.stat().st_ino
    _adopt_disk.move(str(source), str(target), *uid(), 0o600)
    assert (target.stat().st_ino, stat.S_IMODE(target.stat().st_mode), source.exists()) == (inode, 0o600, False)
    _adopt_disk.move(str(source), str(target), *uid(), 0o600)  # an interrupted run is done again
    assert target.read_bytes() == b"disk"


def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def refuse(old: str, new: str) -> None:
        if old.endswith("old.qcow2"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)


def test_on_another_file_system_it_is_copied_with_its_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_file_system(monkeypatch)
    source, target = tmp_path / "old.qcow2", tmp_path / "new.qcow2"
    with source.open("wb") as stream:
        stream.write(b"begin")
        stream.seek(64 * 1024 * 1024)
        stream.write(b"end")
        stream.truncate(80 * 1024 * 1024)
    content = source.read_bytes()
    (tmp_path / "new.qcow2.adopting").write_bytes(b"half of a copy that was killed")
    _adopt_disk.move(str(source), str(target), *uid(), 0o600)
    assert target.read_bytes() == content
    assert target.stat().st_blocks * 512 < 8 * 1024 * 1024
    assert not source.exists()


def test_a_copy_that_fails_leaves_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_file_system(monkeypatch)
    source, target = tmp_path / "old.qcow2", tmp_path / "new.qcow2"
    source.write_bytes(b"disk")

    def full(_descriptor: int) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space"):
        _adopt_disk.move(str(source), str(target), *uid(), 0o600)
    assert source.read_bytes() == b"disk"
    assert not target.exists()


def test_no_disk_is_overwritten(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileError, match="no disk is overwritten"):
        _adopt_disk.move(str(tmp_path / "old"), str(tmp_path / "new"), *uid(), 0o600)
    assert (tmp_path / "new").read_text() == "new"


def test_a_disk_goes_back_only_to_a_free_place(tmp_path: Path) -> None:
    old, new = tmp_path / "a/nixos.qcow2", tmp_path / "nixos.qcow2"
    new.write_bytes(b"disk")
    disk = {"from": str(old), "to": str(new), "uid": os.getuid(), "gid": os.getgid(), "mode": 0o640}
    assert _adopt_disk.can_give_back(disk)
    _adopt_disk.give_back(disk)
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (b"disk", 0o640)
    assert not _adopt_disk.can_give_back(disk)
    assert not _adopt_disk.can_give_back({**disk, "from": str(new), "to": str(new)})
    assert not _adopt_disk.can_give_back(None)


def adopted(tmp_path: Path, place: str = "a/nixos.qcow2") -> dict[str, t.Any]:
    """A disk in the builder's directory, taken from `place`."""
    old, new = tmp_path / place, tmp_path / "wd/nixos.qcow2"
    for path in (old, new):
        path.parent.mkdir(exist_ok=True)
    old.write_bytes(b"original")
    disk = _adopt_disk.describe(str(old), str(new))
    _adopt_disk.move(disk["from"], disk["to"], *uid(), 0o600)
    return {**disk, **_adopt_mark.mark(disk["to"])}


@pytest.mark.parametrize("name", ["nixos.qcow2.aside-20261123T120000Z", "nixos.qcow2.before"])
def test_the_disk_that_was_adopted_goes_back_from_aside_and_the_builders_own_does_not(tmp_path: Path, name: str) -> None:
    disk = adopted(tmp_path)
    new = Path(disk["to"])
    with new.open("ab") as stream:  # it grows in place
        stream.write(b", grown")
    new.rename(new.parent / name)
    new.write_bytes(b"raw disk of vz")
    new.with_name(f"{new.name}.aside-20261123T110000Z").write_bytes(b"another one")
    assert _adopt_mark.original(disk) == str(new.parent / name)
    assert _adopt_disk.can_give_back(disk)
    _adopt_disk.give_back(disk)
    assert Path(disk["from"]).read_bytes() == b"original, grown"
    assert new.read_bytes() == b"raw disk of vz"


def test_another_disk_is_not_given_back_for_one_that_is_gone(tmp_path: Path) -> None:
    disk = adopted(tmp_path)
    new = Path(disk["to"])
    os.rename(new, tmp_path / "kept elsewhere")  # and its number is not used again
    new.write_bytes(b"made anew")
    assert _adopt_mark.original(disk) is None
    assert not _adopt_disk.can_give_back(disk)
    path, reason = _adopt_disk.why_not(disk) or ("", "")
    assert (path, "another file than the adopted disk" in reason) == (str(new), True)
    new.unlink()
    assert _adopt_disk.why_not(disk) is None


def test_a_number_that_is_used_again_is_not_the_disk_where_the_system_tells_its_birth(tmp_path: Path) -> None:
    disk = adopted(tmp_path)
    assert _adopt_mark.original({**disk, "born": 1.5}) is None


def test_a_place_that_is_taken_is_told(tmp_path: Path) -> None:
    disk = adopted(tmp_path)
    assert _adopt_disk.why_not(disk) is None
    Path(disk["from"]).write_bytes(b"somebody's")
    path, reason = _adopt_disk.why_not(disk) or ("", "")
    assert (path, reason.endswith(f"{disk['from']} is taken")) == (disk["to"], True)


def test_a_disk_that_was_adopted_in_its_place_goes_back_to_it_from_aside(tmp_path: Path) -> None:
    disk = adopted(tmp_path, "wd/nixos.qcow2")
    new = Path(disk["to"])
    new.chmod(0o600)  # as the builder has it; what others had could be looser
    disk["mode"] = 0o644
    assert (_adopt_disk.can_give_back(disk), _adopt_disk.why_not(disk)) == (True, None)
    _adopt_disk.give_back(disk)
    assert stat.S_IMODE(new.stat().st_mode) == 0o644
    assert (_adopt_disk.can_give_back(disk), _adopt_disk.why_not(disk)) == (False, None)
    aside = new.rename(new.with_name(f"{new.name}.aside-20261123T120000Z"))
    new.write_bytes(b"raw disk of vz")
    assert (_adopt_disk.why_not(disk) or ("", ""))[0] == str(aside)
    new.unlink()  # by the removal of the builder
    assert _adopt_disk.can_give_back(disk)
    _adopt_disk.give_back(disk)
    assert new.read_bytes() == b"original"


# -- the whole of it -------------------------------------------------------------------------------------------------


class Bench:
    """An adoption below a directory: places moved by monkeypatch, programs that play the Mac."""

    def __init__(self, mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mac = mac
        self.manifest = Manifest(str(mac / "var/db/manifest"), str(mac))
        self.programs = Programs()
        self.home = mac / "home"
        self.directory = mac / "var/lib/linux-builder"
        self.conf, self.machines = mac / "etc/nix/nix.conf", mac / "etc/nix/machines"
        self.ssh = mac / "etc/ssh/ssh_config.d"
        self.ssh.mkdir(parents=True)
        self.plist = mac / "com.example.plist"
        for name, value in {
            "NIX_CONF": self.conf, "MACHINES": self.machines, "SSH_DIRECTORY": self.ssh, "_STATIC": mac / "static",
        }.items():  # fmt: skip
            monkeypatch.setattr(_adopt_plan, name, str(value))
        self.options = _adopt_plan.options_from(
            {
                "working_directory": str(self.directory), "label": LABEL, "client_key": str(mac / "etc/nix/builder_ed25519"),
                "alias": "linux-builder", "public_host_key": STOCK_KEY, "directory": str(self.home), "drain_timeout": 0,
                "stop_timeout": 1, "force": False,
            }
        )  # fmt: skip
        self.seeker = Seeker(self.programs, LABEL, str(self.directory))

    def set_up(self) -> None:
        (self.home / "keys").mkdir(parents=True)
        (self.home / "nixos.qcow2").write_bytes(b"the disk")
        (self.home / "keys/builder_ed25519").write_text("private")
        (self.home / "keys/builder_ed25519.pub").write_text("public")
        self.conf.write_bytes(b"builders = " + ENTRY + b"\n")
        self.machines.write_bytes(b"ssh-ng://me@big x86_64-linux\n")
        (self.ssh / "100-linux-builder.conf").write_text("Host linux-builder\n  Port 31022\n")
        (self.ssh / "200-mine.conf").write_text("Host linux-builder big\n  User me\n")

    def plan(self) -> _adopt_plan.Plan | None:
        return _adopt_plan.make_plan(self.options, self.seeker, self.manifest)

    def adopt(self) -> _adopt_plan.Plan:
        plan = self.plan()
        assert plan is not None
        _adopt_apply.Adoption(self.options, plan, self.manifest, self.programs, self.seeker).run()
        return plan

    def adopted(self) -> None:
        """Assert that all is in its new place, once."""
        assert (self.directory / "nixos.qcow2").read_bytes() == b"the disk"
        assert not (self.home / "nixos.qcow2").exists()
        assert (self.mac / "etc/nix/builder_ed25519").read_text() == "private"
        assert (self.mac / "etc/nix/builder_ed25519.pub").read_text() == "public"
        assert self.conf.read_bytes().count(_adopt_lines.TAKEN) == 1
        assert self.machines.read_bytes() == b"ssh-ng://me@big x86_64-linux\n"
        assert sorted(os.listdir(self.ssh)) == ["200-mine.conf"]
        adoption = self.manifest.read().adoption
        assert adoption["done"]
        # By which teardown knows it, wherever it lies by then.
        assert adoption["disk"]["inode"] == (self.directory / "nixos.qcow2").stat().st_ino
        assert self.plan() is None


@pytest.fixture(name="bench")
def fixture_bench(mac: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # The tests need not run as root.
    monkeypatch.setattr(_adopt_apply, "root_owned", lambda mode: _files.Ownership(None, None, mode))
    bench = Bench(mac, monkeypatch)
    bench.set_up()
    return bench


def test_a_builder_that_does_not_run_is_taken_over(bench: Bench) -> None:
    plan = bench.adopt()
    assert plan.actions[0] == f"move {bench.home}/nixos.qcow2 to {bench.directory}/nixos.qcow2"
    assert plan.warnings
    assert "200-mine.conf" in plan.warnings[0]
    bench.adopted()


def test_planning_changes_nothing(bench: Bench) -> None:
    before = sorted(str(path) for path in bench.mac.rglob("*"))
    assert bench.plan() == bench.plan()
    assert sorted(str(path) for path in bench.mac.rglob("*")) == before


class KilledError(BaseException):
    """A SIGKILL, as far as Python can play it."""


STEPS = ("note_adoption", "stop", "retire", "bring_disk", "install_keys", "put_aside", "take_out_entries")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_was_killed_is_completed_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    owner: t.Any = Manifest if step == "note_adoption" else _adopt_apply.Adoption
    original = getattr(owner, step)

    def kill(*arguments: t.Any) -> t.NoReturn:
        if after:
            original(*arguments)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, kill)
        with pytest.raises(KilledError):
            bench.adopt()
    bench.adopt()
    bench.adopted()


def test_a_disk_that_lies_right_stays_and_the_private_key_goes_from_beside_it(bench: Bench) -> None:
    bench.directory.mkdir()
    for path in list(bench.home.iterdir()):
        path.rename(bench.directory / path.name)
    bench.options = dataclasses.replace(bench.options, directory=str(bench.directory))
    bench.adopt()
    assert os.listdir(bench.directory) == ["nixos.qcow2"]
    entries = bench.manifest.read().entries
    assert entries[f"{bench.directory}/keys/builder_ed25519"].foreign
    assert bench.manifest.read().spared("builder") == {f"{bench.directory}/nixos.qcow2", str(bench.directory)}


def test_the_job_is_unloaded_and_its_property_list_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.plist.write_text("the property list")
    bench.programs.jobs["com.example"] = None
    found = Found("somebody", str(bench.home), str(bench.home / "nixos.qcow2"), None, None, str(bench.plist), "com.example", True)
    monkeypatch.setattr(Seeker, "find", lambda self, directory="": [found])
    bench.adopt()
    assert bench.programs.jobs == {}
    assert not bench.plist.exists()
    entry = bench.manifest.read().entries[str(bench.plist)]
    assert bench.manifest.original(entry.before.sha256) == b"the property list"


def test_two_builders_need_a_word_from_the_user(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seeker, "find", lambda self, directory="": [Found("a", "/a", "/a/x"), Found("b", "/b", "/b/x")])
    with pytest.raises(StateError, match="linux_builder_adopt_directory"):
        bench.plan()


def test_a_second_disk_is_not_overwritten(bench: Bench) -> None:
    bench.directory.mkdir()
    (bench.directory / "nixos.qcow2").write_bytes(b"another")
    with pytest.raises(FileError, match="is there already"):
        bench.plan()


def test_a_directory_that_nix_darwin_empties_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.mac / "static").symlink_to("nowhere")
    monkeypatch.setattr(_adopt_plan, "_WIPED", str(bench.directory))
    with pytest.raises(StateError, match="nix-darwin manages this Mac"):
        bench.plan()


def test_builds_of_the_old_builder_are_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_adopt_apply, "locked_slots", lambda: ["ssh-ng:__builder@localhost-0"])
    found = Found("somebody", str(bench.home), str(bench.home / "nixos.qcow2"), os.getpid(), 31022)
    monkeypatch.setattr(Seeker, "find", lambda self, directory="": [found])
    with pytest.raises(StateError, match="still builds"):
        bench.adopt()
    assert (bench.home / "nixos.qcow2").exists()


def test_a_vm_that_does_not_shut_down_is_left_running(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_adopt_apply, "locked_slots", list)
    monkeypatch.setattr(_adopt_apply.Adoption, "_ask", lambda self: "Connection refused")
    found = Found("somebody", str(bench.home), str(bench.home / "nixos.qcow2"), os.getpid(), 31022)
    monkeypatch.setattr(Seeker, "find", lambda self, directory="": [found])
    with pytest.raises(StateError, match=r"Connection refused.*shutdown now"):
        bench.adopt()
    assert (bench.home / "nixos.qcow2").exists()


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(ConfigError, match="absolute"):
        _adopt_plan.options_from({"working_directory": "lib", "client_key": "/k"})


def test_machines_that_were_found_are_read_from_ps() -> None:
    (machine,) = _adopt_find.parse_machines(f"x\n1 0 init\n812 1 {QEMU.format(port=31022, directory='/a b')}\n")
    assert (machine.pid, machine.disk, machine.port, machine.parents) == (812, "/a b/nixos.qcow2", 31022, {1: 0, 812: 1})
