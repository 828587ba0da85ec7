# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths, progress lines, and what one measured run is."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time
import typing as t

BENCH = pathlib.Path(__file__).resolve().parents[1]
REPO = BENCH.parent
CACHE = REPO / ".cache" / "bench"
VENV = CACHE / "venv"
DOCS = REPO / "docs"

FIRST = "first"
UNCHANGED = "unchanged"
UNCHANGED_VERIFIED = "unchanged, verified"
SETTING = "one setting"
VERIFY = "verify only"
ANSWER = "answer"  # of the bare contenders

COLLECTION = "collection"
BASELINE = "baseline"
PING = "ping"
SSH = "ssh"

# What is built through, and what is built.
VM, LIGHT = "vm", "light"
GUESTS = {VM: "emulated VM", LIGHT: "light guest"}
WORKS = {"seconds": "12 builds of a second", "tiny": "40 tiny builds"}


class BenchError(Exception):
    """What is wrong and what to do next, for the person at the terminal."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measured run. Of `executions` to `sent` each is the mean of one host; bytes as the host sees them, with TCP and IP.

    cpu, rss: seconds of processor and peak bytes of memory of the controller's processes. remote_cpu: seconds on the hosts.
    module_processes: those of `processes` that a module started.
    """

    contender: str
    case: str
    hosts: int
    seconds: float
    cpu: float
    rss: int
    executions: float
    processes: float
    module_processes: float
    remote_cpu: float
    received: float
    sent: float

    def as_dict(self) -> dict[str, t.Any]:
        """For the JSON, short."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in dataclasses.asdict(self).items()}


def samples_of(rows: t.Iterable[t.Mapping[str, t.Any]]) -> list[Sample]:
    """The samples of a JSON."""
    return [Sample(**row) for row in rows]


def say(text: str) -> None:
    """One progress line with the time of day."""
    sys.stdout.write(f"[bench {time.strftime('%H:%M:%S')}] {text}\n")
    sys.stdout.flush()
