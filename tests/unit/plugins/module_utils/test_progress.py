# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress in a file: phases at once, details once a second, and never a reason to fail."""

from __future__ import annotations

import stat
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import (
    SILENT,
    FileProgress,
    Progress,
    Status,
    read_status,
    status_from,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_phase_is_written_at_once_and_for_its_owner_only(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "status.json"
    progress: Progress = FileProgress(str(path), clock)
    clock.now = 1002.0
    progress.phase("fetch")
    assert read_status(str(path)) == Status("fetch", began=1000.0, since=1002.0, updated=1002.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_phase_again_keeps_its_beginning(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "status.json")
    progress = FileProgress(path, clock)
    progress.phase("fetch")
    clock.now = 1050.0
    progress.phase("fetch")
    assert read_status(path).since == 1000.0


def test_details_are_written_once_a_second(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "status.json")
    progress = FileProgress(path, clock)
    progress.phase("fetch")
    progress.detail(1, 10, "bytes")
    clock.now += 0.5
    progress.detail(2, 10, "bytes")
    assert read_status(path).done == 1
    clock.now += 0.6
    progress.detail(3, 10, "bytes")
    assert (read_status(path).done, read_status(path).total, read_status(path).unit) == (3, 10, "bytes")


def test_a_clock_that_was_set_back_does_not_silence(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "status.json")
    progress = FileProgress(path, clock)
    progress.phase("fetch")
    progress.detail(1, 10, "bytes")
    clock.now = 10.0
    progress.detail(2, 10, "bytes")
    assert read_status(path).done == 2


def test_a_phase_forgets_the_details_of_the_one_before(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "status.json")
    progress = FileProgress(path, clock)
    progress.phase("fetch")
    progress.detail(1, 10, "bytes")
    progress.phase("start")
    status = read_status(path)
    assert (status.phase, status.done, status.total, status.unit) == ("start", 0, 0, "")


def test_a_status_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    progress = FileProgress(str(tmp_path / "gone" / "status.json"))
    progress.phase("fetch")
    progress.detail(1, 2, "bytes")
    SILENT.phase("fetch")
    SILENT.detail(1, 2, "bytes")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"fetch"', '{"phase": 3, "done": "x", "since": null, "total": true}'])
def test_a_damaged_status_is_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(content)
    assert read_status(str(path)) == Status()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_anything_is_a_status(table: t.Any) -> None:
    assert isinstance(status_from(table), Status)


def test_a_status_survives_its_dictionary() -> None:
    status = Status("build", 3, 12, "derivations", 1.5, 2.5, 3.5)
    assert status_from(status.as_dict()) == status
