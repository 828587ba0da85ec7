# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a converged Mac has on its disk, with the variables' defaults."""

from __future__ import annotations

import typing as t

import macs
import pytest


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (macs.KEY, ("-rw-------", "root", "nixbld")),
        (f"{macs.KEY}.pub", ("-rw-r--r--", "root", "nixbld")),
        (macs.PLIST, ("-rw-r--r--", "root", "wheel")),
        (macs.SSH_ALIAS, ("-rw-r--r--", "root", "wheel")),
        (macs.MACHINES, ("-rw-r--r--", "root", "wheel")),
    ],
)
def test_owner_and_mode(mac: macs.Mac, path: str, expected: tuple[str, str, str]) -> None:
    assert mac.listing(path) == expected


def test_machines_entry_is_the_documented_one(mac: macs.Mac) -> None:
    entries = [line.split() for line in mac.read(macs.MACHINES).splitlines() if line.startswith("ssh-ng://builder@")]
    assert len(entries) == 1
    uri, systems, key, jobs, speed, features, mandatory, host_key = entries[0]
    assert (uri, key, speed) == ("ssh-ng://builder@linux-builder", macs.KEY, "1")
    assert mac.guest_system() in systems.split(",")
    assert (features, mandatory) == ("benchmark,big-parallel", "-")
    assert int(jobs) >= 2
    assert host_key.startswith("c3No")  # base64 of "ssh"


@pytest.mark.parametrize(("name", "value"), [("builders-use-substitutes", "true"), ("build-poll-interval", "1")])
def test_nix_itself_reads_the_settings(mac: macs.Mac, name: str, value: str) -> None:
    assert mac.nix_setting(name) == value


def test_the_profile_roots_the_vm(mac: macs.Mac, kept: t.Any) -> None:
    path = kept("vm", mac.out("/usr/bin/readlink", "-f", macs.PROFILE))
    assert path.startswith("/nix/store/")
    assert macs.PROFILE in mac.shell(f"nix-store --query --roots {path}")
