# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _awake
from ansible_collections.nixmac.linux_builder.plugins.module_utils._awake import awake
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner

# Notes its number and its arguments, then holds on as caffeinate does until it is ended.
CAFFEINATE = """#!/bin/sh
printf '%s\\n' "$$ $*" >"$0.new" && mv "$0.new" "$0.started"
exec sleep 600
"""


@pytest.fixture
def caffeinate(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "caffeinate"
    path.write_text(CAFFEINATE)
    path.chmod(0o755)
    monkeypatch.setattr(_awake, "CAFFEINATE", str(path))
    return path


def started(caffeinate: pathlib.Path) -> tuple[int, str]:
    """Number and arguments of the caffeinate that was started, as soon as it has noted them."""
    note = caffeinate.with_name("caffeinate.started")
    deadline = time.monotonic() + 60
    while not note.exists():
        assert time.monotonic() < deadline, "caffeinate was not started"
        time.sleep(0.01)
    number, _blank, arguments = note.read_text().strip().partition(" ")
    return int(number), arguments


def there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_beside_the_step_for_this_process_and_ends_with_the_step(caffeinate: pathlib.Path) -> None:
    runner = Runner()
    with awake(runner):
        pid, arguments = started(caffeinate)
        assert arguments == f"-i -w {os.getpid()}"
        assert there(pid)
    assert not there(pid)
    assert runner.started == 1


def test_it_ends_when_the_step_fails_and_the_failure_is_the_steps(caffeinate: pathlib.Path) -> None:
    pids: list[int] = []

    def step() -> None:
        with awake(Runner()):
            pids.append(started(caffeinate)[0])
            raise KeyError("the step")

    with pytest.raises(KeyError, match="the step"):
        step()
    assert not there(pids[0])


def test_where_it_is_missing_nothing_is_started(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_awake, "CAFFEINATE", str(tmp_path / "caffeinate"))
    runner = Runner()
    with awake(runner):
        pass
    assert runner.started == 0


@pytest.mark.parametrize("text", ["no program\0", "#!/nonexistent\n", "#!/bin/sh\nexit 64\n"])
def test_a_caffeinate_that_does_not_work_never_fails_the_step(caffeinate: pathlib.Path, text: str) -> None:
    caffeinate.write_text(text)
    done: list[t.Any] = []
    with awake(Runner()):
        done.append("step")
    assert done == ["step"]
