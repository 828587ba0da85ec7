# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stop beside the work of other runs, with real processes."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_turn, _job_start, _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_turn import Turn
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import Desk
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import job_work

LONG = 60.0  # seconds: a machine under load takes its time


class Phases:
    """A progress that remembers its phases."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def phase(self, name: str) -> None:
        self.seen.append(name)

    def detail(self, done: int, total: int, unit: str) -> None:
        pass


class Mac:
    """Jobs of builder_vm, and a builder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.progress = Phases()
        (root / "profiles").mkdir()
        self.layout = Layout(f"{root}/wd", f"{root}/profiles/lb", f"{root}/log", "org.example.builder")

    def work(self, **params: t.Any) -> Desk:
        """Hand in work that goes on until `gate`, and wait until it has begun."""
        own = {"folder": str(self.root), "how": "well", "state": "running", "profile": f"{self.layout.profile}/", **params}
        desk = Desk(str(self.root / "jobs"), job_work.execute, own)
        desk.hand_in(0)
        deadline = time.monotonic() + LONG
        while desk.job.process is None or desk.job.status().phase != "build":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return desk

    def turn(self, wait: float = 0.0, force: bool = False) -> Turn:
        return Turn(self.layout, wait=wait, force=force, progress=self.progress, root=str(self.root / "jobs"))


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Mac]:
    monkeypatch.setattr(_builder_turn, "AREA", "job_work")
    yield Mac(tmp_path)
    (tmp_path / "gate").touch()


def test_alone_it_is_at_once_and_says_nothing(mac: Mac) -> None:
    turn = mac.turn()
    with turn.taken(), pytest.raises(StateError, match="another run"), _lock.held(str(mac.root / "profiles"), 0):
        pass
    assert (turn.warnings, mac.progress.seen) == ([], [])


def test_whose_work_goes_on_is_said_at_once_and_in_the_error(mac: Mac) -> None:
    desk = mac.work()
    words = rf"builder_vm state: running in phase build \(since 20[0-9: -]+ UTC, process {desk.job.process}\)"
    with pytest.raises(StateError, match=words) as caught, mac.turn().taken():
        pass
    assert "Nothing was changed" in caught.value.message
    assert "force: true" in caught.value.message
    assert caught.value.details == {"working": [desk.job.directory]}
    assert re.fullmatch(f"waiting for {words}", mac.progress.seen[0])
    assert desk.job.running()


def test_it_is_waited_for(mac: Mac) -> None:
    desk = mac.work()
    turn = mac.turn(wait=LONG)
    threading.Timer(0.5, (mac.root / "gate").touch).start()
    with turn.taken():
        assert not desk.job.running()
    assert len(turn.warnings) == 1
    assert re.match("Waited [0-9]+ s for builder_vm state: running in phase build", turn.warnings[0])


def test_with_force_it_is_ended(mac: Mac) -> None:
    desk = mac.work()
    turn = mac.turn(force=True)
    with turn.taken():
        assert not desk.job.running()
    assert len(turn.warnings) == 1
    assert turn.warnings[0].startswith("force: ended builder_vm state: running in phase build")


def test_work_on_another_builder_is_nothing_to_wait_for(mac: Mac) -> None:
    desk = mac.work(profile=f"{mac.layout.profile}2")
    with mac.turn().taken():
        assert desk.job.running()


def test_of_two_that_wait_only_the_younger_waits(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a stop and a removal, both of them work that goes on by itself, would wait for each other."""
    elder, younger = mac.work(state="stopped"), mac.work(state="absent")
    record = json.loads(Path(younger.job.path(_job_start.RECORD)).read_text())
    assert record["began"] > elder.job.record()["began"]
    monkeypatch.setattr(os, "getpid", lambda: elder.job.process)
    with mac.turn().taken():
        pass
    monkeypatch.setattr(os, "getpid", lambda: younger.job.process)
    with pytest.raises(StateError, match="state: stopped"), mac.turn().taken():
        pass
