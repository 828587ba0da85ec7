# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import os
import stat

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verified


@dataclasses.dataclass
class Layout:
    working_directory: str


RECORD = _verified.Record(
    1795426381.5, {"x86_64-linux": 0.91234}, "/nix/store/x-vm", {"mac": "2.26.3", "guest": "2.34.8"}, ("kvm",)
)


def test_what_was_written_is_read(tmp_path):
    layout = Layout(str(tmp_path))
    assert _verified.write(layout, RECORD)
    assert _verified.read(layout) == {
        "format": 1,
        "time": "2026-11-23T09:33:01Z",
        "seconds": {"x86_64-linux": 0.912},
        "store_path": "/nix/store/x-vm",
        "versions": {"mac": "2.26.3", "guest": "2.34.8"},
        "features": ["kvm"],
        "boot_id": "",
    }
    assert stat.S_IMODE(os.stat(_verified.path(layout)).st_mode) == 0o644
    assert os.listdir(tmp_path) == ["verified.json"]


def test_without_a_working_directory_nothing_is_made(tmp_path):
    layout = Layout(str(tmp_path / "none"))
    assert not _verified.write(layout, RECORD)
    assert _verified.read(layout) is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({"format": 2}),
        json.dumps({**RECORD.as_dict(), "seconds": 3}),
        '{"format": 1, "time": 5}',
    ],
)
def test_anything_else_is_no_record(tmp_path, content):
    (tmp_path / "verified.json").write_text(content)
    assert _verified.read(Layout(str(tmp_path))) is None
