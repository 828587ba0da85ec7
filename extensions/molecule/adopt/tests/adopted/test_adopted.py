# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same Mac after `linux_builder_adopt: true`: one builder, this collection's, with what was built in the old one."""

from __future__ import annotations

import macs

OLD = "com.example.linux-builder"
DISK = f"{macs.WORKING_DIRECTORY}/nixos.qcow2"


def test_what_was_built_before_is_still_in_the_guests_store(mac: macs.Mac) -> None:
    path = mac.read("/Users/admin/built-before")
    done = mac.guest("nix-store", "--check-validity", path)
    assert done.rc == 0, done.stderr


def test_the_old_job_is_gone_and_the_disk_moved(mac: macs.Mac, launchd: macs.Launchd) -> None:
    assert OLD not in launchd.labels()
    assert not mac.exists(f"/Library/LaunchDaemons/{OLD}.plist")
    assert not mac.exists("/Users/admin/linux-builder/nixos.qcow2")
    assert mac.listing(DISK)[1:] == ("root", "wheel")


def test_one_vm_runs(stand_in: macs.StandIn) -> None:
    commands = [line for line in stand_in.root("/bin/ps", "-axww", "-o", "args=").splitlines() if "qemu-system" in line]
    assert len([line for line in commands if "nixos.qcow2" in line]) == 1, commands


def test_nix_knows_one_builder(mac: macs.Mac) -> None:
    assert mac.nix_setting("builders") == f"@{macs.MACHINES}"
    assert mac.read(macs.MACHINES).count("ssh-ng://") == 1
    assert not mac.exists("/etc/ssh/ssh_config.d/100-linux-builder.conf")


def test_nobody_but_root_can_read_what_was_put_aside(mac: macs.Mac) -> None:
    assert mac.listing("/var/db/nixmac.linux_builder/originals") == ("drwx------", "root", "wheel")
    assert mac.listing("/var/db/nixmac.linux_builder/manifest.json") == ("-rw-------", "root", "wheel")
