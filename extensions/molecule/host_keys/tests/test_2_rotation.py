# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation of keys, interrupted at several points and repeated."""

from __future__ import annotations

import keys
import macs
import pytest


@pytest.mark.parametrize("task", ["Make a new host key pair", "Start the VM with the new keys"])
def test_an_interrupted_rotation_resumes(mac: macs.Mac, task: str) -> None:
    rotation = f"--extra-vars=linux_builder_rotation={task.split()[0]}"
    client, host = keys.key_of(mac.read(f"{macs.KEY}.pub")), keys.own_key(mac)
    keys.interrupt("rotate_keys", task, *keys.OWN, rotation)
    # Whatever runs now, the daemon takes no other key than that of the VM that will run.
    played = macs.play("rotate_keys", *keys.OWN, rotation)
    assert played.rc == 0, played.output[-6000:]
    assert keys.key_of(mac.read(f"{macs.KEY}.pub")) != client
    assert keys.own_key(mac) not in (host, "")
    assert keys.pinned_key(mac) == keys.own_key(mac)
    assert keys.build(mac).rc == 0


def test_a_finished_rotation_leaves_no_old_key_and_is_not_repeated(mac: macs.Mac) -> None:
    mac.shell(f"cp {macs.KEY} /var/tmp/old-client; cp {keys.KNOWN_HOSTS} /var/tmp/old-known-hosts")
    played = macs.play("rotate_keys", *keys.OWN, "--extra-vars=linux_builder_rotation=whole")
    assert played.rc == 0, played.output[-6000:]
    # The guest takes the new client key only, and the old pin fits it no more.
    assert keys.shown_key(mac).rc == 0
    assert "verification failed" in keys.shown_key(mac, "/var/tmp/old-known-hosts").stderr
    done = keys.log_in(mac, "/var/tmp/old-client")
    assert "Permission denied" in done.stderr
    mac.shell("rm /var/tmp/old-client /var/tmp/old-known-hosts")
    played = macs.play("rotate_keys", *keys.OWN, "--extra-vars=linux_builder_rotation=whole")
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
