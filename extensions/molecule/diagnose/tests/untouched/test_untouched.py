# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Macs that this collection has never touched: the diagnosis reads only, ends soon, and says that there is no builder."""

from __future__ import annotations

import time
import typing as t

import macs
import pytest
from diagnosis import Diagnosis, diagnose

NIX_DARWIN = "mac-d"


class Looked(t.NamedTuple):
    """A diagnosis, its seconds with all that Ansible adds, and in what the Mac differs after it."""

    found: Diagnosis
    seconds: float
    differences: list[str]


@pytest.fixture(scope="module", params=[macs.NAME, NIX_DARWIN])
def looked(request: pytest.FixtureRequest) -> Looked:
    mac, stand_in = macs.reach(request.param), macs.StandIn(request.param)
    before = stand_in.snapshot()
    begin = time.monotonic()
    found = diagnose(mac)
    return Looked(found, time.monotonic() - begin, macs.differences(before, stand_in.snapshot()))


def test_nothing_is_changed(looked: Looked) -> None:
    assert not looked.differences, "\n".join(looked.differences)


def test_it_says_that_there_is_no_builder_and_nothing_worse(looked: Looked) -> None:
    assert looked.found.first == "setup.none", "\n".join(looked.found.report)
    assert looked.found.others == [], "\n".join(looked.found.report)
    assert looked.found.links["nix_daemon"]["state"] == "ok"
    assert looked.found.links["ssh"]["state"] == "not_checked"


def test_it_ends_within_its_time(looked: Looked) -> None:
    assert looked.found.seconds < 60
    assert looked.seconds < 120


def test_the_playbook_ends_with_an_error_that_names_the_link() -> None:
    played = macs.play("diagnose")
    assert played.rc != 0
    assert played.changed() == 0
    assert played.says("Begin with setup: No Linux builder was ever set up on this Mac")
