# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Moving a builder's data disk: by rename within a file system, else by a copy that is whole before the old one goes.

A move that was interrupted is completed by doing it again: there is always one whole disk, at one place or the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_mark, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, StateError

_RESERVE = 1024 * 1024 * 1024  # bytes that a copy leaves free
_BLOCK = 1024 * 1024  # bytes; a block of zeros becomes a hole


def describe(source: str, target: str) -> dict[str, t.Any]:
    """The record of a move, made before it: from, to, and the owner and mode to go back to."""
    status = os.stat(source)
    return {"from": source, "to": target, "uid": status.st_uid, "gid": status.st_gid, "mode": stat.S_IMODE(status.st_mode)}


def same_file_system(source: str, target: str) -> bool:
    """Whether a rename can do it; the target's directory may be yet to be made."""
    directory = os.path.dirname(target)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return os.stat(source).st_dev == os.stat(directory).st_dev


def check_space(source: str, target: str) -> None:
    """StateError where a copy would not fit."""
    if same_file_system(source, target):
        return
    directory = os.path.dirname(target)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    needed = os.stat(source).st_blocks * 512
    free = shutil.disk_usage(directory).free
    if free < needed + _RESERVE:
        raise StateError(
            f"{source}: its {needed >> 20} MiB do not fit beside {target}, on another file system with {free >> 20} MiB free "
            f"({_RESERVE >> 20} of them are to stay free). Free some space, or set linux_builder_working_directory to a "
            "directory on the disk's own file system."
        )


def move(source: str, target: str, uid: int, gid: int, mode: int) -> None:
    """Bring the disk to `target` with this owner and mode. Nothing to do where only the target is left."""
    if os.path.lexists(source) and not (os.path.exists(target) and os.path.samefile(source, target)):
        if os.path.lexists(target):
            raise FileError(f"{target}: is there already, and no disk is overwritten. Move one of it and {source} away.")
        try:
            _rename_or_copy(source, target)
        except OSError as exc:
            raise FileError(f"{source}: cannot be moved to {target}: {exc.strerror}. The disk is untouched; run again.") from exc
    os.chown(target, uid, gid)
    os.chmod(target, mode)


def _rename_or_copy(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        part = f"{target}.adopting"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        _copy(source, part)
        os.rename(part, target)
        _files.sync_directory(os.path.dirname(target))
        os.unlink(source)
    _files.sync_directory(os.path.dirname(target))


def _copy(source: str, target: str) -> None:
    """A copy with holes where the source has only zeros, on the disk before this returns."""
    with open(source, "rb") as old, open(target, "xb") as new:
        os.fchmod(new.fileno(), 0o600)
        while True:
            block = old.read(_BLOCK)
            if not block:
                break
            if block.count(0) == len(block):
                new.seek(len(block), os.SEEK_CUR)
            else:
                new.write(block)
        new.truncate(os.fstat(old.fileno()).st_size)
        new.flush()
        os.fsync(new.fileno())


def can_give_back(disk: t.Mapping[str, t.Any] | None, leaving: bool = False) -> bool:
    """Whether an adopted disk lies elsewhere than before, and its old place is free; or in its place with another owner or mode.

    leaving: the builder's own disk will have been removed by then (check mode).
    """
    path = _adopt_mark.original(disk)
    if disk is None or path is None:
        return False
    if path == disk["from"]:
        return any(describe(path, path)[name] != disk[name] for name in ("uid", "gid", "mode"))
    return not os.path.lexists(disk["from"]) or (leaving and disk["from"] == disk["to"])


def why_not(disk: t.Mapping[str, t.Any] | None, leaving: bool = False) -> tuple[str, str] | None:
    """(path, reason) of what stays in the adopted disk's place, or of that disk, where it cannot go back. None: it can."""
    path = _adopt_mark.original(disk)
    if not disk or path == disk["from"] or can_give_back(disk, leaving):
        return None
    if path is not None:
        return path, f"is the disk of the builder that was adopted, and its old place {disk['from']} is taken"
    if os.path.lexists(disk["to"]):
        return disk["to"], "is another file than the adopted disk, so it was not given back; remove it if you do not need it"
    return None


def give_back(disk: t.Mapping[str, t.Any]) -> None:
    """Bring an adopted disk to where it was, with the owner and mode that it had."""
    source = _adopt_mark.original(disk)
    if source is not None:
        os.makedirs(os.path.dirname(disk["from"]), exist_ok=True)
        move(source, disk["from"], disk["uid"], disk["gid"], disk["mode"])
