# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nix' internal-json log: recorded streams give the right sums and words, and no line can do harm."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix_log import Log

FIXTURES = Path(__file__).parents[2] / "fixtures" / "nix_log"


class Recorder:
    """Keeps what was reported, without repetitions."""

    def __init__(self) -> None:
        self.said: list[t.Any] = []

    def phase(self, name: str) -> None:
        self._add(name)

    def detail(self, done: int, total: int, unit: str) -> None:
        self._add((done, total, unit))

    def _add(self, what: t.Any) -> None:
        if what not in self.said[-2:]:
            self.said.append(what)


class Ticking:
    """A clock that goes a second further at each look, so that nothing is left out."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def replay(name: str, **options: t.Any) -> tuple[Log, Recorder]:
    recorder = Recorder()
    log = Log(recorder, clock=Ticking(), **options)
    for line in (FIXTURES / f"{name}.json").read_text().splitlines():
        log.take(line)
    return log, recorder


def test_builds_are_counted_to_their_end() -> None:
    log, recorder = replay("build")
    assert recorder.said[0] == "build"
    assert [entry for entry in recorder.said if isinstance(entry, tuple)] == [
        (0, 2, "derivations"),
        (1, 2, "derivations"),
        (2, 2, "derivations"),
    ]
    assert [(drv.rpartition("-")[2], where) for drv, where in log.built] == [("dep.drv", ""), ("top.drv", "")]
    assert log.text == ""


def test_a_copy_is_counted_in_bytes() -> None:
    log, recorder = replay("subst")
    assert "build" not in recorder.said
    assert recorder.said[0] == "fetch"
    done = [entry for entry in recorder.said if isinstance(entry, tuple)]
    assert done[-1][1:] == (300112, "bytes")
    assert [entry[0] for entry in done] == sorted(entry[0] for entry in done)
    assert done[-1][0] > 250000
    assert log.built == []
    assert log.copied == [("/nix/store/ra4jxvmagxgjm38689m38sc8bzlkh58x-top", "http://127.0.0.1:8099")]


def test_a_push_is_counted_in_bytes() -> None:
    _log, recorder = replay("copyto")
    assert recorder.said[-1] == (300105, 300112, "bytes")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad", "error: builder for '/nix/store/96jsrp7qj9zj9gb5xw1qbcv1mhxv5cv0-bad.drv' failed with exit code 3"),
        ("eval", "error: no such thing"),
        ("system", "error: a 'aarch64-linux' with features {} is required to build"),
        ("dead", "is required, but there is no substituter that can build it"),
        ("wrong", "is required, but there is no substituter that can build it"),
    ],
)
def test_errors_are_kept_without_colours(name: str, words: str) -> None:
    log, _recorder = replay(name)
    assert words in log.text
    assert "\x1b" not in log.text
    assert log.text.endswith("\n")


def test_warnings_are_kept_and_chatter_is_not() -> None:
    log, _recorder = replay("wrong")
    assert "warning: ignoring substitute for" in log.text
    assert "will be fetched" not in log.text
    assert "evaluating file" not in replay("eval")[0].text


def test_who_watches_can_stop_it() -> None:
    seen: list[str] = []

    def watch(message: str) -> None:
        seen.append(message)
        if "not signed by any of the keys" in message:
            raise LookupError

    with pytest.raises(LookupError):
        replay("wrong", watch=watch)
    assert len(seen) == 1


def test_lines_that_are_not_of_nix_are_messages() -> None:
    log = Log()
    log.take("ssh: connect to host 127.0.0.1 port 31022: Connection refused\r")
    log.take("@nix {broken")
    log.take("@nix [1]")
    log.take("")
    assert log.text == "ssh: connect to host 127.0.0.1 port 31022: Connection refused\n@nix {broken\n@nix [1]\n"


def test_messages_are_bounded() -> None:
    log = Log()
    for number in range(10000):
        log.take(f"line {number}")
    assert log.text.startswith("line 9800\n")


def test_expectations_go_with_who_had_them() -> None:
    log = Log()
    for record in (
        {"action": "start", "id": 1, "type": 102},
        {"action": "result", "id": 1, "type": 106, "fields": [100, 1000]},
        {"action": "result", "id": 1, "type": 106, "fields": [100, 3000]},
        {"action": "start", "id": 2, "type": 100, "fields": ["/nix/store/x", "a", "b"]},
        {"action": "result", "id": 2, "type": 105, "fields": [400, 500, 0, 0]},
    ):
        log.take("@nix " + json.dumps(record))
    assert log.totals(100) == (400, 3000)
    log.take('@nix {"action":"stop","id":2}')
    assert log.totals(100) == (400, 3000)
    log.take('@nix {"action":"stop","id":1}')
    assert log.totals(100) == (400, 400)


def test_details_are_not_reported_for_each_line() -> None:
    recorder = Recorder()
    log = Log(recorder, clock=lambda: 5.0)
    log.take('@nix {"action":"start","id":1,"type":100,"fields":["/nix/store/x","a","b"]}')
    for done in range(1, 1000):
        log.take(f'@nix {{"action":"result","id":1,"type":105,"fields":[{done},1000,0,0]}}')
    assert recorder.said == ["fetch", (0, 0, "bytes")]


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["msg", "start", "stop", "result"]) | VALUES,
        "id": st.integers(0, 5) | VALUES,
        "type": st.sampled_from([100, 101, 102, 103, 104, 105, 106, 108]) | VALUES,
        "fields": st.lists(st.integers(0, 10) | SCALARS, max_size=4) | VALUES,
        "level": st.integers(0, 7) | VALUES,
        "msg": VALUES,
    },
)


@given(
    st.lists(RECORDS.map(lambda record: "@nix " + json.dumps(record)) | st.text() | st.text().map(lambda text: "@nix " + text))
)
def test_no_line_does_harm(lines: list[str]) -> None:
    recorder = Recorder()
    log = Log(recorder, clock=Ticking())
    for line in lines:
        log.take(line)
    assert isinstance(log.text, str)
    for kind in (100, 101, 104):
        done, expected = log.totals(kind)
        assert isinstance(done, int)
        assert isinstance(expected, int)


@given(st.data())
def test_a_cut_stream_is_as_good_as_a_whole_one(data: st.DataObject) -> None:
    lines = (FIXTURES / "subst.json").read_text().splitlines()
    log = Log(clock=Ticking())
    for line in data.draw(st.lists(st.sampled_from(lines))):
        log.take(line)
    done, expected = log.totals(100)
    assert done >= 0
    assert expected >= 0
