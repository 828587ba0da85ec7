# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What Nix says with `--log-format internal-json`: how far copies and builds are, and its messages in plain words.

The numbers of activities and results are those of src/libutil/logging.hh, unchanged from Nix 2.4 to 2.34 and in Lix. The
sums are those of Nix' own progress bar. A line of no known form is taken for a message, so nothing that ssh or a
builder writes in between is lost, and nothing can fail here.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

OPTIONS = ("--log-format", "internal-json", "-v")

_COPY_PATH, _FILE_TRANSFER, _BUILDS, _BUILD, _SUBSTITUTE = 100, 101, 104, 105, 108
_PROGRESS, _EXPECTED = 105, 106

_PREFIX = "@nix "
_WARNING = 1  # level of warnings; errors are 0, all else is above
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST_MESSAGES = 200  # an evaluation that warns for each package must not fill a result
_PAUSE = 0.5  # seconds between two reports of how far the work is


@dataclasses.dataclass
class _Activity:
    """One that goes on. expects: what it told to expect of other kinds, by kind."""

    kind: int
    done: int = 0
    expected: int = 0
    expects: dict[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _Sum:
    """Of one kind: what ended activities had done, and what was announced for all of them."""

    done: int = 0
    expected: int = 0


class Log:
    """Takes the lines of one Nix command. watch: is given each message (plain text) and may raise to stop it all."""

    def __init__(
        self,
        progress: Progress = SILENT,
        watch: t.Callable[[str], None] | None = None,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._watch = watch
        self._clock = clock
        self._reported = -_PAUSE
        self._messages: collections.deque[str] = collections.deque(maxlen=_MOST_MESSAGES)
        self._active: dict[int, _Activity] = {}
        self._running: collections.Counter[int] = collections.Counter()
        self._sums: collections.defaultdict[int, _Sum] = collections.defaultdict(_Sum)
        self.built: list[tuple[str, str]] = []  # (derivation, store URI of the builder or "" for this machine)
        self.copied: list[tuple[str, str]] = []  # (store path, where it came from)

    @property
    def text(self) -> str:
        """The errors and warnings so far, and what was no line of Nix' own; without colours."""
        return "\n".join(self._messages) + ("\n" if self._messages else "")

    def take(self, line: str) -> None:
        """One line, without its end."""
        record = parse(line)
        if record is None:
            self._message(line)
            return
        action = record.get("action")
        if action == "msg":
            self._said(record)
        elif action == "start":
            self._start(record)
        elif action == "stop":
            self._stop(record)
        elif action == "result":
            self._result(record)

    def totals(self, kind: int) -> tuple[int, int]:
        """(done, expected) of all activities of a kind, ended ones included."""
        ended = self._sums[kind]
        done = expected = ended.done
        for activity in self._active.values():
            if activity.kind == kind:
                done += activity.done
                expected += activity.expected
        return done, max(expected, ended.expected)

    def _said(self, record: dict[str, t.Any]) -> None:
        level, text = record.get("level"), record.get("msg")
        if isinstance(text, str) and isinstance(level, int) and level <= _WARNING:
            self._message(text)

    def _message(self, text: str) -> None:
        plain = _COLOURS.sub("", text).rstrip()
        if not plain:
            return
        self._messages.append(plain)
        if self._watch is not None:
            self._watch(plain)

    def _start(self, record: dict[str, t.Any]) -> None:
        number, kind = _number(record.get("id")), _number(record.get("type"))
        if number is None or kind is None or number in self._active:
            return
        self._active[number] = _Activity(kind)
        self._running[kind] += 1
        words = [word for word in _fields(record) if isinstance(word, str)]
        if kind == _BUILD and words:
            self.built.append((words[0], words[1] if len(words) > 1 else ""))
        elif kind == _COPY_PATH and len(words) > 1:
            self.copied.append((words[0], words[1]))
        self._report(kind)

    def _stop(self, record: dict[str, t.Any]) -> None:
        number = _number(record.get("id"))
        activity = None if number is None else self._active.pop(number, None)
        if activity is None:
            return
        self._running[activity.kind] -= 1
        self._sums[activity.kind].done += activity.done
        for kind, expected in activity.expects.items():
            self._sums[kind].expected -= expected

    def _result(self, record: dict[str, t.Any]) -> None:
        number, kind = _number(record.get("id")), record.get("type")
        activity = None if number is None else self._active.get(number)
        first, second, *_rest = [*map(_number, _fields(record)), None, None]
        if activity is None or first is None or second is None:
            return
        if kind == _PROGRESS:
            activity.done, activity.expected = first, second
        elif kind == _EXPECTED:
            self._sums[first].expected += second - activity.expects.get(first, 0)
            activity.expects[first] = second
        else:
            return
        self._report(activity.kind)

    def _report(self, kind: int) -> None:
        """Say what goes on: a build where there is one, else what is copied. Not at each of a thousand lines."""
        now = self._clock()
        if now - self._reported < _PAUSE and kind not in (_BUILD, _SUBSTITUTE):
            return
        if self._running[_BUILD]:
            self._progress.phase("build")
            self._progress.detail(*self.totals(_BUILDS), "derivations")
        elif self._running[_COPY_PATH] or self._running[_FILE_TRANSFER] or self._running[_SUBSTITUTE]:
            done, expected = self.totals(_COPY_PATH)
            if not expected:
                done, expected = self.totals(_FILE_TRANSFER)
            self._progress.phase("fetch")
            self._progress.detail(done, expected, "bytes")
        else:
            return
        self._reported = now


def parse(line: str) -> dict[str, t.Any] | None:
    """A line of Nix' own as a dict; None for any other."""
    if not line.startswith(_PREFIX):
        return None
    try:
        record = json.loads(line[len(_PREFIX) :])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _fields(record: dict[str, t.Any]) -> list[t.Any]:
    fields = record.get("fields")
    return fields if isinstance(fields, list) else []


def _number(value: t.Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
