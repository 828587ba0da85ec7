# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Why a job was refused or does not hold, in words and as data."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import lstat, read
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import (
    ALREADY,
    DISABLED,
    EXIT_NAMES,
    IN_PROGRESS,
    INPUT_OUTPUT,
    explain,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import Definition, decode

# sysexits.h, by which launchd names exit codes.
EX_NAMES: dict[int, str] = {
    64: "EX_USAGE",
    65: "EX_DATAERR",
    66: "EX_NOINPUT",
    67: "EX_NOUSER",
    68: "EX_NOHOST",
    69: "EX_UNAVAILABLE",
    70: "EX_SOFTWARE",
    71: "EX_OSERR",
    72: "EX_OSFILE",
    73: "EX_CANTCREAT",
    74: "EX_IOERR",
    75: "EX_TEMPFAIL",
    76: "EX_PROTOCOL",
    77: "EX_NOPERM",
    78: "EX_CONFIG",
}
_LOG_BYTES = 4096
_LOG_LINES = 10


def misowned(status: os.stat_result | None, uid: int) -> str | None:
    """Why launchd does not load a property list with this lstat(2) result (122, or 5 from macOS 14 on); None when it does."""
    if status is None:
        return "it does not exist"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_uid not in (0, uid):
        return f"it belongs to uid {status.st_uid}, not {uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"its mode is {stat.S_IMODE(status.st_mode):04o}, and group and others must not write it"
    return None


class Refusal(t.NamedTuple):
    """What a failed bootstrap came from. lasting: trying again is no use."""

    why: str
    lasting: bool


def refusal(done: Completed, path: str, uid: int, *, disabled: bool) -> Refusal:
    """Tell the causes apart that launchctl reports alike; `disabled` is what print-disabled said.

    That the label is loaded or still stopping is the caller's to have looked up.
    """
    if disabled or done.rc == DISABLED:
        return Refusal("the job is disabled in launchd's override database (enabled: true lifts that)", False)
    bad = misowned(lstat(path), uid)
    if bad is not None:
        return Refusal(f"launchd does not accept the file {path}: {bad}. Correct owner and mode (0644)", True)
    try:
        definition = decode(path, read(path).content or b"")
    except FileError as exc:
        return Refusal(exc.message, True)
    account = _unknown_account(definition)
    if account:
        return Refusal(account, True)
    if done.rc in EXIT_NAMES and done.rc not in (INPUT_OUTPUT, IN_PROGRESS, ALREADY):
        return Refusal(f"launchctl bootstrap: exit {explain(done)}", True)
    return Refusal(
        f"launchctl bootstrap: exit {explain(done)}; the label is neither loaded nor disabled, and the file is well-formed "
        "with the right owner and mode. Background Task Management may refuse it (System Settings, Login Items)",
        False,
    )


def _unknown_account(definition: Definition) -> str | None:
    user, group = definition.get("UserName"), definition.get("GroupName")
    try:
        if isinstance(user, str):
            pwd.getpwnam(user)
    except KeyError:
        return f"UserName {user!r} does not exist on this host (114)"
    try:
        if isinstance(group, str):
            grp.getgrnam(group)
    except KeyError:
        return f"GroupName {group!r} does not exist on this host (115)"
    return None


class Log:
    """The job's own log, and where it ended before the job was started."""

    def __init__(self, definition: Definition | None, uid: int) -> None:
        named = definition or {}
        paths = [named.get("StandardErrorPath"), named.get("StandardOutPath")]
        self.paths = list(dict.fromkeys(path for path in paths if isinstance(path, str) and path.startswith("/")))
        self.uid = uid
        self.marks = {path: self._size(path) for path in self.paths}

    def _size(self, path: str) -> int:
        status = lstat(path)
        return status.st_size if status is not None and self._readable(status) else 0

    def _readable(self, status: os.stat_result) -> bool:
        # Root must not print what a user's log path was made to point at.
        return stat.S_ISREG(status.st_mode) and (self.uid == 0 or status.st_uid == self.uid)

    def tail(self) -> tuple[str | None, list[str]]:
        """(path, last lines) of the first log that was written to since; older lines would only mislead."""
        for path in self.paths:
            lines = self._fresh_lines(path)
            if lines:
                return path, lines
        return (self.paths[0] if self.paths else None), []

    def _fresh_lines(self, path: str) -> list[str]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return []
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not self._readable(status):
                return []
            mark = self.marks[path]
            if status.st_size < mark:
                mark = 0  # it was emptied or rotated meanwhile
            stream.seek(max(mark, status.st_size - _LOG_BYTES))
            lines = stream.read(_LOG_BYTES).decode(errors="replace").split("\n")
        return [line.rstrip() for line in lines if line.strip()][-_LOG_LINES:]


def diagnosis(service: Service | None, definition: Definition | None, log: Log) -> tuple[str, dict[str, t.Any]]:
    """(words, data) about a job that does not hold. Environment and arguments of the job are in neither."""
    words = [_state_words(service)]
    words.extend(_missing(definition, service))
    path, lines = log.tail()
    if lines:
        words.append(f"last lines of {path}: {' | '.join(lines[-3:])}")
    elif path:
        words.append(f"it wrote nothing to its log {path}")
    else:
        words.append("it has no log: set StandardErrorPath")
    code = None if service is None else service.last_exit_code
    data = {
        "exit_code": code,
        "exit_name": EX_NAMES.get(code or 0),
        "signal": None if service is None else service.last_signal,
        "reason": None if service is None else service.last_exit_reason,
        "state": "not loaded" if service is None else service.state,
        "runs": None if service is None else service.runs,
        "throttled": service is not None and service.state == "spawn scheduled",
        "log_path": path,
        "log_lines": lines,
    }
    return "; ".join(words), data


def _state_words(service: Service | None) -> str:
    if service is None:
        return "launchd no longer knows the label (Background Task Management removes jobs so, see Login Items)"
    words = [f"state {service.state or 'unknown'!r}", f"runs {'unknown' if service.runs is None else service.runs}"]
    if service.last_exit_code is not None:
        name = EX_NAMES.get(service.last_exit_code)
        words.append(f"last exit code {service.last_exit_code}{f' ({name})' if name else ''}")
    if service.last_signal is not None:
        words.append(f"ended by signal {service.last_signal} ({signal_name(service.last_signal)})")
    if service.last_exit_reason is not None:
        words.append(f"ended by macOS: {service.last_exit_reason}")
    if service.state == "spawn scheduled":
        words.append(f"launchd holds it back: it starts at most every {service.minimum_runtime or 10} s")
    return ", ".join(words)


def signal_name(number: int) -> str:
    """`SIGTERM` for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown signal"


def _missing(definition: Definition | None, service: Service | None) -> t.Iterable[str]:
    """What launchd does not check at load: the program, the working directory, the log paths."""
    named = definition or {}
    program = named.get("Program") or next(iter(named.get("ProgramArguments") or []), None) or (service and service.program)
    if isinstance(program, str) and program.startswith("/") and "RootDirectory" not in named:
        if not os.path.exists(program):
            yield f"program {program} does not exist"
        elif not os.access(program, os.X_OK) or os.path.isdir(program):
            yield f"program {program} is not executable"
    directory = named.get("WorkingDirectory")
    if isinstance(directory, str) and not os.path.isdir(directory):
        yield f"WorkingDirectory {directory} does not exist"
    for key in ("StandardOutPath", "StandardErrorPath"):
        if isinstance(named.get(key), str) and os.path.isdir(named[key]):
            yield f"{key} {named[key]} is a directory"
