# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured, how often and in which order."""

from __future__ import annotations

import dataclasses
import typing as t

from . import core


@dataclasses.dataclass(frozen=True)
class Step:
    """One measured run. number: of the repetition, from 0."""

    contender: str
    case: str
    hosts: int
    number: int


@dataclasses.dataclass(frozen=True)
class Scope:
    """hosts: of the main part. growth: the other numbers of hosts, for the unchanged case and the bare contenders.

    unchanged, verified, changing, first: repetitions in the main part; grown: in the other, slow: there for the baseline with
    more hosts than in the main part, which takes minutes and bears on no target. builds: of the builds.
    """

    hosts: int = 20
    growth: tuple[int, ...] = (1, 5, 50)
    unchanged: int = 5
    verified: int = 5
    changing: int = 5
    first: int = 5
    grown: int = 3
    slow: int = 1
    builds: int = 3

    @property
    def most(self) -> int:
        """Hosts that each fleet needs."""
        return max(self.hosts, *self.growth, 0)


QUICK = Scope(hosts=2, growth=(1,), unchanged=1, verified=1, changing=1, first=1, grown=1, builds=0)


def main_part(scope: Scope) -> list[Step]:
    """In rounds, the contenders in turn within each, so that a slow minute of the machine meets all of them."""
    repeated = [
        (core.FIRST, scope.first),
        (core.UNCHANGED, scope.unchanged),
        (core.ANSWER, scope.unchanged),
        (core.UNCHANGED_VERIFIED, scope.verified),
        (core.SETTING, scope.changing),
        (core.VERIFY, scope.verified),
    ]
    steps = []
    for number in range(max(count for _case, count in repeated)):
        for case, count in repeated:
            if number < count:
                steps += [Step(contender, case, scope.hosts, number) for contender in _contenders(case)]
    return steps


def growth_part(scope: Scope) -> list[Step]:
    """The unchanged case for the other numbers of hosts."""
    return [
        Step(contender, case, hosts, number)
        for number in range(scope.grown)
        for hosts in scope.growth
        for case in (core.UNCHANGED, core.ANSWER)
        for contender in _contenders(case)
        if number < scope.slow or contender != core.BASELINE or hosts < scope.hosts
    ]


def _contenders(case: str) -> tuple[str, ...]:
    return (core.PING, core.SSH) if case == core.ANSWER else (core.COLLECTION, core.BASELINE)


def undone_before(steps: t.Sequence[Step], index: int) -> bool:
    """Whether the fleet is taken back before this step: before each first converge but the very first."""
    step = steps[index]
    return step.case == core.FIRST and step.number > 0
