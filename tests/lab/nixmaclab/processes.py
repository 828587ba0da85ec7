# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts the processes that a command on the controller starts in a stand-in over SSH, by the kernel's own accounting.

acct(5), version 3, of the stand-in's namespace of process ids: a record for each process that ends. Counted is what
descends from a connection (sshd-session) and has started a program of its own; so neither the Nix daemon's processes, nor
launchd's, nor the VM's are among them. The connection has to end with the command: give each command a control path of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import typing as t

from . import core, engine

_RECORD = struct.Struct("<BBHIIIIII")
_TIMES = struct.Struct("<HH")
_SIZE, _TIME, _NAME = 64, 32, 48
_HERTZ = 100
_FORKED = 0x01  # never called exec
_WAIT, _POLL = 60.0, 0.2  # seconds
_SESSIONS = ("sshd-session", "sshd")
# Programs of a Mac that are scripts here: what these start is the stand-in's own.
_STAND_INS = ("launchctl", "lsof", "sysctl", "tmutil", "sw_vers", "pmset", "caffeinate", "newsyslog")


@dataclasses.dataclass(frozen=True)
class Process:
    """One that has ended. forked: a copy of its parent, which started no program of its own. cpu: seconds of processor."""

    name: str
    pid: int
    parent: int
    forked: bool
    user: int = 0
    cpu: float = 0.0


def parse(data: bytes) -> list[Process]:
    """The records of an accounting file; a torn last one is left out."""
    found = []
    for start in range(0, len(data) - _SIZE + 1, _SIZE):
        record = data[start : start + _SIZE]
        flag, version, _tty, _status, user, _group, pid, parent, _begin = _RECORD.unpack_from(record)
        if version & 0x0F != 3:
            raise ValueError(f"accounting of version {version & 0x0F}, not 3")
        name = record[_NAME:].split(b"\0")[0].decode(errors="replace")
        cpu = sum(_ticks(value) for value in _TIMES.unpack_from(record, _TIME)) / _HERTZ
        found.append(Process(name, pid, parent, bool(flag & _FORKED), user, cpu))
    return found


def _ticks(value: int) -> int:
    """acct's comp_t: 13 bits, and 3 of an exponent to the base 8."""
    return (value & 0x1FFF) << (3 * (value >> 13))


def sorted_out(processes: t.Iterable[Process]) -> dict[str, list[str]]:
    """Names by what they are.

    ansible: shells, sudo, interpreters. sleep: the `sleep 0` that Ansible puts behind each command. modules: what modules
    started. connection: sshd's own. pam: what asks for a password on Linux. stand_in: of programs that are scripts here.
    """
    by_pid = {process.pid: process for process in processes}
    found: dict[str, list[str]] = {kind: [] for kind in ("ansible", "sleep", "modules", "connection", "pam", "stand_in")}
    for process in by_pid.values():
        above = _above(process, by_pid)
        if process.forked or not any(other.name in _SESSIONS for other in [process, *above]):
            continue
        found[_kind(process, above)].append(process.name)
    return {kind: sorted(names) for kind, names in found.items()}


def _above(process: Process, by_pid: t.Mapping[int, Process]) -> list[Process]:
    """Parent, its parent, and so on."""
    found: list[Process] = []
    while process.parent in by_pid and by_pid[process.parent] not in found:
        process = by_pid[process.parent]
        found.append(process)
    return found


def _kind(process: Process, above: t.Sequence[Process]) -> str:
    names = [other.name for other in above]
    if process.name.startswith("sshd"):
        return "connection"
    if process.name == "unix_chkpwd":
        return "pam"
    if set(names) & set(_STAND_INS):
        return "stand_in"
    if "python3" in names:
        return "modules"
    return "sleep" if process.name == "sleep" else "ansible"


def count(container: str, command: t.Sequence[str]) -> int:
    """Run the command on this machine; print what it started in the stand-in as the last line, JSON. Its exit status."""
    pid = engine.output("container", "inspect", "--format", "{{.State.Pid}}", container)
    if not pid or pid == "0":
        raise core.LabError(f"{container}: does not run. Start it first: lab up.")
    # Sockets have short names.
    with tempfile.TemporaryDirectory(prefix="nixmac-", dir="/tmp") as directory:
        path = os.path.join(directory, "acct")
        with open(path, "wb"):
            pass
        control = {"ANSIBLE_SSH_CONTROL_PATH_DIR": directory}
        account(pid, path)
        try:
            done = subprocess.run(command, env={**os.environ, **control}, check=False)
            _hang_up(directory, path)
        finally:
            account(pid, None)
        with open(path, "rb") as stream:
            kinds = sorted_out(parse(stream.read()))
    print(json.dumps(kinds), file=sys.stdout, flush=True)
    return done.returncode


def account(pid: str, path: str | None) -> None:
    """Switch the accounting of the namespace on or off; the file is this machine's."""
    name = "None" if path is None else repr(path.encode())
    program = f"import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); sys.exit(c.acct({name}) and ctypes.get_errno())"
    core.run(["nsenter", "--target", pid, "--pid", sys.executable, "-c", program], capture=True)


def _hang_up(directory: str, account: str) -> None:
    """End the connections that were kept, and wait until their processes have ended, which writes their records."""
    for name in os.listdir(directory):
        if name != "acct":
            socket = os.path.join(directory, name)
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], capture_output=True, check=False, timeout=60
            )
    deadline = time.monotonic() + _WAIT
    while not _ended(account):
        if time.monotonic() > deadline:
            raise core.LabError(f"the connection did not end within {_WAIT:g} s")
        time.sleep(_POLL)


def _ended(account: str) -> bool:
    """Whether a whole connection has ended: the process that watches over it is the last, and no session's child."""
    with open(account, "rb") as stream:
        found = parse(stream.read())
    sessions = {process.pid for process in found if process.name in _SESSIONS}
    return any(process.pid in sessions and process.parent not in sessions and not process.forked for process in found)
