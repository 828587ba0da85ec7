# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data disk through builder_vm: grown with its store, refused, made anew, put back. Real VM, Nix and qemu-img.

The tests build on one another, in their order, because each boot takes a while under emulation.
"""

from __future__ import annotations

import os
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest
from builder_under_test import NIX, PACKAGE, Mac, processes, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder,
    _builder_change,
    _builder_disk,
    _builder_image,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_tools import Tools
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_look import read_spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos import builder_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

VZ = PACKAGE + "-vz"


class Disk(Mac):
    """The builder of this file, and what the tests ask of its guest."""

    def keep(self, **changes: t.Any) -> _builder.Outcome:
        """Run with these options from now on."""
        self.params.update(changes)
        return self.run()

    def size(self) -> tuple[int, int]:
        """MiB of (the disk, the file system on it as the guest has it)."""
        image = _builder_image.read_image(self.layout.disk)
        assert image is not None
        return image.size_mib, int(self.guest("df -BM --output=size /nix").split()[-1].rstrip("M"))

    def build(self, name: str) -> str:
        """Build something in the guest; its store path."""
        what = f'name = "{name}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo {name} > $out" ];'
        options, env = builder_options(self.layout, self.key, "x86_64-linux", "127.0.0.1", self.port)
        argv = [f"{NIX}/nix-build", "--no-out-link", "--max-jobs", "0", *options, "-E", f"derivation {{ {what} }}"]
        done = subprocess.run(argv, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True, timeout=120)
        return done.stdout.decode().strip()

    def holds(self, path: str) -> bool:
        """Whether the guest's store has the path, registered and readable."""
        return self.guest(f"nix-store --check-validity {path} 2>/dev/null && cat {path} || echo none") in path


def disks(disk: str) -> list[str]:
    """Names beside the disk that begin like it."""
    return sorted(name for name in os.listdir(os.path.dirname(disk)) if name.startswith(os.path.basename(disk)))


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Disk]:
    mac = Disk(tmp_path_factory.mktemp("disk"), "disk", 31944)
    yield mac
    mac.close()


@pytest.fixture(name="built", scope="module")
def fixture_built(mac: Disk) -> str:
    """The builder with the stock image and 3 GiB, and something that was built in it."""
    assert mac.run().changed
    return mac.build("before")


def test_the_new_disk_has_the_size_asked_for_and_its_image_is_recorded(mac: Disk, built: str) -> None:
    assert mac.size()[0] == 3072
    assert 2800 < mac.size()[1] <= 3072
    assert mac.holds(built)
    record = _builder_disk.read(mac.layout).record
    assert record == _builder_image.Record(_builder_image.identity(mac.layout.profile))


@pytest.mark.parametrize(("size", "words"), [(2048, "cannot be made smaller"), (5120, "would not grow its file system")])
def test_what_the_stock_image_cannot_do_is_refused_before_anything_stops(mac: Disk, built: str, size: int, words: str) -> None:
    vm = mac.vm()
    for check_mode in (True, False):
        with pytest.raises(StateError) as error:
            _builder.execute({**mac.params, "disk_mib": size}, check_mode)
        for word in (mac.layout.disk, "3072 MiB", f"{size} MiB", words, "allow_disk_recreate"):
            assert word in error.value.message
    assert mac.vm() == vm
    assert mac.holds(built)
    assert not mac.run().changed


def test_3_gib_are_grown_to_5_with_the_store_kept(mac: Disk, built: str) -> None:
    done = mac.keep(disk_mib=5120, grow_file_system=True)
    assert done.changed
    assert "3072 MiB -> 5120 MiB" in " ".join(done.result["why"])
    assert mac.size()[0] == 5120
    assert 4700 < mac.size()[1] <= 5120
    assert mac.holds(built)
    assert mac.build("after") != built
    assert done.result["disk_mib"] == 5120
    assert not mac.run().changed
    assert disks(mac.layout.disk) == ["nixos.qcow2"]


def test_a_smaller_disk_is_made_anew_where_that_is_allowed(mac: Disk, built: str) -> None:
    done = mac.keep(disk_mib=4096, allow_disk_recreate=True)
    assert "5120 MiB -> 4096 MiB" in " ".join(done.result["why"])
    assert mac.size()[0] == 4096
    assert not mac.holds(built)
    assert disks(mac.layout.disk) == ["nixos.qcow2"]
    assert not mac.run().changed


def test_another_image_gets_another_disk_only_where_that_was_asked_for(mac: Disk) -> None:
    path = mac.build("under-the-first-image")
    assert mac.keep(min_free_mib=700).changed
    assert mac.holds(path)
    assert mac.keep(min_free_mib=800, disk_on_upgrade="recreate").changed
    assert not mac.holds(path)
    assert _builder_disk.read(mac.layout).identity == _builder_image.identity(mac.layout.profile)
    assert disks(mac.layout.disk) == ["nixos.qcow2"]
    assert not mac.run().changed


def test_a_new_disk_whose_builder_proves_nothing_gives_way_to_the_old_one(mac: Disk) -> None:
    def prove(*_arguments: t.Any) -> float:
        assert disks(mac.layout.disk) == ["nixos.qcow2", "nixos.qcow2.before"]
        assert mac.size()[0] == 3072
        raise StateError("nothing was proven.")

    path = mac.build("on-the-old-disk")
    spec = read_spec({**mac.params, "disk_mib": 3072}, Runner())
    with pytest.raises(StateError, match="nothing was proven") as error:
        _builder_change.Changer(spec, Tools(prove=prove)).run(False)
    assert error.value.details["rolled_back"] is True
    assert disks(mac.layout.disk) == ["nixos.qcow2"]
    assert mac.size()[0] == 4096
    assert mac.holds(path)
    assert not mac.run().changed


def test_the_other_hypervisors_disk_is_moved_aside_and_stays(mac: Disk) -> None:
    mac.params.update(package=VZ, grow_file_system=False, min_free_mib=None, disk_on_upgrade="keep", allow_disk_recreate=False)
    done = mac.run()
    assert "moved aside" in " ".join(done.result["why"])
    image = _builder_image.read_image(mac.layout.disk)
    assert image is not None
    assert (image.format, image.size_mib) == ("raw", mac.params["disk_mib"])
    assert mac.guest("grep -c ^processor /proc/cpuinfo") == "1"
    aside = [name for name in disks(mac.layout.disk) if ".aside-" in name]
    assert len(aside) == 1
    assert not mac.run().changed
    # Options that QEMU takes on its command line.
    assert mac.keep(cores=2, memory_mib=1100).changed
    assert mac.guest("grep -c ^processor /proc/cpuinfo") == "2"
    assert not mac.run().changed
    assert disks(mac.layout.disk) == ["nixos.qcow2", *aside]


def test_a_killed_runner_leaves_one_vzvm_and_the_store(mac: Disk) -> None:
    path, first = mac.build("under-vzvm"), mac.vm()
    mac.guest("sync")
    before = mac.boot_id()
    os.kill(mac.runner(), signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{first}/cmdline").exists())
    mac.run(state="ready")
    assert processes(lambda argv: any(word.endswith("bin/vzvm") for word in argv)) == [mac.vm()]
    assert mac.boot_id() != before
    assert mac.holds(path)
