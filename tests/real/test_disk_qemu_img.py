# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data disk with the real qemu-img, lsof and file systems on small images, and the stand-in's tmutil. No VM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_disk,
    _builder_disk_apply,
    _builder_image,
    _time_machine,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import MIB
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, StateError

IDENTITY = "/nix/store/0000000000000000000000000000000a-nixos-system-1"


def run(*argv: str) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=120).stdout.decode()


def info(path: str) -> dict[str, t.Any]:
    return dict(json.loads(run("/usr/bin/qemu-img", "info", "--output=json", path)))


@pytest.fixture(name="spec")
def fixture_spec(tmp_path: Path) -> Spec:
    layout = Layout(str(tmp_path / "builder"), str(tmp_path / "profile"), str(tmp_path / "log"), "org.example.disk")
    os.mkdir(layout.working_directory)
    return Spec(layout, "path:/x#x", False, "127.0.0.1", 31022, False, 1, 1024, None, "/k", "ssh-ed25519 AAAA", "/ca", 60)


def make_disk(layout: Layout, size_mib: int, form: str = "qcow2") -> None:
    """A disk as the VM's start script makes it, with a file in its file system."""
    raw, content = layout.path("raw"), layout.path("content")
    Path(content).write_text("built before\n", encoding="utf-8")
    run("/usr/bin/truncate", "-s", f"{size_mib}M", raw)
    run("/usr/sbin/mkfs.ext4", "-q", "-L", "nixos", raw)
    run("/usr/sbin/debugfs", "-w", "-R", f"write {content} kept", raw)
    os.unlink(content)
    if form == "raw":
        os.rename(raw, layout.disk)
    else:
        run("/usr/bin/qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, layout.disk)
        os.unlink(raw)


def kept_file(layout: Layout) -> str:
    """The file of `make_disk` after what a guest does at boot: check and grow the file system."""
    raw = layout.path("look")
    run("/usr/bin/qemu-img", "convert", "-O", "raw", layout.disk, raw)
    run("/usr/sbin/e2fsck", "-f", "-p", raw)
    run("/usr/sbin/resize2fs", raw)
    found = run("/usr/sbin/debugfs", "-R", "cat kept", raw)
    os.unlink(raw)
    return found


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_the_header_is_read_as_qemu_img_reads_it(spec: Spec, version: str) -> None:
    disk = spec.layout.disk
    run("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={version}", disk, "70M")
    image = _builder_image.read_image(disk)
    assert image is not None
    assert (image.format, image.size, image.obstacle) == ("qcow2", info(disk)["virtual-size"], "")
    assert image.allocated == info(disk)["actual-size"]
    run("/usr/bin/qemu-img", "snapshot", "-c", "one", disk)
    image = _builder_image.read_image(disk)
    assert image is not None
    assert image.obstacle == "it holds 1 snapshot(s)"


def test_what_stands_against_growing_is_seen_in_the_real_headers(spec: Spec) -> None:
    base, disk, other = spec.layout.path("base"), spec.layout.disk, spec.layout.path("other")
    run("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", base, "70M")
    run("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk)
    image = _builder_image.read_image(disk)
    assert image is not None
    assert "backing file" in image.obstacle
    run("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={other}", disk, "70M")
    image = _builder_image.read_image(disk)
    assert image is not None
    assert "another file" in image.obstacle


@pytest.mark.parametrize("form", ["qcow2", "raw"])
def test_a_disk_is_grown_with_what_is_in_it_and_once(spec: Spec, form: str) -> None:
    make_disk(spec.layout, 24, form)
    larger = spec._replace(disk_mib=2048, vz=form == "raw")
    free = _builder_disk.free_bytes(spec.layout.disk)
    plan = _builder_disk.plan(larger, _builder_disk.read(spec.layout), IDENTITY, IDENTITY, True, free)
    assert plan.action == "grow"
    _builder_disk_apply.apply(plan, spec.layout, Runner())
    assert info(spec.layout.disk)["virtual-size"] == 2048 * MIB
    assert info(spec.layout.disk)["actual-size"] < 64 * MIB
    if form == "qcow2":
        run("/usr/bin/qemu-img", "check", spec.layout.disk)
    assert kept_file(spec.layout) == "built before\n"
    assert not _builder_disk.plan(larger, _builder_disk.read(spec.layout), IDENTITY, IDENTITY, True, free).changed


def test_a_disk_that_a_process_has_open_is_left_alone(spec: Spec) -> None:
    make_disk(spec.layout, 24)
    before = Path(spec.layout.disk).read_bytes()
    larger = spec._replace(disk_mib=2048)
    plan = _builder_disk.plan(larger, _builder_disk.read(spec.layout), IDENTITY, IDENTITY, True, 1 << 50)
    words = "import sys; stream = open(sys.argv[1], 'r+b'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", words, spec.layout.disk], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StateError, match=f"in use by process {holder.pid}"):
            _builder_disk_apply.apply(plan, spec.layout, Runner())
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(60)
    assert Path(spec.layout.disk).read_bytes() == before
    _builder_disk_apply.apply(plan, spec.layout, Runner())
    assert info(spec.layout.disk)["virtual-size"] == 2048 * MIB


def test_qemu_imgs_own_words_are_in_the_error(spec: Spec) -> None:
    make_disk(spec.layout, 24)
    with open(spec.layout.disk, "r+b") as stream:  # the first table of the disk leads nowhere
        stream.seek(40)
        stream.write(b"\xff" * 8)
    plan = _builder_disk.DiskPlan("grow", spec.layout.disk, size=2048 * MIB)
    with pytest.raises(CommandError, match="qemu-img: .*The disk is as it was"):
        _builder_disk_apply.apply(plan, spec.layout, Runner())


def test_time_machine_leaves_the_directory_out_with_every_disk_in_it(spec: Spec) -> None:
    runner = Runner()
    directory = spec.layout.working_directory
    assert _time_machine.hold(directory, True, runner, check_mode=True).changed
    assert not _time_machine.is_excluded(directory, runner)
    assert _time_machine.hold(directory, True, runner).changed
    assert not _time_machine.hold(directory, True, runner).changed
    make_disk(spec.layout, 24)
    assert _time_machine.is_excluded(spec.layout.disk, runner)
    assert not _time_machine.is_excluded(os.path.dirname(directory), runner)
    # The exclusion goes with the directory, not with the path.
    os.rename(directory, directory + "-moved")
    os.mkdir(directory)
    assert not _time_machine.is_excluded(directory, runner)
    assert _time_machine.hold(directory + "-moved", False, runner).changed
    assert not _time_machine.is_excluded(directory + "-moved", runner)
