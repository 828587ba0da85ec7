# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A slow Mac, and the strategy of ansible-core's own with which no other Mac waits for it."""

from __future__ import annotations

import fcntl
import json
import typing as t
from pathlib import Path

import macs
import pytest
import scale

PATIENCE = 900  # seconds; a run on a busy machine takes minutes
# ssh, with which the Mac at this port does not answer while the test has the lock. This is how a Mac is slow here: for as long
# as it takes to see what the other one does meanwhile.
SSH = """#!/bin/sh
case " $* " in *" Port={port} "*) flock --shared '{lock}' true ;; esac
exec ssh "$@"
"""


@pytest.fixture
def slow(tmp_path: Path) -> t.Iterator[tuple[dict[str, str], t.IO[str]]]:
    """The first Mac is slow until the lock is given up: (environment of such a run, lock)."""
    hosts = json.loads(macs.INVENTORY.read_text())["all"]["children"]["macs"]["hosts"]
    path, ssh = tmp_path / "lock", tmp_path / "ssh"
    ssh.write_text(SSH.format(port=hosts[scale.FIRST]["ansible_port"], lock=path))
    ssh.chmod(0o755)
    # Ansible would give a Mac up that does not ask for the sudo password within its timeout.
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield {"ANSIBLE_SSH_EXECUTABLE": str(ssh), "ANSIBLE_TIMEOUT": str(2 * PATIENCE)}, lock


def test_no_mac_waits_for_a_slow_one(slow: tuple[dict[str, str], t.IO[str]], tmp_path: Path) -> None:
    settings, lock = slow
    log = tmp_path / "log"
    environ = scale.environment(ANSIBLE_STRATEGY="ansible.builtin.host_pinned", **settings)
    with log.open("w") as output, macs.running(scale.argv("site", scale.BOTH), environ, output) as process:
        macs.poll(
            "the other Mac's proof, or the end of the run",
            lambda: process.poll() is not None or scale.proofs(log.read_text()),
            PATIENCE,
        )
        meanwhile = log.read_text()
        assert scale.proofs(meanwhile) == [scale.SECOND], meanwhile[-6000:]
        assert f"[{scale.FIRST}]" not in meanwhile, "not one task of the slow Mac's has ended"
        fcntl.flock(lock, fcntl.LOCK_UN)
        macs.poll("the end of the run", lambda: process.poll() is not None, PATIENCE)
        played = macs.Played.of(process.returncode, log.read_text())
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
    assert scale.proofs(played.output) == [scale.SECOND, scale.FIRST]
