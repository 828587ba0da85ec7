# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Waiting until no build runs in the builder, and keeping new ones waiting while it is away.

Nix locks one file with flock(2) for each build that it sends to a builder, and a build that finds every slot taken
waits. So whoever holds the slots' locks both knows that nothing is built, and lets nothing begin. The files stay when a
build has ended; before the first one there are none, so they are made here as Nix would make them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _machines_effective
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_slots import names_of, slots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import CURRENT_LOAD
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, StateError

MACHINES = "/etc/nix/machines"

_POLL = 1.0  # seconds
_MOST = 128  # slots that are made: each one held is an open file, of which launchd grants a process 256


class Hold:
    """The slots of a builder, locked by us until `release`; with the process they are free again in any case."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def take(self, path: str) -> bool:
        """Lock one slot; False when a build has it. A slot that cannot be opened (gone) is nobody's."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptors.append(descriptor)
        return True

    def release(self) -> None:
        """Let the builds begin."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def make_slots(uris: t.Collection[str], directory: str, machines: str) -> None:
    """Make the lock files of builds that there were none of yet, for each entry of these builders in the file `machines`.

    Root's, for owner alone, as Nix' hook makes them; and only where that hook is root's too, whose directory is then
    root's: another user's could not open them. A file that cannot be made is one that holds nothing off, as before.
    """
    try:
        content = _files.read(os.path.realpath(machines)).content
    except FileError:
        content = None
    if content is None or not _usable(directory):
        return
    for machine in _machines_effective.read(f"@{machines}", lambda _path: content).found:
        if "://" in machine.uri and machine.uri.partition("?")[0] in uris:
            for number in range(min(machine.max_jobs, _MOST)):
                _make_slot(os.path.join(directory, f"{machine.uri.replace('/', '_')}-{number}"))


def _usable(directory: str) -> bool:
    """Whether the directory of locks, which Nix makes too, is there and our own; made where only it is missing."""
    with contextlib.suppress(OSError):
        if os.lstat(os.path.dirname(directory)).st_uid == os.geteuid():
            os.mkdir(directory, 0o755)
    status = _files.lstat(directory)
    return status is not None and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _make_slot(path: str) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def drain(
    uri: str,
    timeout: float,
    force: bool,
    *,
    directory: str = CURRENT_LOAD,
    machines: str = MACHINES,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Hold:
    """Wait until nothing is built in the builder `uri`, and hold its slots. timeout: seconds.

    StateError, with nothing held, when builds still run then; with `force` they are not waited for.
    """
    deadline = clock() + timeout
    make_slots(names_of(uri), directory, machines)
    while True:
        hold = Hold()
        taken = [name for name in slots(names_of(uri), directory) if not hold.take(os.path.join(directory, name))]
        if not taken or force:
            return hold
        hold.release()
        if clock() >= deadline:
            raise StateError(
                f"{uri}: {len(taken)} builds still run in the VM after {timeout:g} s ({', '.join(taken)}), so it was not stopped "
                "and nothing was changed. Run again later, raise drain_timeout, or set force: true to end them.",
                running=taken,
            )
        sleep(_POLL)
