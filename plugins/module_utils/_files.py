# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Files: read with a limit, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
import tempfile
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _acl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

SIZE_LIMIT = 4 * 1024 * 1024  # bytes; no file that this collection edits comes near it


class Ownership(t.NamedTuple):
    """Owner, group (names) and mode (permission bits) that a file shall have; None leaves it as it is."""

    owner: str | None = None
    group: str | None = None
    mode: int | None = None

    def ids(self) -> tuple[int, int]:
        """(uid, gid) for chown(2), -1 where nothing is asked for. FileError for an unknown name."""
        try:
            uid = -1 if self.owner is None else pwd.getpwnam(self.owner).pw_uid
        except KeyError as exc:
            raise FileError(f"user {self.owner!r} does not exist on this host. Create it or name another.") from exc
        try:
            gid = -1 if self.group is None else grp.getgrnam(self.group).gr_gid
        except KeyError as exc:
            raise FileError(f"group {self.group!r} does not exist on this host. Create it or name another.") from exc
        return uid, gid

    def differs(self, status: os.stat_result) -> bool:
        """Whether a file with this stat(2) result needs chown or chmod."""
        uid, gid = self.ids()
        return (
            (uid not in (-1, status.st_uid))
            or (gid not in (-1, status.st_gid))
            or (self.mode is not None and stat.S_IMODE(status.st_mode) != self.mode)
        )


class Snapshot(t.NamedTuple):
    """A file as it was read: bytes (None: absent) and the identity that tells a later change."""

    path: str
    content: bytes | None
    status: os.stat_result | None

    def unchanged(self) -> bool:
        """Whether the file on disk is still the one that was read (inode, size, mtime)."""
        now = lstat(self.path)
        if now is None or self.status is None:
            return now is None and self.status is None
        return _identity(now) == _identity(self.status)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def lstat(path: str) -> os.stat_result | None:
    """lstat(2), None when there is no such file. FileError when the path cannot be looked at."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise FileError(f"{path}: cannot be looked at: {exc.strerror}. Run as root (become: true).", path=path) from exc
    except ValueError as exc:
        raise FileError(f"{path!r}: is not a path: {exc}.") from exc


def read(path: str, limit: int = SIZE_LIMIT) -> Snapshot:
    """Read a regular file (symlinks are the caller's to resolve first).

    Raises FileError when it is no regular file, larger than `limit` bytes, or unreadable.
    """
    status = lstat(path)
    if status is None:
        return Snapshot(path, None, None)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: is not a regular file. Move it away or name another path.", path=path)
    if status.st_size > limit:
        raise FileError(f"{path}: {status.st_size} bytes, more than the {limit} that are read. Check it.", path=path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(limit + 1)
            status = os.fstat(stream.fileno())
    except OSError as exc:
        raise FileError(f"{path}: cannot be read: {exc.strerror}. Run as root (become: true).", path=path) from exc
    if len(content) > limit:
        raise FileError(f"{path}: grew past the {limit} bytes that are read. Check it.", path=path)
    return Snapshot(path, content, status)


def write(path: str, content: bytes, ownership: Ownership, *, expected: Snapshot | None = None, keep_acl: bool = False) -> None:
    """Replace `path` by `content`: temporary file beside it, owner and mode, fsync, rename, fsync of the directory.

    The old content survives a crash at any point. What `ownership` leaves open is taken from the old file
    (0600 and the caller where there is none). `expected`: refuse (FileError) if the file is no longer that one.
    `keep_acl`: the new file gets the old one's ACL and extended attributes (not for files with secrets).
    """
    directory = os.path.dirname(path) or "."
    descriptor, temporary = _temporary(directory, os.path.basename(path), path)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            old = lstat(path)
            if keep_acl and old is not None and stat.S_ISREG(old.st_mode):
                _acl.copy(path, stream.fileno())
            # Behind the ACL: its mask is a part of the mode.
            _set_ownership(stream.fileno(), ownership, old)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if expected is not None and not expected.unchanged():
            raise FileError(f"{path}: was changed by somebody else meanwhile; nothing was written. Run again.", path=path)
        late = _replace(temporary, path, expected)
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror}. The old file is untouched.", path=path) from exc
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_directory(directory)
    if late is not None:
        write(path, late, Ownership(), keep_acl=keep_acl)
        raise FileError(f"{path}: was changed by somebody else in this moment; that version was put back. Run again.", path=path)


def _replace(temporary: str, path: str, expected: Snapshot | None) -> bytes | None:
    """rename(2); returns what somebody wrote into the old file between the last look at it and the rename."""
    if expected is None or expected.status is None:
        os.replace(temporary, path)
        return None
    with open(path, "rb") as old:
        os.replace(temporary, path)
        return old.read() if _identity(os.fstat(old.fileno())) != _identity(expected.status) else None


def _temporary(directory: str, name: str, path: str) -> tuple[int, str]:
    try:
        return tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=directory)
    except OSError as exc:
        raise FileError(
            f"{path}: no file can be made in {directory}: {exc.strerror}. Create the directory, or run as root.", path=path
        ) from exc


def _set_ownership(descriptor: int, ownership: Ownership, old: os.stat_result | None) -> None:
    uid, gid = ownership.ids()
    mode = ownership.mode
    if old is not None and stat.S_ISREG(old.st_mode):
        uid = old.st_uid if uid == -1 else uid
        gid = old.st_gid if gid == -1 else gid
        mode = stat.S_IMODE(old.st_mode) if mode is None else mode
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, 0o600 if mode is None else mode)


def set_ownership(path: str, ownership: Ownership) -> None:
    """chown and chmod an existing file or directory, never through a symlink (FileError)."""
    uid, gid = ownership.ids()
    status = lstat(path)
    if status is not None and stat.S_ISLNK(status.st_mode):
        raise FileError(f"{path}: is a symbolic link. Name the file that it points to.", path=path)
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
        if ownership.mode is not None:
            os.chmod(path, ownership.mode)
    except OSError as exc:
        raise FileError(f"{path}: owner or mode cannot be set: {exc.strerror}. Run as root.", path=path) from exc


def sync_directory(directory: str) -> None:
    """fsync a directory, so that a rename or unlink in it survives a power cut. FileError when the disk refuses."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise FileError(f"{directory}: cannot be synced to disk: {exc.strerror}. Check the disk.", path=directory) from exc


def remove(path: str) -> bool:
    """Unlink a file (not a directory); False when there was none."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise FileError(f"{path}: cannot be removed: {exc.strerror}.", path=path) from exc
    sync_directory(os.path.dirname(path) or ".")
    return True


def back_up(snapshot: Snapshot) -> str:
    """Copy what was read to `<path>.<pid>.<date>~` (Ansible's form) with the same owner and mode; returns that path."""
    if snapshot.content is None or snapshot.status is None:
        raise FileError(f"{snapshot.path}: there is nothing to back up.", path=snapshot.path)
    path = f"{snapshot.path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~', time.localtime())}"
    try:
        _copy(path, snapshot.content, snapshot.status)
    except FileExistsError:
        raise FileError(f"{path}: is there already, and a backup overwrites nothing. Run again.", path=path) from None
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise FileError(f"{path}: the backup cannot be written: {exc.strerror}. Nothing was changed.", path=path) from exc
    return path


def _copy(path: str, content: bytes, status: os.stat_result) -> None:
    """A new file with this content and the owner, group and mode of `status`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def describe(status: os.stat_result | None) -> dict[str, t.Any]:
    """Owner, group and mode for a result or diff; names where the host knows them."""
    if status is None:
        return {"state": "absent"}
    return {
        "state": "directory" if stat.S_ISDIR(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "file",
        "owner": _name(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": _name(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
    }


def _name(lookup: t.Callable[[], str], number: int) -> str:
    try:
        return lookup()
    except KeyError:
        return str(number)


def text_of(path: str, limit: int = 1024 * 1024) -> bytes | None:
    """A file's first bytes; None when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError:
        return None


def names_in(directory: str) -> list[str]:
    """Names in a directory, sorted; none when it cannot be read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
