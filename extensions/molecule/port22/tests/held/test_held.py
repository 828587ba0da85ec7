# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Port 22 is Remote Login's: the form of the manual is refused. Without it nothing stands in the way."""

from __future__ import annotations

import typing as t

import macs
import pytest

PID = "/var/tmp/remote-login.pid"


@pytest.fixture
def remote_login(stand_in: macs.StandIn) -> t.Iterator[None]:
    """An sshd on port 22 as on any Mac that is reached over SSH; the one that Ansible talks to has another port here."""
    # Not through Ansible: its connection would wait for what the daemon inherits.
    stand_in.root("/bin/sh", "-c", f"/usr/sbin/sshd -p 22 -o PidFile={PID} </dev/null >/dev/null 2>&1")
    macs.poll("sshd listens", lambda: stand_in.root("/bin/sh", "-c", f"cat {PID} 2>/dev/null || :"), 60)
    yield
    stand_in.root("/bin/sh", "-c", f"kill $(cat {PID})")
    macs.poll("sshd is gone", lambda: not stand_in.root("/bin/sh", "-c", f"cat {PID} 2>/dev/null || :"), 60)


def test_remote_login_is_left_alone(stand_in: macs.StandIn, remote_login: None) -> None:
    before = stand_in.snapshot()
    played = macs.play("site")
    assert played.rc != 0
    assert played.says("Port 22 on 127.0.0.1 is taken by sshd"), played.output
    assert played.says("that is Remote Login. Leave linux_builder_port at 31022"), played.output
    differences = macs.differences(before, stand_in.snapshot())
    assert not differences, "\n".join(differences)


def test_with_the_port_free_a_dry_run_comes_to_its_end(stand_in: macs.StandIn, kept: t.Any) -> None:
    before = kept("before", stand_in.snapshot())
    played = macs.play("site", "--check")
    assert played.rc == 0, played.output
    differences = macs.differences(before, stand_in.snapshot())
    assert not differences, "\n".join(differences)
