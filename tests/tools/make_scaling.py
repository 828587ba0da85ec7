# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the arithmetic of docs/scaling.md from what the benchmark measured (docs/benchmark.json).

The benchmark's samples are one run each: contender, case, hosts, seconds, cpu and rss of the controller for the whole run, and
for the mean of its hosts executions, processes, remote_cpu, received and sent. With --check nothing is written; exit status 1
when the block is not what the figures make.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path("docs") / "scaling.md"
FIGURES = Path("docs") / "benchmark.json"
BEGIN = "<!-- begin: made by tests/tools/make_scaling.py -->\n"
END = "<!-- end -->"

CONTENDER = "collection"
FLEETS = (100, 1000, 10000)

# What is not measured here and has to be taken from somewhere; each is named in the text.
CORES = 8  # of a controller or worker
BUSY = 0.8  # of their time that a run may take
WINDOW = 15  # minutes in which a run over the fleet shall end
GIGABIT = 1e9 / 8 * 0.9  # bytes a second that a network of 1 Gbit/s carries
CLOSURE = 1.2 * 2**30  # bytes of one builder's closure on the wire
SPREAD = 1800  # seconds over which Macs that pull begin (schedule.yml)
INTERVAL = 3600  # seconds between two of their runs (schedule.yml)
REPORT = 8192  # bytes of one Mac's own report, rounded up

Sample = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Cost:
    """One case. base: seconds of the controller's processor for a run without a Mac; the rest is for each Mac.

    seconds: that a Mac keeps a fork, from the runs with one Mac.
    """

    base: float
    cpu: float
    seconds: float
    bytes: float
    remote_cpu: float

    @property
    def forks(self) -> int:
        """Forks that keep one core busy: a fork waits while its Mac works."""
        return max(1, math.ceil(self.seconds / self.cpu - 1e-9)) if self.cpu > 0 else 1


@dataclasses.dataclass(frozen=True)
class Figures:
    """What the table is made of. memory, fork: bytes of a controller without Macs, and of each fork."""

    first: Cost
    unchanged: Cost
    verified: Cost
    memory: float
    fork: float


def _median(samples: t.Iterable[Sample], case: str, hosts: int, field: str) -> float:
    return statistics.median(sample[field] for sample in samples if sample["case"] == case and sample["hosts"] == hosts)


def _line(points: t.Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(intercept, slope) of the line through the points, neither below 0; through the origin where there is one point."""
    if len(points) == 1:
        return 0.0, points[0][1] / points[0][0]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _y in points)
    slope = max(slope, 0.0)
    return max(mean_y - slope * mean_x, 0.0), slope


def cost(samples: t.Sequence[Sample], case: str) -> Cost:
    """Of all numbers of hosts that the case was measured with; bytes and the Mac's work at the largest."""
    counts = sorted({sample["hosts"] for sample in samples if sample["case"] == case})
    base, cpu = _line([(count, _median(samples, case, count, "cpu")) for count in counts])
    few, many = counts[0], counts[-1]
    return Cost(
        base=base,
        cpu=cpu,
        seconds=max(cpu, _median(samples, case, 1, "seconds") - base) if few == 1 else cpu,
        bytes=_median(samples, case, many, "received") + _median(samples, case, many, "sent"),
        remote_cpu=_median(samples, case, many, "remote_cpu"),
    )


def figures(data: t.Mapping[str, t.Any]) -> Figures:
    """From the benchmark's JSON."""
    samples = [sample for sample in data["samples"] if sample["contender"] == CONTENDER]
    counts = sorted({sample["hosts"] for sample in samples if sample["case"] == "unchanged"})
    # Ansible starts no more forks than hosts, and the benchmark allows 20.
    forked = [(min(count, 20), _median(samples, "unchanged", count, "rss")) for count in counts if count <= 20]
    memory, fork = _line(forked)
    first, unchanged, verified = (cost(samples, case) for case in ("first", "unchanged", "unchanged, verified"))
    return Figures(first, unchanged, verified, memory, fork)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _size(value: float) -> str:
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}" if value < 10 * factor else f"{value / factor:.0f} {unit}"
    return f"{value:.0f} B"


def _table(rows: t.Iterable[t.Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]]


def _measured(known: Figures) -> list[str]:
    columns = (known.first, known.unchanged, known.verified)
    return _table(
        [
            ("for each Mac", "first run", "no change", "no change, and a build"),
            ("controller's processor", *(_time(case.cpu) for case in columns)),
            ("bytes over ssh, both ways", *(_size(case.bytes) for case in columns)),
            ("the Mac's own processor", *(_time(case.remote_cpu) for case in columns)),
        ]
    )


def _fleet(known: Figures, macs: int) -> tuple[str, ...]:
    def alone(case: Cost) -> float:
        return (case.base + macs * case.cpu) / CORES / BUSY

    workers = math.ceil(macs * known.verified.cpu / (CORES * BUSY * WINDOW * 60))
    return (
        f"{macs:,}",
        _time(alone(known.first)),
        _time(alone(known.unchanged)),
        _time(alone(known.verified)),
        str(workers),
        _size(macs * known.verified.bytes),
        _time(macs * CLOSURE / GIGABIT),
        f"{macs / INTERVAL:.1f} a second" if macs >= INTERVAL / 10 else f"{macs / INTERVAL * 60:.1f} a minute",
        _size(macs * REPORT),
    )


def block(known: Figures) -> str:
    """The generated part of the page."""
    forks = known.unchanged.forks * CORES
    spread = math.ceil(2 * FLEETS[-1] * CLOSURE / GIGABIT / 3600) * 3600
    names = (
        "Macs", "first run", "no change", "no change, and a build", f"workers for that in {WINDOW} min", "over ssh",
        "closure from one cache", "pull: runs that begin", "pull: all reports",
    )  # fmt: skip
    lines = [
        *_measured(known),
        "",
        f"From these, for controllers with {CORES} cores like the benchmark's that are busy for {BUSY:.0%} of the time:",
        "",
        *_table([names, *(_fleet(known, macs) for macs in FLEETS)]),
        "",
        f"- **Processor.** Runs are bound by it. A Mac keeps a fork for {_time(known.unchanged.seconds)} and a core for"
        f" {_time(known.unchanged.cpu)}, so {known.unchanged.forks} forks fill a core: `forks = {forks}` for {CORES} cores, and"
        " more only where the network is slow. A first run takes longer than its processor time: each fork also waits while its"
        " Mac fetches the closure and boots the guest, so it is as many such waits as there are Macs for each fork.",
        f"- **Memory.** {_size(known.memory)}, and {_size(known.fork)} for each fork:"
        f" {_size(known.memory + forks * known.fork)} with {forks} forks, whatever the number of Macs.",
        f"- **The closure** is the bulk of a first run. The table takes {_size(CLOSURE)} for each Mac, which is not measured here"
        " (ask yours: `nix path-info --closure-size`), and one cache behind 1 Gbit/s that does nothing else. A cache on each"
        " site, or the public one, divides it; so does a first run site by site (`--limit`).",
        f"- **Staggering.** Macs that pull begin at a random moment within {_time(SPREAD)} of each {_time(INTERVAL)}. A new"
        f" closure asks for longer: with {FLEETS[-1]:,} Macs and one cache, a `pull_spread` of {spread:.0f}"
        f" ({_time(spread)}) keeps the cache busy for half of the time.",
    ]
    return "\n".join(lines) + "\n"


def page(text: str, wanted: str) -> str:
    """The page with that block. ValueError where it has no place for one."""
    head, begin, rest = text.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: has no line {BEGIN.strip()} and {END} after it")
    return f"{head}{begin}{wanted}{end}{tail}"


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write or check the block; the exit status."""
    path = root / PAGE
    text = path.read_text()
    if (root / FIGURES).exists():
        wanted = page(text, block(figures(json.loads((root / FIGURES).read_text()))))
    else:
        wanted = page(text, f"The figures come with the first run of the benchmark, which leaves `{FIGURES}`.\n")
    if "--check" not in arguments:
        path.write_text(wanted)
        return 0
    if text == wanted:
        print(f"{PAGE} is what the figures make")
        return 0
    print(f"{PAGE} is not what {FIGURES} makes: run python tests/tools/make_scaling.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
