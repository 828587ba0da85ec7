# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of long work: how often it asks, and what it does when the Mac does not answer."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _job
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _long_work
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._long_work import (
    ANSWER,
    FIRST_WAIT,
    PARAMETER,
    PATIENCE,
    PAUSE,
    POLL_WAIT,
    LongWork,
    LostConnection,
)
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._play_progress import HostStatus

RUNNING = {ANSWER: {"state": "running", "token": "t1", "phase": "fetch", "done": 1, "total": 4, "unit": "bytes", "seconds": 3.5}}
GONE = {ANSWER: {"state": "gone"}}
DONE = {"changed": True, "store_path": "/nix/store/x"}
LOST = LostConnection("Failed to connect to the host via ssh")


class Mac:
    """Answers from a list; every other call is one too many."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)
        self.asked: list[t.Any] = []
        self.slept: list[float] = []
        self.reports: list[HostStatus] = []
        self.work = LongWork("mac-a", self.call, self.reports.append, self.slept.append, lambda: 100.0)

    def call(self, more: dict[str, t.Any]) -> dict[str, t.Any]:
        assert list(more) == [PARAMETER]
        self.asked.append(more[PARAMETER])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {**answer, "invocation": {"module_args": {"state": "present", PARAMETER: more[PARAMETER]}}}


def test_both_sides_mean_the_same_words() -> None:
    assert (PARAMETER, ANSWER) == (_job.PARAMETER, _job.ANSWER)
    assert max(FIRST_WAIT, POLL_WAIT) <= _job._LONGEST_WAIT


def test_short_work_is_one_execution_and_no_poll() -> None:
    mac = Mac(DONE)
    result = mac.work.run()
    assert result == {
        **DONE,
        "work": {"polls": 0, "seconds": 0.0, "picked_up": False},
        "invocation": {"module_args": {"state": "present"}},
    }
    assert mac.asked == [{"wait": FIRST_WAIT}]
    assert (mac.slept, mac.reports) == ([], [])


def test_long_work_is_polled_by_its_token_and_reported() -> None:
    mac = Mac(RUNNING, RUNNING, RUNNING, DONE)
    result = mac.work.run()
    assert result["work"]["polls"] == 3
    assert ANSWER not in result
    assert mac.asked[1:] == [{"wait": POLL_WAIT, "token": "t1"}] * 3
    assert mac.reports == [HostStatus("mac-a", "fetch", 1, 4, "bytes", 3.5)] * 3
    assert mac.slept == []


def test_what_was_picked_up_is_told() -> None:
    result = Mac({**RUNNING, "picked_up": True}, DONE).work.run()
    assert result["work"]["picked_up"] is True
    assert "picked_up" not in result


def test_a_failure_is_passed_on() -> None:
    result = Mac(RUNNING, {"failed": True, "msg": "no"}).work.run()
    assert (result["failed"], result["msg"], result["work"]["polls"]) == (True, "no", 1)


def test_a_lost_connection_is_borne() -> None:
    mac = Mac(RUNNING, LOST, LOST, RUNNING, DONE)
    assert mac.work.run()["changed"] is True
    assert mac.slept == [PAUSE, PAUSE]
    assert [report.lost for report in mac.reports] == [False, True, True, False]
    assert mac.reports[1].phase == "fetch"


def test_patience_has_an_end() -> None:
    mac = Mac(RUNNING, *[LOST] * (PATIENCE + 1))
    with pytest.raises(LostConnection):
        mac.work.run()
    assert mac.slept == [PAUSE] * PATIENCE
    assert mac.work.polls == 1


def test_patience_begins_anew_with_each_answer() -> None:
    mac = Mac(RUNNING, *[LOST] * PATIENCE, RUNNING, *[LOST] * PATIENCE, DONE)
    assert mac.work.run()["changed"] is True


def test_a_mac_that_never_answered_is_not_asked_again() -> None:
    mac = Mac(LOST)
    with pytest.raises(LostConnection):
        mac.work.run()
    assert (mac.slept, mac.work.polls) == ([], 0)


def test_vanished_work_is_handed_in_anew() -> None:
    mac = Mac(RUNNING, GONE, RUNNING, DONE)
    assert mac.work.run()["changed"] is True
    assert "token" not in mac.asked[2]


def test_work_that_vanishes_again_and_again_is_an_error() -> None:
    result = Mac(RUNNING, GONE, RUNNING, GONE, RUNNING, GONE).work.run()
    assert result["failed"] is True
    assert "vanished" in result["msg"]


def test_the_waits_fit_a_line_every_ten_seconds() -> None:
    assert 5 <= _long_work.FIRST_WAIT <= 8
    assert 8 <= _long_work.POLL_WAIT <= 10
