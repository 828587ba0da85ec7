# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_journal
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import Journal, Origin
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout

ORIGIN = Origin("/nix/store/x", 3, {"/wd/run-builder": b"\x00\xff", "/wd/known_hosts": None}, b"<plist/>", True)


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> Layout:
    return Layout(str(tmp_path), "/profile", "/log", "x")


@pytest.mark.parametrize("journal", [Journal("stop", "0123", ORIGIN, "no answer", ("/var/lib",)), Journal("fetch", "", Origin())])
def test_what_is_written_is_read_again(layout: Layout, journal: Journal) -> None:
    _builder_journal.write(layout, journal)
    assert _builder_journal.read(layout) == journal
    assert os.stat(layout.journal).st_mode & 0o777 == 0o600
    _builder_journal.remove(layout)
    assert _builder_journal.read(layout) is None


def test_it_is_on_the_disk_before_the_phase_begins(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    _builder_journal.write(layout, Journal("stop", "x", ORIGIN))
    assert len(synced) >= 2  # the file, and the directory that names it


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 99}',
        b'{"version": 1, "phase": "stop"}',
        b'{"version": 1, "phase": "x", "request": "", "reason": "", "parents": [], "origin": null}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_journal_is_none(layout: Layout, damage: bytes) -> None:
    pathlib.Path(layout.journal).write_bytes(damage)
    assert _builder_journal.read(layout) is None


def test_a_file_that_is_no_base64_makes_it_none(layout: Layout) -> None:
    _builder_journal.write(layout, Journal("stop", "x", ORIGIN))
    document = json.loads(pathlib.Path(layout.journal).read_bytes())
    document["origin"]["plist"] = "%%%"
    pathlib.Path(layout.journal).write_text(json.dumps(document), encoding="utf-8")
    assert _builder_journal.read(layout) is None
