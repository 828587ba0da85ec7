# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line for all Macs of a play: what it says, and that many processes together say it once."""

from __future__ import annotations

import concurrent.futures
import fcntl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._play_progress import (
    INTERVAL,
    PHASES,
    HostStatus,
    PlayProgress,
    aggregate,
)

GIB = 1 << 30


@pytest.mark.parametrize(
    ("statuses", "line"),
    [
        ([], ""),
        ([HostStatus("a", over=True)], ""),
        ([HostStatus("a", seconds=9)], "at work: 1 Mac, 9 s"),
        (
            [HostStatus("a", "fetch", GIB, 3 * GIB, "bytes", 75)],
            "fetch: 1 Mac (1.0/3.0 GiB), 1 min 15 s",
        ),
        (
            [
                HostStatus("a", "fetch", GIB, 3 * GIB, "bytes", 75),
                HostStatus("b", "fetch", 2 * GIB, 3 * GIB, "bytes", 75),
                HostStatus("c", "build", 3, 12, "derivations", 80),
                HostStatus("d", over=True),
                HostStatus("e", over=True),
            ],
            "fetch: 2 Macs (3.0/6.0 GiB); build: 1 Mac (3/12 derivations); 2 done. Slowest: a (fetch, 33%, 1 min 15 s)",
        ),
        (
            [HostStatus("a", "ready", seconds=61), HostStatus("b", "ready", seconds=59, lost=True)],
            "boot: 2 Macs; 1 not reachable. Slowest: a (boot, 1 min 1 s)",
        ),
        (
            [HostStatus("a", "fetch", 0, 0, "bytes", 1), HostStatus("b", "something new", 1, 2, "things", 2)],
            "fetch: 1 Mac; something new: 1 Mac (1/2 things). Slowest: a (fetch, 1 s)",
        ),
        ([HostStatus("a", "fetch", 5, 10, "bytes", 1)], "fetch: 1 Mac (5.0/10.0 B), 1 s"),
    ],
)
def test_the_line(statuses: list[HostStatus], line: str) -> None:
    assert aggregate(statuses) == line
    assert aggregate(reversed(statuses)) == line


STATUSES = st.builds(
    HostStatus,
    host=st.text(min_size=1, max_size=8),
    phase=st.sampled_from([*PHASES, "another"]),
    done=st.integers(-5, 1 << 50),
    total=st.integers(-5, 1 << 50),
    unit=st.sampled_from(["bytes", "derivations", ""]),
    seconds=st.floats(0, 1e6),
    over=st.booleans(),
    lost=st.booleans(),
)


@given(st.lists(STATUSES, max_size=12))
def test_every_mac_is_counted_once(statuses: list[HostStatus]) -> None:
    line = aggregate(statuses)
    working = [status for status in statuses if not status.over]
    assert (line == "") == (not working)
    if not working:
        return
    heads = [part for part in line.partition(". Slowest: ")[0].split("; ") if "Mac" in part]
    assert sum(int(head.partition(": ")[2].split()[0]) for head in heads) == len(working)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_on_a_terminal_a_line_every_ten_seconds(tmp_path: Path) -> None:
    clock, said = Clock(), []
    hosts = [PlayProgress(str(tmp_path / "p"), name, said.append, True, clock) for name in "abc"]
    for _second in range(60):
        for number, host in enumerate(hosts):
            host.report(HostStatus("abc"[number], "fetch", 1, 2, "bytes"))
        clock.now += 1
    assert len(said) == 7
    assert said[-1].startswith("fetch: 3 Macs")


def test_in_a_file_a_line_for_each_phase(tmp_path: Path) -> None:
    clock, said = Clock(), []
    hosts = {name: PlayProgress(str(tmp_path / "p"), name, said.append, False, clock) for name in "ab"}
    for phase in ("fetch", "build", "start"):
        for _time in range(10):
            for name, host in hosts.items():
                host.report(HostStatus(name, phase))
                clock.now += 5
    assert said == [
        "fetch: 1 Mac, 0 s",
        "fetch: 1 Mac; build: 1 Mac. Slowest: b (fetch, 0 s)",
        "build: 1 Mac; start: 1 Mac. Slowest: b (build, 0 s)",
    ]


def test_who_is_over_counts_as_done(tmp_path: Path) -> None:
    clock, said = Clock(), []
    first, second = (PlayProgress(str(tmp_path / "p"), name, said.append, True, clock) for name in "ab")
    first.report(HostStatus("a", "ready"))
    clock.now += INTERVAL
    first.finish()
    second.report(HostStatus("b", "ready"))
    assert said[-1] == "boot: 1 Mac; 1 done. Slowest: b (boot, 0 s)"


def test_who_never_reported_is_not_counted(tmp_path: Path) -> None:
    PlayProgress(str(tmp_path / "p"), "a", print, True).finish()
    assert list(tmp_path.iterdir()) == []


def test_who_has_not_the_lock_is_silent_and_does_not_wait(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "said").touch()
    with open(tmp_path / "said") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        PlayProgress(str(tmp_path), "a", said.append, True).report(HostStatus("a", "fetch"))
    assert said == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}', '{"host": "x", "phase": "fetch"}'])
def test_damaged_files_do_no_harm(tmp_path: Path, content: str) -> None:
    said: list[str] = []
    (tmp_path / "x.json").write_text(content)
    (tmp_path / "said").write_text("{")
    PlayProgress(str(tmp_path), "a", said.append, True).report(HostStatus("a", "fetch"))
    assert len(said) == 1


def test_no_directory_no_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    progress = PlayProgress(str(tmp_path / "file" / "p"), "a", print, True)
    progress.report(HostStatus("a"))
    progress.finish()


def test_many_at_once_say_each_phase_once(tmp_path: Path) -> None:
    """Threads stand for Ansible's workers: flock(2) keeps apart whoever opened the file for himself."""
    said: list[str] = []

    def work(host: str) -> None:
        progress = PlayProgress(str(tmp_path / "p"), host, said.append, False)
        for phase in ("fetch", "build"):
            for _time in range(20):
                progress.report(HostStatus(host, phase))
        progress.finish()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ("mac-1", "mac-2", "mac-3", "mac-4"), timeout=120))
    assert 1 <= len(said) <= 2
