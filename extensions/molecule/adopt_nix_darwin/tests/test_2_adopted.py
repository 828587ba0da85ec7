# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same Mac after `linux_builder_adopt: true`: this collection's builder, with disk and content of nix-darwin's."""

from __future__ import annotations

import re

import macs

OLD = "org.nixos.linux-builder"
DISK = f"{macs.WORKING_DIRECTORY}/nixos.qcow2"
BUILT = "/Users/admin/built-before.nix"
NIX = "/nix/var/nix/profiles/default/bin"


def machines(stand_in: macs.StandIn) -> list[str]:
    """The command lines of the VMs on that disk."""
    return [
        line for line in stand_in.root("/bin/ps", "-axww", "-o", "args=").splitlines() if "qemu-system" in line and DISK in line
    ]


def kernel(stand_in: macs.StandIn) -> str:
    """The kernel that the one VM runs: a store path of what is inside the guest."""
    (command,) = machines(stand_in)
    match = re.search(r"-kernel (\S+)", command)
    assert match, command
    return match[1]


def test_one_run_takes_it_over_and_proves_a_build(stand_in: macs.StandIn, mac: macs.Mac) -> None:
    inside = kernel(stand_in)
    inode = mac.out("/bin/ls", "-i", DISK)
    played = macs.play("site", "--extra-vars=linux_builder_adopt=true")
    assert played.rc == 0, played.output[-6000:]
    assert played.says("x86_64-linux built in"), played.output[-6000:]
    # The guest is the one that ran before, and so is its disk.
    assert kernel(stand_in) == inside
    assert mac.out("/bin/ls", "-i", DISK) == inode


def test_its_job_and_its_files_are_put_aside(mac: macs.Mac, launchd: macs.Launchd) -> None:
    assert OLD not in launchd.labels()
    assert macs.LABEL in launchd.labels()
    for path in (
        f"/Library/LaunchDaemons/{OLD}.plist",
        "/etc/ssh/ssh_config.d/100-linux-builder.conf",
        f"{macs.WORKING_DIRECTORY}/keys/builder_ed25519",
    ):
        assert not mac.exists(path), path
    assert mac.listing(DISK) == ("-rw-------", "root", "wheel")
    assert mac.shell(f"grep -c '^ssh-ng:' {macs.MACHINES}") == "1"


def test_what_was_built_before_is_not_built_again(mac: macs.Mac) -> None:
    path = mac.out(f"{NIX}/nix-store", "--query", "--outputs", mac.out(f"{NIX}/nix-instantiate", BUILT))
    boot = mac.read(path)
    mac.out(f"{NIX}/nix-store", "--delete", path)
    # It comes back from the guest's store, as the VM of before had built it.
    assert mac.out(f"{NIX}/nix-build", "--no-out-link", "--max-jobs", "0", BUILT) == path
    assert mac.read(path) == boot
    assert mac.guest_boot_id() not in ("", boot)


def test_a_second_run_changes_nothing() -> None:
    played = macs.play("site", "--extra-vars=linux_builder_adopt=true")
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
