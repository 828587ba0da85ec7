# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Medians, spreads and ratios out of the samples, and which targets they meet."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

from . import core
from .core import Sample


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of one figure over the repetitions."""

    median: float
    low: float
    high: float
    count: int


def spread(values: t.Sequence[float]) -> Spread:
    """ValueError for no values."""
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values), len(values))


class Samples:
    """The samples of a run, asked by contender, case and number of hosts."""

    def __init__(self, samples: t.Iterable[Sample]) -> None:
        self.all = list(samples)

    def some(self, contender: str, case: str, hosts: int) -> list[Sample]:
        """All repetitions."""
        return [s for s in self.all if (s.contender, s.case, s.hosts) == (contender, case, hosts)]

    def of(self, contender: str, case: str, hosts: int, figure: str = "seconds") -> Spread | None:
        """One figure of them; None where nothing was measured."""
        values = [float(getattr(sample, figure)) for sample in self.some(contender, case, hosts)]
        return spread(values) if values else None

    def median(self, contender: str, case: str, hosts: int, figure: str = "seconds") -> float | None:
        """The same, the median alone."""
        found = self.of(contender, case, hosts, figure)
        return found.median if found else None

    def sizes(self) -> list[int]:
        """Numbers of hosts for which the unchanged case was measured."""
        return sorted({s.hosts for s in self.all if s.case == core.UNCHANGED})


@dataclasses.dataclass(frozen=True)
class Target:
    """value: measured, None where it was not. limit: at most, or with `least` at least."""

    words: str
    value: float | None
    limit: float
    least: bool = False

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit


def ratio(above: float | None, below: float | None) -> float | None:
    """None where one of them is missing or the lower one is 0."""
    return above / below if above is not None and below else None


# Seconds by guest, settings and kind of work, as in the JSON.
Builds = t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Sequence[float]]]]


def targets(samples: Samples, hosts: int, builds: Builds) -> list[Target]:
    """Those of the project, out of one run."""

    def seconds(contender: str, case: str, count: int = hosts) -> float | None:
        return samples.median(contender, case, count)

    def per_host(contender: str, case: str, count: int) -> float | None:
        return ratio(samples.median(contender, case, count), count)

    own = seconds(core.COLLECTION, core.UNCHANGED)
    few, many = (5, 50)
    memory = [samples.median(contender, core.UNCHANGED, hosts, "rss") for contender in (core.COLLECTION, core.BASELINE)]
    found = [
        Target(f"unchanged, {hosts} hosts: seconds of the bare `ping` play", ratio(own, seconds(core.PING, core.ANSWER)), 3),
        Target(
            f"unchanged, {hosts} hosts: faster than the baseline", ratio(seconds(core.BASELINE, core.UNCHANGED), own), 8, True
        ),
        Target(
            f"first converge, {hosts} hosts: faster than the baseline",
            ratio(seconds(core.BASELINE, core.FIRST), seconds(core.COLLECTION, core.FIRST)),
            2,
            True,
        ),
        Target(
            f"unchanged: seconds per host at {many} hosts, of those at {few}",
            ratio(per_host(core.COLLECTION, core.UNCHANGED, many), per_host(core.COLLECTION, core.UNCHANGED, few)),
            1.1,
        ),
        Target(f"unchanged, {hosts} hosts: the controller's memory, of the baseline's", ratio(*memory), 1),
    ]
    for guest, where in core.GUESTS.items():
        for work, words in core.WORKS.items():
            manual, ours = (builds.get(guest, {}).get(column, {}).get(work) for column in ("manual", "collection"))
            value = ratio(spread(manual).median, spread(ours).median) if manual and ours else None
            found.append(Target(f"{words}, {where}: faster than with the manual's settings", value, 1.3, True))
    return found
