# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _clock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._clock import Skew
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

GUEST = Guest(Layout("/wd", "/p", "/log", "org.example.builder"), "0.0.0.0", 31022, "/etc/nix/key")


class Asked(Runner):
    """A Mac whose time passes while ssh is under way; the guest answers `answer`."""

    def __init__(self, answer: Completed | CommandError, took: float = 2.0) -> None:
        super().__init__()
        self.answer = answer
        self.took = took
        self.time = 1000.0
        self.argv: list[str] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.argv = list(argv)
        self.time += self.took
        if isinstance(self.answer, CommandError):
            raise self.answer
        return self.answer

    def now(self) -> float:
        return self.time


def said(text: str, rc: int = 0) -> Completed:
    return Completed(("ssh",), rc, text, "")


def test_the_guest_is_asked_over_the_pinned_connection_and_compared_with_the_middle_of_the_call() -> None:
    mac = Asked(said("400\n"))
    assert _clock.measure(GUEST, mac, now=mac.now) == Skew(-600.5, 1.5)
    assert mac.argv[-3:-1] == ["builder@127.0.0.1", "--"]
    assert mac.argv[-1].startswith("date +%s; ")
    assert "StrictHostKeyChecking=yes" in mac.argv


@pytest.mark.parametrize("answer", [said("", 255), said("1000", 255), said("soon"), said("١٢"), said("-5"), CommandError("late")])
def test_a_guest_that_tells_no_time_has_no_skew(answer: Completed | CommandError) -> None:
    mac = Asked(answer)
    assert _clock.measure(GUEST, mac, now=mac.now) is None


def test_a_clock_of_the_mac_that_was_set_back_meanwhile_measures_nothing() -> None:
    assert _clock.judge(said("1000"), 1000.0, 999.0) is None


@given(st.floats(1e6, 2e9), st.floats(-1e5, 1e5), st.floats(0, 100), st.floats(0, 1))
def test_the_true_skew_lies_within_the_uncertainty(before: float, true: float, took: float, moment: float) -> None:
    answer = math.floor(before + took * moment + true)
    skew = _clock.judge(said(str(answer)), before, before + took)
    assert skew is not None
    assert abs(skew.seconds - true) <= skew.uncertainty + 0.11  # both are rounded to tenths


@pytest.mark.parametrize(
    ("skew", "limit", "words"),
    [
        (Skew(-600.2, 1.0), 60, "the guest's clock is 600 s behind the Mac's, more than the 60 s of max_clock_skew"),
        (Skew(90.0, 1.0), 60, "the guest's clock is 90 s ahead of the Mac's, more than the 60 s of max_clock_skew"),
        (Skew(-61.0, 1.0), 60, None),  # it may be 60
        (Skew(-600.0, 599.0), 60, None),  # a slow answer proves nothing
        (Skew(-1e6, 1.0), 0, None),
        (None, 60, None),
    ],
)
def test_only_a_skew_beyond_the_limit_for_certain_is_a_reason(skew: Skew | None, limit: float, words: str | None) -> None:
    assert _clock.restart_reason(skew, limit) == words
