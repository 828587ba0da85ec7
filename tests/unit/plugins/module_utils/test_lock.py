# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

HOLDER = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(name="other")
def fixture_other(tmp_path: pathlib.Path) -> t.Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock of tmp_path."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_another_run_is_waited_for_and_then_named(tmp_path: pathlib.Path, other: subprocess.Popen[bytes]) -> None:
    assert other.poll() is None
    message = "the file: another run has been working on it for 0.3 s. Run again"
    with pytest.raises(StateError, match=message), _lock.held(str(tmp_path), 0.3, "the file"):
        pytest.fail("two runs at once")


def test_a_killed_run_holds_nothing(tmp_path: pathlib.Path, other: subprocess.Popen[bytes]) -> None:
    other.send_signal(signal.SIGKILL)
    with _lock.held(str(tmp_path), 60):
        pass


def test_the_second_run_goes_on_when_the_first_has_ended(tmp_path: pathlib.Path) -> None:
    order: list[str] = []
    begun = threading.Event()

    def first() -> None:
        with _lock.held(str(tmp_path), 60):
            order.append("first")
            begun.set()
            order.append("first ends")

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    with _lock.held(str(tmp_path), 60):
        order.append("second")
    thread.join(60)
    assert order == ["first", "first ends", "second"]


def test_a_directory_that_is_not_there_yet_is_locked_by_the_one_above(tmp_path: pathlib.Path) -> None:
    first, second = _lock.held(str(tmp_path / "a" / "b"), 60), _lock.held(str(tmp_path / "c"), 0)
    with first, pytest.raises(StateError, match="another run"), second:
        pytest.fail("two runs at once")


def test_nothing_is_left_behind(tmp_path: pathlib.Path) -> None:
    with _lock.held(str(tmp_path), 60):
        pass
    assert os.listdir(tmp_path) == []


def test_the_lock_ends_with_an_error_in_the_body(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="x"), _lock.held(str(tmp_path), 60):
        raise ValueError("x")
    with _lock.held(str(tmp_path), 0):
        pass
