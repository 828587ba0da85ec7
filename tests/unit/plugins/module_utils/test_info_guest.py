# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guest says of itself, and the way to it."""

from __future__ import annotations

import base64
import subprocess

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _info_guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

BOOT_ID = "0f0d3c4a-7a54-4a6e-9d4b-6c7d1a1e2b3c"
ANSWER = f"""\
1795427400
{BOOT_ID}
93784.51 180000.20
MemTotal: 3015936
MemAvailable: 2097152
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/disk/by-label/nixos    20466256 1048576  18362880       6% /
"""
KEY = base64.b64encode(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb root@nixos\n").decode()


class Ssh(Runner):
    """ssh that answers with `done`, or raises it."""

    def __init__(self, done):
        super().__init__()
        self.done = done
        self.calls = []

    def run(self, argv, **options):
        self.calls.append((list(argv), options["timeout"]))
        if isinstance(self.done, Exception):
            raise self.done
        return self.done


def completed(stdout="", stderr="", rc=0):
    return Completed(("ssh",), rc, stdout, stderr)


def layout(tmp_path):
    return Layout(str(tmp_path), "/nix/var/nix/profiles/linux-builder", "/var/log/x", "x")


def test_the_answer_is_read():
    assert _info_guest.parse(completed(ANSWER), 1795427399.0, 1795427401.0) == {
        "disk_total_mib": 19986,
        "disk_free_mib": 17932,
        "memory_total_mib": 2945,
        "memory_available_mib": 2048,
        "uptime_seconds": 93784.51,
        "boot_id": BOOT_ID,
        "clock_skew_seconds": 0.5,
        "clock_uncertainty_seconds": 1.5,
        "error": None,
    }


def test_what_a_guest_cannot_say_is_null():
    found = _info_guest.parse(completed(f"{BOOT_ID}\n", "sh: df: not found\n", rc=127), 0.0, 1.0)
    assert found["boot_id"] == BOOT_ID
    assert found["error"] is None
    assert found["disk_total_mib"] is None
    assert found["clock_skew_seconds"] is None


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (
            completed("", "ssh: connect to host 127.0.0.1 port 31022: Connection refused\n", 255),
            "ssh: connect to host 127.0.0.1 port 31022: Connection refused",
        ),
        (
            completed("", "@@@@@@\r\nHost key verification failed.\r\n", 255),
            "ssh: Host key verification failed.",
        ),
        (completed("", "", 255), "ssh: exit status 255"),
        (CommandError("/usr/bin/ssh: no end after 5 s, stopped.", timeout=5), "ssh: no answer within 5 s"),
        (CommandError("/usr/bin/ssh: cannot be started: no such file."), "/usr/bin/ssh: cannot be started: no such file."),
    ],
)
def test_a_guest_that_does_not_answer(tmp_path, done, words):
    found = _info_guest.ask(_info_guest.Way(Guest(layout(tmp_path), "127.0.0.1", 31022, "/k")), Ssh(done), 5)
    assert found["error"] == words
    assert [value for name, value in found.items() if name != "error"] == [None] * 8


def test_our_builder_is_asked_once_with_its_pinned_key(tmp_path):
    (tmp_path / "known_hosts").write_text("linux-builder ssh-ed25519 AAAA\n")
    way = _info_guest.find_way(layout(tmp_path), "127.0.0.1", 31022, "/etc/nix/builder_ed25519", [])
    ssh = Ssh(completed(ANSWER))
    assert _info_guest.ask(way, ssh, 7)["boot_id"] == BOOT_ID
    ((argv, timeout),) = ssh.calls
    assert timeout == 7
    assert f"UserKnownHostsFile={tmp_path}/known_hosts" in argv
    assert "StrictHostKeyChecking=yes" in argv
    assert argv[-1] == _info_guest.QUESTION


@pytest.mark.parametrize(
    ("entry", "uri", "key"),
    [
        # As the nixpkgs manual has it, as a line of nix.conf and of the machines file; and as nix-darwin writes it.
        (
            f"ssh-ng://builder@localhost x86_64-linux /etc/nix/builder_ed25519 4 - - - {KEY}",
            "ssh-ng://builder@localhost",
            "/etc/nix/builder_ed25519",
        ),
        (
            f"@/etc/nix/others ; ssh-ng://builder@linux-builder aarch64-linux /etc/nix/builder_ed25519 1 1 kvm - {KEY} # mine",
            "ssh-ng://builder@linux-builder",
            "/etc/nix/builder_ed25519",
        ),
        ("ssh://builder@linux-builder x86_64-linux,aarch64-linux - 1", "ssh://builder@linux-builder", "/etc/nix/builder_ed25519"),
    ],
)
def test_a_builder_of_others_is_found_among_the_machines(tmp_path, entry, uri, key):
    way = _info_guest.find_way(layout(tmp_path), "127.0.0.1", 31022, "/k", ["", f"# x\n\n{entry}\n"])
    assert way.guest is None
    assert (way.target.uri, way.target.key, way.target.public_host_key) == (uri, key, KEY if KEY in entry else "")
    ssh = Ssh(completed(ANSWER))
    assert _info_guest.ask(way, ssh, 7)["disk_free_mib"] == 17932
    assert len(ssh.calls) == 1


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "# nothing",
        "@/etc/nix/machines",
        "ssh-ng://builder@farm.example.com x86_64-linux /k 8",  # a machine elsewhere is not this Mac's guest
        "ssh-ng://builder@linux-builder aarch64-darwin /k 8",
        "builder",
    ],
)
def test_no_builder_no_question(tmp_path, entry):
    assert _info_guest.find_way(layout(tmp_path), "127.0.0.1", 31022, "/k", [entry]) is None


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_question_is_understood_by_a_shell(shell):
    done = subprocess.run([shell, "-n", "-c", _info_guest.QUESTION], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
