# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""How long work tells where it is: to nobody, or into a file that others read while it goes on."""

from __future__ import annotations

import json
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

_PAUSE = 1.0  # seconds between two writes of the same phase


class Progress(t.Protocol):
    """Where long work reports to. No call ever fails or waits."""

    def phase(self, name: str) -> None:
        """A phase begins (fetch, build, drain, ...); the name of the present one changes nothing."""

    def detail(self, done: int, total: int, unit: str) -> None:
        """How far the phase is. unit: bytes | derivations | seconds. total 0: not known."""


class _Silent:
    def phase(self, name: str) -> None:
        pass

    def detail(self, done: int, total: int, unit: str) -> None:
        pass


SILENT: Progress = _Silent()


class Status(t.NamedTuple):
    """One look at the work. began, since, updated: seconds since the epoch, of the work, the phase and this look."""

    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    began: float = 0.0
    since: float = 0.0
    updated: float = 0.0

    def as_dict(self) -> dict[str, t.Any]:
        """The form that goes into files and results."""
        return self._asdict()


class FileProgress:
    """Writes each phase at once, and its details at most once a second, to `path` (JSON, replaced as a whole).

    A status that cannot be written is lost and the work goes on: progress is never worth failing for.
    """

    def __init__(self, path: str, clock: t.Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        now = clock()
        self._status = Status(began=now, since=now, updated=now)

    def phase(self, name: str) -> None:
        """See Progress."""
        if name != self._status.phase:
            now = self._clock()
            self._write(Status(phase=name, began=self._status.began, since=now, updated=now))

    def detail(self, done: int, total: int, unit: str) -> None:
        """See Progress."""
        now = self._clock()
        # A clock that was set back must not silence the rest of the work.
        if 0 <= now - self._status.updated < _PAUSE and unit == self._status.unit:
            return
        self._write(self._status._replace(done=done, total=total, unit=unit, updated=now))

    def _write(self, status: Status) -> None:
        self._status = status
        content = json.dumps(status.as_dict()).encode() + b"\n"
        try:
            _files.write(self._path, content, _files.Ownership(mode=0o600))
        except FileError:
            pass


def read_status(path: str) -> Status:
    """What a FileProgress wrote last; an empty status where there is none yet, or it is damaged."""
    try:
        content = _files.read(path).content
        table = json.loads(content) if content else {}
    except (FileError, ValueError):
        return Status()
    return status_from(table)


def status_from(table: t.Any) -> Status:
    """A status from its dictionary; what is not of the right type is left at its default."""
    if not isinstance(table, dict):
        return Status()
    kinds: dict[str, tuple[type, ...]] = {"phase": (str,), "unit": (str,), "done": (int,), "total": (int,)}
    fields: dict[str, t.Any] = {}
    for name in Status._fields:
        value = table.get(name)
        kind = kinds.get(name, (int, float))
        if isinstance(value, kind) and not isinstance(value, bool):
            fields[name] = value
    return Status(**fields)
