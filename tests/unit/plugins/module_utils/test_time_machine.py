# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import plistlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _time_machine
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner


class Tmutil(Runner):
    """tmutil with a set of excluded paths; `fails`: verb -> its words."""

    def __init__(self, fails: dict[str, str] | None = None, printed: str | None = None) -> None:
        super().__init__()
        self.excluded: set[str] = set()
        self.fails = fails or {}
        self.printed = printed
        self.verbs: list[str] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        program, verb, path = argv
        assert program == _time_machine.TMUTIL
        self.verbs.append(verb)
        if verb in self.fails:
            return Completed(tuple(argv), 1, "", self.fails[verb])
        if verb == "addexclusion":
            self.excluded.add(path)
        elif verb == "removeexclusion":
            self.excluded.discard(path)
        shown = f"[{'Excluded' if path in self.excluded else 'Included'}]    /private{path}\n"
        return Completed(tuple(argv), 0, shown if self.printed is None else self.printed, "")


@pytest.fixture(autouse=True)
def fixture_a_mac(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    program = tmp_path / "bin/tmutil"
    program.parent.mkdir()
    program.write_text("")
    monkeypatch.setattr(_time_machine, "TMUTIL", str(program))


@pytest.fixture(name="directory")
def fixture_directory(tmp_path: pathlib.Path) -> str:
    (tmp_path / "builder").mkdir()
    return str(tmp_path / "builder")


def test_the_first_run_excludes_and_the_second_only_looks(directory: str) -> None:
    tmutil = Tmutil()
    assert _time_machine.hold(directory, True, tmutil).line == f"Time Machine: {directory} is left out\n"
    assert not _time_machine.hold(directory, True, tmutil).changed
    assert tmutil.verbs == ["isexcluded", "addexclusion", "isexcluded", "isexcluded"]
    assert _time_machine.hold(directory, False, tmutil).changed
    assert not _time_machine.hold(directory, False, tmutil).changed
    assert tmutil.excluded == set()


def test_check_mode_says_what_would_change_and_changes_nothing(directory: str, tmp_path: pathlib.Path) -> None:
    tmutil = Tmutil()
    assert _time_machine.hold(directory, True, tmutil, check_mode=True).changed
    assert tmutil.verbs == ["isexcluded"]
    assert _time_machine.hold(str(tmp_path / "not/yet"), True, tmutil, check_mode=True).changed
    assert not _time_machine.hold(str(tmp_path / "not/yet"), True, tmutil).changed
    assert not _time_machine.hold(str(tmp_path / "not/yet"), False, tmutil, check_mode=True).changed
    assert tmutil.verbs == ["isexcluded"]


def test_nothing_happens_without_tmutil(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_time_machine, "TMUTIL", "/nowhere/tmutil")
    tmutil = Tmutil()
    assert _time_machine.hold(directory, True, tmutil) == _time_machine.Exclusion()
    assert not tmutil.verbs


@pytest.mark.parametrize(
    ("tmutil", "words"),
    [
        (Tmutil({"addexclusion": "tmutil: addexclusion requires Full Disk Access privileges."}), "Full Disk Access"),
        (Tmutil({"isexcluded": ""}), "exit status 1"),
        (Tmutil(printed="what?"), "'what?'"),
        (Tmutil(printed="[Included]    /x"), "changed nothing"),
    ],
)
def test_a_tmutil_that_refuses_is_a_warning(directory: str, tmutil: Tmutil, words: str) -> None:
    exclusion = _time_machine.hold(directory, True, tmutil)
    assert not exclusion.changed
    assert words in exclusion.warning
    assert directory in exclusion.warning


def test_the_mark_of_an_exclusion_is_seen_without_tmutil(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is an extended attribute; its name has a prefix on Linux, where tests run."""
    marks: dict[tuple[str, str], bytes] = {}

    def getxattr(path: str, name: str) -> bytes:
        try:
            return marks[path, name]
        except KeyError as exc:
            raise OSError from exc

    monkeypatch.setattr(_time_machine.os, "getxattr", getxattr, raising=False)
    tmutil = Tmutil()
    key = (directory, "user.com.apple.metadata:com_apple_backup_excludeItem")
    marks[key] = plistlib.dumps("com.apple.backupd", fmt=plistlib.FMT_BINARY)
    assert _time_machine.is_excluded(directory, tmutil)
    assert tmutil.verbs == []
    marks[key] = b"something else"
    assert not _time_machine.is_excluded(directory, tmutil)
    assert tmutil.verbs == ["isexcluded"]


def test_where_the_system_has_no_such_call_tmutil_tells(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of macOS, whose Python has no getxattr: the C library's, which elsewhere has other arguments or none."""
    monkeypatch.delattr(_time_machine.os, "getxattr", raising=False)
    monkeypatch.setattr(_time_machine.ctypes, "CDLL", lambda _name: object())
    tmutil = Tmutil()
    tmutil.excluded.add(directory)
    assert _time_machine.is_excluded(directory, tmutil)
    assert tmutil.verbs == ["isexcluded"]
