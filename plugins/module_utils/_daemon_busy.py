# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Whether the Nix daemon is building: what runs below its process, and which builders' slots are locked.

The daemon forks one process for each client. A client that only asks has nothing below it; a build has its
builder or, for a remote one, `nix __build-remote` and ssh.
"""

from __future__ import annotations

import calendar
import fcntl
import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

PS = "/bin/ps"
CURRENT_LOAD = "/nix/var/nix/current-load"

# Names of the daemon itself and of what its launchd job runs before it: these are no builds.
_OWN = frozenset(("nix-daemon", "determinate-nixd", "wait4path"))


class Process(t.NamedTuple):
    """One process. started: seconds since 1970, whole. command: the command line."""

    pid: int
    parent: int
    started: float
    command: str

    @property
    def name(self) -> str:
        """The program's name, without directory and arguments."""
        words = self.command.split()
        return os.path.basename(words[0].rstrip(":")) if words else "?"

    @property
    def is_daemon(self) -> bool:
        """Whether it is the Nix daemon, or a process of it that serves one client."""
        return self.name in _OWN or (self.name == "nix" and self.command.split()[1:2] == ["daemon"])


def processes(runner: Runner) -> dict[int, Process]:
    """All processes, by pid. CommandError when ps fails."""
    # One -o each: BSD's ps takes everything behind the first `=` for the text of that header.
    argv = [PS, "-axww", "-o", "pid=", "-o", "ppid=", "-o", "lstart=", "-o", "command="]
    done = runner.run(argv, timeout=30, env={"TZ": "UTC0"})
    if done.rc != 0:
        raise CommandError(f"{PS}: {done.words or f'exit status {done.rc}'}. Run as root (become: true).")
    return parse_ps(done.stdout)


def parse_ps(text: str) -> dict[int, Process]:
    """Read pid, parent, start (`Mon Nov 23 02:45:45 2026`, UTC) and command line; other lines are skipped."""
    found = {}
    for line in text.splitlines():
        words = line.split(None, 7)
        if len(words) < 7 or not (words[0].isdecimal() and words[1].isdecimal()):
            continue
        try:
            started = calendar.timegm(time.strptime(" ".join(words[2:7]), "%a %b %d %H:%M:%S %Y"))
        except ValueError:
            continue
        found[int(words[0])] = Process(int(words[0]), int(words[1]), float(started), words[7] if len(words) > 7 else "")
    return found


def below(table: t.Mapping[int, Process], ancestor: int) -> list[Process]:
    """The processes that descend from `ancestor`, without itself, by pid."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = [ancestor]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found and child != ancestor:
                found.add(child)
                waiting.append(child)
    return [table[pid] for pid in sorted(found)]


class Load(t.NamedTuple):
    """What the daemon does. running: what a restart would end, as `name (pid N)` or a slot. clients: connections."""

    running: list[str]
    clients: int


def look(runner: Runner, pid: int | None) -> Load:
    """The load of the daemon with process `pid` (None: it does not run) at this moment."""
    locks = [f"builder slot {name}" for name in locked_slots()]
    if pid is None:
        return Load(locks, 0)
    descendants = below(processes(runner), pid)
    # The name only: a builder's arguments are somebody else's, and may hold anything.
    running = [f"{process.name} (pid {process.pid})" for process in descendants if not process.is_daemon]
    return Load(locks + running, sum(process.is_daemon for process in descendants))


def locked_slots(directory: str = CURRENT_LOAD) -> list[str]:
    """Names of the builders' slots that a build holds now (Nix locks them with flock(2))."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    # main-lock is held for a moment whenever a slot is looked for, and says nothing of a build.
    return [name for name in names if name != "main-lock" and is_locked(os.path.join(directory, name))]


def is_locked(path: str) -> bool:
    """Whether somebody holds an exclusive lock. Opened for reading, a shared lock that is let go at once:
    a build that asks in that very instant finds its slot taken and tries the next, or again."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
