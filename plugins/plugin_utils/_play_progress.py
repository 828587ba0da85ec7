# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""One line for all Macs of a play that are at long work.

Each host of a play is a process of its own. Each writes how far its Mac is into a directory that they share and that
Ansible removes with the run; who gets the lock there, and finds that the last line is old enough, says the line for all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import time
import typing as t

INTERVAL = 9.0  # seconds that have to lie between two lines on a terminal; a poll comes every ten or so

# The order in which builder_vm goes through them; what is not here counts as the last.
PHASES = ("", "fetch", "build", "push", "drain", "stop", "disk", "switch", "start", "ready", "prove", "roll back")
# Of a phase whose name would say the contrary: a VM that is waited for is not "ready".
_WORDS = {"": "at work", "ready": "boot"}
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclasses.dataclass(frozen=True)
class HostStatus:
    """How far one Mac is. seconds: since its work began. over: it has ended. lost: it cannot be reached at present."""

    host: str
    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    seconds: float = 0.0
    over: bool = False
    lost: bool = False

    @property
    def fraction(self) -> float:
        """Part of the phase that is done, 0 to 1; 0 where it is not known."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 0.0

    @property
    def rank(self) -> tuple[int, float, float]:
        """The smaller, the further behind."""
        order = PHASES.index(self.phase) if self.phase in PHASES else len(PHASES)
        return order, self.fraction, -self.seconds


def aggregate(statuses: t.Iterable[HostStatus]) -> str:
    """The line for all: Macs per phase with what is done of all of theirs, then the one that is furthest behind."""
    every = list(statuses)
    working = [status for status in every if not status.over]
    if not working:
        return ""
    parts = []
    for phase in sorted({status.phase for status in working}, key=_order):
        parts.append(_of_phase(phase, [status for status in working if status.phase == phase]))
    over = len(every) - len(working)
    if over:
        parts.append(f"{over} done")
    lost = sum(status.lost for status in working)
    if lost:
        parts.append(f"{lost} not reachable")
    line = "; ".join(parts)
    if len(every) > 1:
        line += f". Slowest: {_slowest(min(working, key=lambda status: (status.rank, status.host)))}"
    else:
        line += f", {_duration(working[0].seconds)}"
    return line


def _order(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else len(PHASES)


def _of_phase(phase: str, statuses: list[HostStatus]) -> str:
    count = f"{len(statuses)} {'Mac' if len(statuses) == 1 else 'Macs'}"
    name = _WORDS.get(phase, phase)
    known = [status for status in statuses if status.total > 0]
    sums = [_amount([status for status in known if status.unit == unit], unit) for unit in sorted({s.unit for s in known})]
    return f"{name}: {count}" + (f" ({', '.join(sums)})" if sums else "")


def _amount(statuses: list[HostStatus], unit: str) -> str:
    done, total = sum(status.done for status in statuses), sum(status.total for status in statuses)
    if unit != "bytes":
        return f"{done}/{total} {unit}"
    factor, name = next(((factor, name) for factor, name in _UNITS if total >= factor), (1, "B"))
    return f"{done / factor:.1f}/{total / factor:.1f} {name}"


def _slowest(status: HostStatus) -> str:
    facts = [_WORDS.get(status.phase, status.phase)]
    if status.total > 0:
        facts.append(f"{status.fraction:.0%}")
    facts.append(_duration(status.seconds))
    return f"{status.host} ({', '.join(facts)})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class PlayProgress:
    """One host's part in it. say: prints a line. terminal: whether somebody watches, else a line for each new phase only.

    Nothing here fails: a directory that cannot be written means no lines.
    """

    def __init__(
        self,
        directory: str,
        host: str,
        say: t.Callable[[str], None],
        terminal: bool,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._host = host
        self._say = say
        self._terminal = terminal
        self._clock = clock
        self._told = False

    def report(self, status: HostStatus) -> None:
        """How far this host's Mac is. Says the line for all if it is time for one."""
        with contextlib.suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._put(status)
            self._told = True
            self._line(status.phase)

    def finish(self) -> None:
        """The work of this host's Mac is over. Nothing is said of a host that never reported."""
        if self._told:
            with contextlib.suppress(OSError):
                self._put(HostStatus(self._host, over=True))

    def _put(self, status: HostStatus) -> None:
        name = hashlib.sha256(self._host.encode()).hexdigest()[:32]
        path = os.path.join(self._directory, f"{name}.json")
        with open(path + ".new", "w", encoding="utf-8") as stream:
            json.dump(dataclasses.asdict(status), stream)
        os.replace(path + ".new", path)

    def _line(self, phase: str) -> None:
        with open(os.path.join(self._directory, "said"), "a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # whoever has it says what there is to say
            stream.seek(0)
            said = _load(stream.read())
            now, phases = self._clock(), said.get("phases", [])
            due = now - said.get("time", 0) >= INTERVAL if self._terminal else phase not in phases
            if not due:
                return
            line = aggregate(self._statuses())
            if line:
                self._say(line)
            stream.seek(0)
            stream.truncate()
            json.dump({"time": now, "phases": sorted({*phases, phase})}, stream)

    def _statuses(self) -> list[HostStatus]:
        statuses = []
        for name in sorted(os.listdir(self._directory)):
            path = os.path.join(self._directory, name)
            if name.endswith(".json"):
                with contextlib.suppress(OSError, TypeError), open(path, encoding="utf-8") as stream:
                    statuses.append(HostStatus(**_load(stream.read())))
        return statuses


def _load(text: str) -> dict[str, t.Any]:
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}
