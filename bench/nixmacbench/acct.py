# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's accounting of processes (acct(5), version 3): which processes ran in a stand-in, and for how long.

Each stand-in has a file of its own, as accounting belongs to a namespace of process ids.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

_SIZE = 64
_HEAD = struct.Struct("<BBHIIIIII")
_TIMES = struct.Struct("<HH")
_HERTZ = 100
_FORKED = 0x01  # never called exec
# Users that only the light guest has, beside what is named guest-*: builder, and those who build.
_GUEST_USERS = frozenset({1000, *range(30000, 30009)})
_PYTHON = "python3"


@dataclasses.dataclass(frozen=True)
class Process:
    """One that has ended. forked: a copy of its parent, which never started a program of its own."""

    name: str
    pid: int
    parent: int
    user: int
    forked: bool
    cpu: float

    @property
    def guest(self) -> bool:
        """Whether it ran in the light guest, which on a Mac is a VM and none of the Mac's processes."""
        return self.name.startswith("guest-") or self.user in _GUEST_USERS


@dataclasses.dataclass(frozen=True)
class Work:
    """What one host did in a run."""

    executions: int
    processes: int
    module_processes: int
    cpu: float


def _expand(value: int) -> int:
    """acct's comp_t: 13 bits, and 3 of an exponent to the base 8."""
    return (value & 0x1FFF) << (3 * (value >> 13))


def parse(data: bytes) -> list[Process]:
    """The records of a file; a torn last one is left out."""
    found = []
    for start in range(0, len(data) - _SIZE + 1, _SIZE):
        record = data[start : start + _SIZE]
        flag, version, _tty, _status, user, _group, pid, parent, _begin = _HEAD.unpack_from(record)
        if version & 0x0F != 3:
            raise ValueError(f"accounting of version {version & 0x0F}, not 3")
        ticks = sum(_expand(value) for value in _TIMES.unpack_from(record, 32))
        name = record[48:].split(b"\0")[0].decode(errors="replace")
        found.append(Process(name, pid, parent, user, bool(flag & _FORKED), ticks / _HERTZ))
    return found


def work(processes: t.Iterable[Process]) -> Work:
    """What they add up to, the guest's left out.

    An execution of a module is a Python that a shell started: so Ansible starts it, by way of sudo or not, and nothing else
    on these hosts does.
    """
    own = [process for process in processes if not process.guest]
    by_pid = {process.pid: process for process in own}
    modules = {process.pid for process in own if _is_module(process, by_pid)}
    below = sum(_below(process, by_pid, modules) for process in own)
    return Work(len(modules), len(own), below, sum(process.cpu for process in own))


def _is_module(process: Process, by_pid: t.Mapping[int, Process]) -> bool:
    parent = by_pid.get(process.parent)
    return process.name == _PYTHON and not process.forked and parent is not None and parent.name in ("sh", "bash", "dash")


def _below(process: Process, by_pid: t.Mapping[int, Process], modules: t.Container[int]) -> bool:
    """Whether a module is among its ancestors."""
    seen: set[int] = set()
    parent = process.parent
    while parent in by_pid and parent not in seen:
        if parent in modules:
            return True
        seen.add(parent)
        parent = by_pid[parent].parent
    return False
