# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Whether the builder answers: one authenticated ssh connection that asks the guest's Nix daemon.

Never without the key: all connections reach the guest from one address, and its sshd locks an address out
that tries too often without success (PerSourcePenalties).
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import (
    SSH,
    USER,
    Layout,
    connect_address,
    ssh_options,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

# `store ping` is known to every Nix since 2.4 and to Lix; it opens the daemon's socket and does nothing else.
# One question for all that is asked of a guest that serves: its time (see _clock), its boot id, its daemon.
_QUESTION = (
    "date +%s; cat /proc/sys/kernel/random/boot_id && "
    "nix --extra-experimental-features nix-command store ping --store daemon >/dev/null 2>&1 && echo daemon"
)
_BOOT_ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.MULTILINE)
_CONNECT_TIMEOUT = 10  # seconds; QEMU accepts at once, a guest that still boots answers nothing
CUT = "ssh: no answer in time"  # words of an answer that was not waited for any longer
LOOK_SECONDS = 30.0  # for a VM that runs, where one that still boots is not waited for


class Guest(t.NamedTuple):
    """Where to ask, and with which keys."""

    layout: Layout
    host_address: str
    port: int
    client_key: str


class Answer(t.NamedTuple):
    """What one question brought. kind: ready | booting | no-daemon | key-refused | wrong-host-key."""

    kind: str
    boot_id: str | None
    words: str


def ssh_argv(guest: Guest, command: str) -> list[str]:
    """An ssh call that runs `command` in the guest's shell."""
    options = ssh_options(guest.layout.known_hosts, guest.client_key, _CONNECT_TIMEOUT)
    return [SSH, *options, "-p", str(guest.port), f"{USER}@{connect_address(guest.host_address)}", "--", command]


def argv(guest: Guest) -> list[str]:
    """The ssh command that asks."""
    return ssh_argv(guest, _QUESTION)


def judge(done: Completed) -> Answer:
    """Read what ssh left behind."""
    match = _BOOT_ID.search(done.stdout)
    boot_id = match.group(0) if match else None
    words = " / ".join(line.strip() for line in done.stderr.splitlines() if line.strip("@ \r"))
    if done.rc == 0 and boot_id and done.stdout.rstrip().endswith("daemon"):
        return Answer("ready", boot_id, words)
    if boot_id:
        return Answer("no-daemon", boot_id, words)
    if "Host key verification failed" in words or "HOST IDENTIFICATION HAS CHANGED" in words:
        return Answer("wrong-host-key", None, words)
    if "Permission denied" in words:
        return Answer("key-refused", None, words)
    return Answer("booting", None, words)


def ask(guest: Guest, runner: Runner, left: float) -> Answer:
    """Ask once. left: seconds that it may take."""
    try:
        return judge(runner.run(argv(guest), timeout=min(left, _CONNECT_TIMEOUT + 20.0)))
    except CommandError as exc:
        if "timeout" not in exc.details:
            raise
        return Answer("booting", None, CUT)
