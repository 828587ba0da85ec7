# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation of keys: to its end, repeated, and killed at several points."""

from __future__ import annotations

import json

import keys
import macs
import pytest


def rotate(name: str) -> macs.Played:
    """One run of the playbook for the rotation of that name."""
    return macs.play("rotate_keys", f"--extra-vars=linux_builder_rotation={name}")


def pairs(mac: macs.Mac) -> tuple[str, str]:
    """The client's and the host's public keys."""
    return keys.key_of(mac.read(f"{macs.KEY}.pub")), keys.own_key(mac)


def test_a_rotation_makes_both_keys_new_and_proves_a_build(mac: macs.Mac) -> None:
    mac.shell(f"umask 077; cp {macs.KEY} /var/tmp/old-client; cp {keys.KNOWN_HOSTS} /var/tmp/old-known-hosts")
    client, host = pairs(mac)
    played = rotate("whole")
    assert played.rc == 0, played.output[-6000:]
    assert played.says("x86_64-linux built in"), played.output[-6000:]
    assert json.loads(mac.read(f"{macs.WORKING_DIRECTORY}/verified.json"))["boot_id"] == mac.guest_boot_id()
    new_client, new_host = pairs(mac)
    assert (new_client != client, new_host != host) == (True, True)
    keys.check_own(mac)
    # The guest takes the new client key only, and the old pin fits it no more.
    assert "verification failed" in keys.shown_key(mac, "/var/tmp/old-known-hosts").stderr
    assert "Permission denied" in keys.log_in(mac, "/var/tmp/old-client").stderr
    mac.shell("rm /var/tmp/old-client /var/tmp/old-known-hosts")


def test_no_old_key_is_left(mac: macs.Mac) -> None:
    assert mac.shell("ls /etc/nix | grep builder_ed25519").split() == ["builder_ed25519", "builder_ed25519.pub"]
    found = mac.shell(f"ls {macs.WORKING_DIRECTORY}/keys | grep ssh_host").split()
    assert found == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]


def test_the_same_rotation_again_changes_nothing(mac: macs.Mac) -> None:
    before = pairs(mac)
    played = rotate("whole")
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
    assert pairs(mac) == before


@pytest.mark.parametrize("task", ["Make a new host key pair", "Start the VM with the new keys"])
def test_a_killed_rotation_resumes(mac: macs.Mac, task: str) -> None:
    name = task.split()[0]
    client, host = pairs(mac)
    macs.interrupt("rotate_keys", task, f"--extra-vars=linux_builder_rotation={name}")
    # Whatever runs now, the daemon takes no other key than that of the VM that will run.
    played = rotate(name)
    assert played.rc == 0, played.output[-6000:]
    new_client, new_host = pairs(mac)
    assert (new_client != client, new_host != host) == (True, True)
    keys.check_own(mac)
    assert keys.build(mac).rc == 0


def test_site_finds_nothing_to_do_after_all_that() -> None:
    played = macs.play("site")
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
