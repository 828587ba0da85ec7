# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data disk: reading its header, the table of what happens to it, and being killed at every step of it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_disk,
    _builder_disk_apply,
    _builder_image,
    _files,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_disk import DiskPlan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import MIB, Image, Record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, FileError, StateError

OLD = "/nix/store/0000000000000000000000000000000a-nixos-system-1"
NEW = "/nix/store/0000000000000000000000000000000b-nixos-system-2"
SIZE = 3072 * MIB
PLENTY = 1 << 50


def qcow2(size_mib: int, backing: int = 0, snapshots: int = 0, features: int = 0, version: int = 3) -> bytes:
    head = b"QFI\xfb" + version.to_bytes(4, "big") + backing.to_bytes(8, "big") + bytes(8) + (size_mib * MIB).to_bytes(8, "big")
    return (head + bytes(28) + snapshots.to_bytes(4, "big") + bytes(8) + features.to_bytes(8, "big")).ljust(512, b"\0")


@pytest.fixture(name="spec")
def fixture_spec(tmp_path: pathlib.Path) -> Spec:
    layout = Layout(str(tmp_path), str(tmp_path / "profile"), str(tmp_path / "log"), "org.example.builder")
    return Spec(
        layout=layout,
        package="path:/x#darwin.linux-builder",
        update=False,
        host_address="127.0.0.1",
        port=31022,
        accept_any_address=False,
        cores=2,
        memory_mib=4096,
        disk_mib=None,
        client_key="/k",
        host_key="ssh-ed25519 AAAA",
        ca_file="/ca",
        stop_timeout=60,
    )


class Programs(Runner):
    """lsof and qemu-img: `open` are the processes that have the disk open, `grow` what qemu-img does."""

    def __init__(self, open_by: str = "", grow: t.Callable[[str, int], int] | None = None) -> None:
        super().__init__()
        self.open_by = open_by
        self.grow = grow
        self.calls: list[list[str]] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.calls.append(list(argv))
        if argv[0] == _builder_disk_apply.LSOF:
            return Completed(tuple(argv), 0 if self.open_by else 1, self.open_by, "")
        assert self.grow is not None
        return Completed(tuple(argv), self.grow(argv[4], int(argv[5])), "", "qemu-img: no.")


# --- reading -----------------------------------------------------------------------------------------------------


def test_there_may_be_no_disk(tmp_path: pathlib.Path) -> None:
    assert _builder_image.read_image(str(tmp_path / "none")) is None
    assert _builder_image.read_image(str(tmp_path / "none/below")) is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (qcow2(20480), ""),
        (qcow2(20480, version=2, features=7), ""),
        (qcow2(20480, backing=4096), "backing file"),
        (qcow2(20480, snapshots=2), "2 snapshot"),
        (qcow2(20480, features=2), "damaged"),
        (qcow2(20480, features=4), "another file"),
        (qcow2(20480, features=1), ""),
    ],
)
def test_a_qcow2_disk_by_its_header(tmp_path: pathlib.Path, head: bytes, words: str) -> None:
    disk = tmp_path / "d"
    disk.write_bytes(head)
    image = _builder_image.read_image(str(disk))
    assert image is not None
    assert (image.format, image.size_mib) == ("qcow2", 20480)
    assert words in image.obstacle
    assert bool(words) == bool(image.obstacle)


def test_a_raw_disk_has_the_size_of_its_file_and_takes_up_less(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "d"
    disk.write_bytes(b"")
    os.truncate(disk, 64 * MIB)
    image = _builder_image.read_image(str(disk))
    assert image is not None
    assert (image.format, image.size, image.obstacle) == ("raw", 64 * MIB, "")
    assert image.allocated < 64 * MIB


def test_what_is_no_disk_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "short").write_bytes(b"QFI\xfb\0\0\0\3")
    with pytest.raises(FileError, match="cut off"):
        _builder_image.read_image(str(tmp_path / "short"))
    with pytest.raises(FileError, match="directory"):
        _builder_image.read_image(str(tmp_path))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 2, "identity": "x"}', '{"version": 1, "kept": "../../etc/passwd", "identity": 3}']
)
def test_a_record_that_is_none_counts_as_empty(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "disk.json").write_text(content)
    assert _builder_image.read_record(str(tmp_path / "disk.json")) == Record()


def test_a_record_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    record = Record(OLD, "nixos.qcow2.before", True, NEW, True)
    (tmp_path / "disk.json").write_bytes(record.content())
    assert _builder_image.read_record(str(tmp_path / "disk.json")) == record


def test_the_identity_is_the_guests_system_not_the_start_script(tmp_path: pathlib.Path) -> None:
    assert _builder_image.identity(None) is None
    assert _builder_image.identity(NEW) == NEW
    (tmp_path / "system").symlink_to(OLD + "/below")
    assert _builder_image.identity(str(tmp_path)) == OLD


# --- deciding ----------------------------------------------------------------------------------------------------

RECORDED = Record(OLD)


@pytest.mark.parametrize(
    ("options", "image", "identities", "grows", "action"),
    [
        # No disk: the VM makes one.
        ({"disk_mib": 5120}, None, (OLD, NEW), True, "none"),
        # Nothing asked for, or what is there.
        ({}, Image("qcow2", SIZE, MIB), (OLD, NEW), True, "none"),
        ({"disk_mib": 3072}, Image("qcow2", SIZE, MIB), (OLD, NEW), False, "none"),
        # Larger.
        ({"disk_mib": 5120}, Image("qcow2", SIZE, MIB), (OLD, OLD), True, "grow"),
        ({"disk_mib": 5120, "allow_disk_recreate": True}, Image("qcow2", SIZE, MIB), (OLD, OLD), True, "grow"),
        ({"disk_mib": 5120, "allow_disk_recreate": True}, Image("qcow2", SIZE, MIB), (OLD, OLD), False, "recreate"),
        ({"disk_mib": 5120, "allow_disk_recreate": True}, Image("qcow2", SIZE, MIB, "snapshots"), (OLD, OLD), True, "recreate"),
        # Smaller.
        ({"disk_mib": 2048, "allow_disk_recreate": True}, Image("qcow2", SIZE, MIB), (OLD, OLD), True, "recreate"),
        # Another image.
        ({"disk_on_upgrade": "recreate"}, Image("qcow2", SIZE, MIB), (OLD, NEW), True, "recreate"),
        ({"disk_on_upgrade": "recreate"}, Image("qcow2", SIZE, MIB), (OLD, OLD), True, "none"),
        ({"disk_on_upgrade": "recreate"}, Image("qcow2", SIZE, MIB), (None, NEW), True, "none"),
        ({"disk_on_upgrade": "recreate"}, Image("qcow2", SIZE, MIB), (OLD, None), True, "none"),
        ({"disk_on_upgrade": "keep"}, Image("qcow2", SIZE, MIB), (OLD, NEW), True, "none"),
        # The other hypervisor's format.
        ({"vz": True}, Image("qcow2", SIZE, MIB), (OLD, NEW), True, "aside"),
        ({"vz": True}, Image("raw", SIZE, MIB), (OLD, NEW), True, "none"),
        ({"vz": True, "disk_mib": 5120}, Image("raw", SIZE, MIB), (OLD, OLD), True, "grow"),
        ({}, Image("raw", SIZE, MIB), (OLD, NEW), True, "aside"),
    ],
)
def test_the_table(
    spec: Spec,
    options: dict[str, t.Any],
    image: Image | None,
    identities: tuple[str | None, str | None],
    grows: bool,
    action: str,
) -> None:
    wanted = spec._replace(**options)
    disk = _builder_disk.Disk(spec.layout.disk, image, Record())
    plan = _builder_disk.plan(wanted, disk, *identities, grows, PLENTY)
    assert plan.action == action
    assert plan.changed == (action != "none")
    assert bool(plan.describe()) == plan.changed
    # What disk.json says goes before what the flow remembers.
    recorded = _builder_disk.Disk(spec.layout.disk, image, Record(identities[0]))
    assert _builder_disk.plan(wanted, recorded, None, identities[1], grows, PLENTY).action == action


@pytest.mark.parametrize(
    ("options", "obstacle", "grows", "words"),
    [
        ({"disk_mib": 2048}, "", True, "cannot be made smaller"),
        ({"disk_mib": 5120}, "", False, "would not grow its file system"),
        ({"disk_mib": 5120}, "it holds 2 snapshot(s)", True, "it holds 2 snapshot(s)"),
    ],
)
def test_what_costs_the_data_is_refused_with_both_sizes_and_the_way_out(
    spec: Spec, options: dict[str, t.Any], obstacle: str, grows: bool, words: str
) -> None:
    disk = _builder_disk.Disk(spec.layout.disk, Image("qcow2", SIZE, MIB, obstacle), RECORDED)
    with pytest.raises(StateError) as error:
        _builder_disk.plan(spec._replace(**options), disk, None, OLD, grows, PLENTY)
    for word in (spec.layout.disk, "3072 MiB", f"{options['disk_mib']} MiB", words, "allow_disk_recreate"):
        assert word in error.value.message


@pytest.mark.parametrize(
    ("options", "image", "grows", "needed"),
    [
        ({"disk_mib": 5120}, Image("qcow2", 3072 * MIB, 1072 * MIB), True, 4048),
        ({"disk_mib": 2048, "allow_disk_recreate": True}, Image("qcow2", 3072 * MIB, 1048 * MIB), True, 1000),
        ({"vz": True, "disk_mib": 4096}, Image("qcow2", 3072 * MIB, 1048 * MIB), True, 4096),
    ],
)
def test_the_space_is_checked_before(spec: Spec, options: dict[str, t.Any], image: Image, grows: bool, needed: int) -> None:
    wanted = spec._replace(**options)
    disk = _builder_disk.Disk(spec.layout.disk, image, RECORDED)
    enough = needed * MIB + _builder_disk.RESERVE
    assert _builder_disk.plan(wanted, disk, None, OLD, grows, enough).changed
    with pytest.raises(StateError) as error:
        _builder_disk.plan(wanted, disk, None, OLD, grows, enough - MIB)
    for figure in (needed, enough // MIB - 1, _builder_disk.RESERVE // MIB):
        assert f"{figure} MiB" in error.value.message


def test_the_free_space_is_that_of_the_disks_file_system(spec: Spec) -> None:
    assert _builder_disk.free_bytes(spec.layout.disk) > 0
    with pytest.raises(FileError):
        _builder_disk.free_bytes(spec.layout.disk + "/no/such")


# --- doing -------------------------------------------------------------------------------------------------------


def test_a_disk_in_use_is_not_touched(spec: Spec) -> None:
    disk = pathlib.Path(spec.layout.disk)
    disk.write_bytes(qcow2(3072))
    programs = Programs(open_by="41\n42\n")
    for plan in (
        DiskPlan("grow", spec.layout.disk, size=5120 * MIB),
        DiskPlan("recreate", spec.layout.disk, moved_to=_builder_disk.KEPT_NAME),
    ):
        with pytest.raises(StateError, match="process 41, 42"):
            _builder_disk_apply.apply(plan, spec.layout, programs)
    assert disk.read_bytes() == qcow2(3072)
    assert os.listdir(disk.parent) == [disk.name]


def test_no_plan_starts_no_process(spec: Spec) -> None:
    programs = Programs()
    _builder_disk_apply.apply(DiskPlan("none", spec.layout.disk), spec.layout, programs)
    assert not programs.calls


def test_a_raw_disk_is_grown_without_a_program(spec: Spec) -> None:
    disk = pathlib.Path(spec.layout.disk)
    disk.write_bytes(b"data")
    _builder_disk_apply.apply(DiskPlan("grow", spec.layout.disk, size=64 * MIB, format="raw"), spec.layout, Programs())
    assert disk.stat().st_size == 64 * MIB
    assert disk.read_bytes()[:4] == b"data"


def make_qemu_img(spec: Spec) -> str:
    """A start script as nixpkgs writes it, and the qemu-img that it leads to."""
    program = pathlib.Path(spec.layout.working_directory, "qemu/bin/qemu-img")
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    script = pathlib.Path(spec.layout.profile, "bin/run-nixos-vm")
    script.parent.mkdir(parents=True)
    script.write_text("exec /nix/store/0000000000000000000000000000000c-qemu-host-cpu-only-10.1/bin/qemu-system-aarch64 -m 1")
    return str(program)


def test_a_qcow2_disk_is_grown_by_the_qemu_of_the_builder(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    program = make_qemu_img(spec)
    monkeypatch.setattr(_builder_disk_apply, "find_program", lambda name, *places: looked.extend(places) or program)
    disk = pathlib.Path(spec.layout.disk)
    disk.write_bytes(qcow2(3072))
    programs = Programs(grow=lambda path, size: 0 if pathlib.Path(path).write_bytes(qcow2(size // MIB)) else 1)
    _builder_disk_apply.apply(DiskPlan("grow", spec.layout.disk, size=5120 * MIB), spec.layout, programs)
    assert programs.calls[-1] == [program, "resize", "-f", "qcow2", spec.layout.disk, str(5120 * MIB)]
    assert looked[0] == "/nix/store/0000000000000000000000000000000c-qemu-host-cpu-only-10.1/bin/qemu-img"


def test_a_resize_that_fails_or_does_nothing_is_an_error(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_builder_disk_apply, "find_program", lambda *_places: "/q")
    pathlib.Path(spec.layout.disk).write_bytes(qcow2(3072))
    plan = DiskPlan("grow", spec.layout.disk, size=5120 * MIB)
    with pytest.raises(CommandError, match="qemu-img: no. The disk is as it was"):
        _builder_disk_apply.apply(plan, spec.layout, Programs(grow=lambda _path, _size: 1))
    with pytest.raises(StateError, match="3072 MiB after growing, not 5120 MiB"):
        _builder_disk_apply.apply(plan, spec.layout, Programs(grow=lambda _path, _size: 0))


def test_without_a_qemu_img_the_places_are_named(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    make_qemu_img(spec)
    monkeypatch.setattr(_builder_disk_apply, "OTHER_QEMU_IMG", ())  # the machine that runs this test may have one
    with pytest.raises(CommandError, match="/nix/store/0000000000000000000000000000000c-qemu-host-cpu-only-10.1/bin/qemu-img"):
        _builder_disk_apply.qemu_img(spec.layout.profile)


def files(spec: Spec) -> dict[str, bytes]:
    """Every file of the working directory; the record only by name."""
    found = {path.name: path.read_bytes() for path in pathlib.Path(spec.layout.working_directory).iterdir()}
    return {name: content for name, content in found.items() if name != "disk.json"}


def boot(spec: Spec) -> None:
    """What the VM's start script does: a disk is made where there is none."""
    disk = pathlib.Path(spec.layout.disk)
    if not disk.exists():
        disk.write_bytes(qcow2(2048) + b"new")


def recreate(spec: Spec) -> None:
    """The flow of a change up to its proof, from what is found."""
    disk = _builder_disk.read(spec.layout)
    plan = _builder_disk.plan(spec, disk, OLD, NEW, True, PLENTY)
    _builder_disk_apply.apply(plan, spec.layout, Programs())
    boot(spec)
    _builder_disk_apply.settle(spec.layout, NEW)


@pytest.fixture(name="smaller")
def fixture_smaller(spec: Spec) -> Spec:
    pathlib.Path(spec.layout.disk).write_bytes(qcow2(3072) + b"old")
    return spec._replace(disk_mib=2048, allow_disk_recreate=True)


def test_recreation_keeps_the_old_disk_until_the_new_one_is_proven(smaller: Spec) -> None:
    disk = _builder_disk.read(smaller.layout)
    plan = _builder_disk.plan(smaller, disk, OLD, NEW, True, PLENTY)
    _builder_disk_apply.apply(plan, smaller.layout, Programs())
    assert files(smaller) == {_builder_disk.KEPT_NAME: qcow2(3072) + b"old"}
    boot(smaller)
    assert _builder_disk.read(smaller.layout).identity == NEW
    assert _builder_disk_apply.settle(smaller.layout, NEW) == (smaller.layout.path(_builder_disk.KEPT_NAME),)
    assert files(smaller) == {"nixos.qcow2": qcow2(2048) + b"new"}
    assert _builder_disk.read(smaller.layout).record == Record(NEW)


def test_a_roll_back_puts_the_old_disk_back(smaller: Spec) -> None:
    plan = _builder_disk.plan(smaller, _builder_disk.read(smaller.layout), OLD, NEW, True, PLENTY)
    _builder_disk_apply.apply(plan, smaller.layout, Programs())
    boot(smaller)
    with pytest.raises(StateError, match="in use"):
        _builder_disk_apply.roll_back(smaller.layout, Programs(open_by="7"))
    assert _builder_disk_apply.roll_back(smaller.layout, Programs())
    assert files(smaller) == {"nixos.qcow2": qcow2(3072) + b"old"}
    assert not _builder_disk_apply.roll_back(smaller.layout, Programs())


def test_a_second_recreation_before_the_proof_keeps_the_first_disk(smaller: Spec) -> None:
    plan = _builder_disk.plan(smaller, _builder_disk.read(smaller.layout), OLD, OLD, True, PLENTY)
    _builder_disk_apply.apply(plan, smaller.layout, Programs())
    boot(smaller)
    again = smaller._replace(disk_mib=1024)
    plan = _builder_disk.plan(again, _builder_disk.read(smaller.layout), OLD, NEW, True, PLENTY)
    assert plan.action == "recreate"
    _builder_disk_apply.apply(plan, smaller.layout, Programs())
    assert files(smaller) == {_builder_disk.KEPT_NAME: qcow2(3072) + b"old"}
    assert _builder_disk.read(smaller.layout).identity == NEW


def test_a_disk_of_the_other_hypervisor_stays_for_good(spec: Spec) -> None:
    vz = spec._replace(vz=True)
    pathlib.Path(spec.layout.disk).write_bytes(qcow2(3072))
    plan = _builder_disk.plan(vz, _builder_disk.read(spec.layout), OLD, NEW, True, PLENTY)
    assert "raw" in plan.reason
    _builder_disk_apply.apply(plan, spec.layout, Programs())
    pathlib.Path(spec.layout.disk).write_bytes(b"raw")
    assert _builder_disk_apply.settle(spec.layout, NEW) == ()
    found = _builder_disk.read(spec.layout)
    assert [pathlib.Path(path).read_bytes() for path in found.asides] == [qcow2(3072)]
    assert (found.kept, found.identity) == (None, NEW)
    # And back: two disks moved aside within a second do not overwrite one another.
    for content in (b"raw", b"raw too"):
        pathlib.Path(spec.layout.disk).write_bytes(content)
        plan = _builder_disk.plan(spec, _builder_disk.read(spec.layout), OLD, NEW, True, PLENTY)
        _builder_disk_apply.apply(plan, spec.layout, Programs())
        pathlib.Path(spec.layout.disk).write_bytes(qcow2(2048))
        _builder_disk_apply.settle(spec.layout, OLD)
    contents = sorted(pathlib.Path(path).read_bytes() for path in _builder_disk.read(spec.layout).asides)
    assert contents == sorted([qcow2(3072), b"raw", b"raw too"])


def test_a_kept_disk_whose_record_is_lost_is_not_overwritten(smaller: Spec) -> None:
    pathlib.Path(smaller.layout.path(_builder_disk.KEPT_NAME)).write_bytes(b"stray")
    recreate(smaller)
    assert b"stray" in files(smaller).values()
    assert files(smaller)["nixos.qcow2"] == qcow2(2048) + b"new"


def test_a_disk_without_a_record_gets_one_and_only_once(spec: Spec) -> None:
    _builder_disk_apply.settle(spec.layout, NEW)
    assert not os.path.exists(_builder_disk.record_path(spec.layout))
    pathlib.Path(spec.layout.disk).write_bytes(qcow2(3072))
    _builder_disk_apply.settle(spec.layout, OLD)
    _builder_disk_apply.settle(spec.layout, NEW)
    assert _builder_disk.read(spec.layout).identity == OLD


# How many file operations each takes; a test that strikes at none fails, so that these stay true.
RECREATION, ROLL_BACK = 8, 3


class Killed(BaseException):
    """kill -9, as far as a test can have it: nothing but the interpreter sees it."""


class Kill:
    """Lets `count` file operations happen and kills at the next: before it, or right after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, after: bool) -> None:
        self.count = count
        self.after = after
        self.begun = 0
        self.struck = False
        for module, name in ((_files, "write"), (_files, "remove"), (os, "rename"), (os, "replace")):
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name)))

    def wrap(self, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def operation(*args: t.Any, **named: t.Any) -> t.Any:
            number = self.begun
            self.begun += 1
            self.strike(number, after=False)
            done = real(*args, **named)
            self.strike(number, after=True)
            return done

        return operation

    def strike(self, number: int, after: bool) -> None:
        if number == self.count and after == self.after:
            self.struck = True
            raise Killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("count", range(RECREATION))
def test_killed_anywhere_in_a_recreation_the_next_run_completes_it(
    smaller: Spec, monkeypatch: pytest.MonkeyPatch, count: int, after: bool
) -> None:
    kill = Kill(monkeypatch, count, after)
    try:
        recreate(smaller)
    except Killed:
        held = files(smaller).values()
        proven = _builder_disk.read(smaller.layout).record.proven or _builder_disk.read(smaller.layout).identity == NEW
        assert qcow2(3072) + b"old" in held or (proven and qcow2(2048) + b"new" in held)
        recreate(smaller)
    assert kill.struck
    assert {name: data for name, data in files(smaller).items() if name[0] != "."} == {"nixos.qcow2": qcow2(2048) + b"new"}
    assert _builder_disk.read(smaller.layout).record == Record(NEW)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("count", range(ROLL_BACK))
def test_killed_anywhere_in_a_roll_back_the_next_run_has_the_old_disk(
    smaller: Spec, monkeypatch: pytest.MonkeyPatch, count: int, after: bool
) -> None:
    plan = _builder_disk.plan(smaller, _builder_disk.read(smaller.layout), OLD, NEW, True, PLENTY)
    _builder_disk_apply.apply(plan, smaller.layout, Programs())
    boot(smaller)
    kill = Kill(monkeypatch, count, after)
    try:
        _builder_disk_apply.roll_back(smaller.layout, Programs())
    except Killed:
        _builder_disk_apply.roll_back(smaller.layout, Programs())
    assert kill.struck
    assert files(smaller)["nixos.qcow2"] == qcow2(3072) + b"old"
    assert _builder_disk.KEPT_NAME not in files(smaller)
    assert _builder_disk.read(smaller.layout).record == Record()
