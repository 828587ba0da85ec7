# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What Nix says during one build in its format `internal-json`: its words, who built, and how long each phase took."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_log

PHASES = ("connect", "copy", "build", "fetch")
# The beginning of an activity's text -> phase. They are those of Nix' build hook, the same since Nix 2.0.
_TEXTS = (
    ("connecting to '", "connect"),
    ("waiting for the upload lock to '", "copy"),
    ("copying dependencies to '", "copy"),
    ("copying outputs from '", "fetch"),
)


class BuildLog:
    """Hand `take` to Runner.stream as `on_line`; afterwards ask for the rest. clock: seconds."""

    def __init__(self, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._log = _nix_log.Log()
        self._running: dict[t.Any, tuple[str, float]] = {}
        self._seconds: dict[str, float] = {}
        self._ready: float | None = None  # when the last copy to the builder ended
        self._fetching: float | None = None  # when the outputs began to come back

    def take(self, line: str) -> None:
        """One line of standard error, without its end; never raises."""
        self._log.take(line)
        record = _nix_log.parse(line)
        if record is None:
            return
        if record.get("action") == "start":
            self._start(record)
        elif record.get("action") == "stop":
            self._stop(record)

    def _start(self, record: dict[str, t.Any]) -> None:
        text = str(record.get("text", ""))
        phase = next((phase for begin, phase in _TEXTS if text.startswith(begin)), None)
        if phase is None:
            return
        now = self._clock()
        self._running[str(record.get("id"))] = (phase, now)
        if phase == "fetch" and self._fetching is None:
            self._fetching = now

    def _stop(self, record: dict[str, t.Any]) -> None:
        phase, began = self._running.pop(str(record.get("id")), ("", 0.0))
        if phase:
            now = self._clock()
            self._seconds[phase] = self._seconds.get(phase, 0.0) + now - began
            if phase == "copy":
                self._ready = now

    @property
    def text(self) -> str:
        """Nix' errors and warnings, and what was no line of its own."""
        return self._log.text

    @property
    def built(self) -> tuple[str, str]:
        """(derivation, store URI of who built it) of the build that some builder took; two empty strings for none."""
        return next(((derivation, uri) for derivation, uri in self._log.built if uri), ("", ""))

    @property
    def phases(self) -> dict[str, float | None]:
        """Seconds of each of PHASES; None for one of which this Nix does not tell."""
        seconds: dict[str, float | None] = {phase: self._seconds.get(phase) for phase in PHASES}
        if self._ready is not None and self._fetching is not None:
            seconds["build"] = self._fetching - self._ready
        return {phase: None if value is None else round(value, 3) for phase, value in seconds.items()}
