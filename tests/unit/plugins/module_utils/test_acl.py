# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ACLs survive the replacement of a file."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _acl, _files

ACL = "system.posix_acl_access"
# Version 2; (tag, permissions, id) of owner, user 65534, group, mask, others.
ENTRIES = ((0x01, 6, -1), (0x02, 4, 65534), (0x04, 4, -1), (0x10, 4, -1), (0x20, 4, -1))
LIST = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in ENTRIES)


def test_acl_goes_unless_it_shall_stay(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    os.setxattr(path, ACL, LIST)
    _files.write(str(path), b"new", _files.Ownership(mode=0o600))
    assert ACL not in os.listxattr(path)


def test_acl_and_mode_survive_a_write(tmp_path: Path) -> None:
    path = tmp_path / "nix.conf"
    path.write_text("cores = 1\n")
    os.setxattr(path, ACL, LIST)
    mode = path.stat().st_mode
    _files.write(str(path), b"cores = 2\n", _files.Ownership(), keep_acl=True)
    assert os.getxattr(path, ACL) == LIST
    assert path.stat().st_mode == mode
    assert path.read_text() == "cores = 2\n"


def test_file_system_without_attributes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOTSUP, "not supported")

    path = tmp_path / "nix.conf"
    path.write_text("cores = 1\n")
    monkeypatch.setattr(os, "listxattr", nothing)
    _files.write(str(path), b"cores = 2\n", _files.Ownership(), keep_acl=True)
    assert path.read_text() == "cores = 2\n"


class Libc:
    """Stands for macOS' libc."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[tuple[t.Any, ...]] = []

    def fcopyfile(self, *arguments: t.Any) -> int:
        self.calls.append(arguments)
        ctypes.set_errno(self.number)
        return -1 if self.number else 0


def test_macos_copies_acl_and_attributes_but_no_data(tmp_path: Path) -> None:
    path = tmp_path / "nix.conf"
    path.write_text("x")
    libc = Libc(0)
    _acl.copy_with_copyfile(libc, str(path), 9)
    ((_source, target, state, flags),) = libc.calls
    assert (target, state, flags) == (9, None, 0b101)


def test_failure_on_macos_is_an_error_unless_there_are_no_acls(tmp_path: Path) -> None:
    path = tmp_path / "nix.conf"
    path.write_text("x")
    _acl.copy_with_copyfile(Libc(errno.ENOTSUP), str(path), 9)
    with pytest.raises(OSError, match="nix.conf"):
        _acl.copy_with_copyfile(Libc(errno.EIO), str(path), 9)
