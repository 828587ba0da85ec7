# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A key pair on disk as it is, read under a lock; that of an interrupted run as it will be resolved. Changes nothing.

What the journal of such a run holds is told in _sshkey_store.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import lstat
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import Half, Pair

_LIMIT = 64 * 1024  # bytes; a 16384 bit RSA key takes 13 KiB
_LOCK_TIMEOUT = 60.0  # seconds
_BACKUP = re.compile(r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~$")

Mark = list[int]  # what tells a file from any other, as JSON keeps it; a number of an inode alone is soon given to another


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def mark(path: str) -> Mark | None:
    status = lstat(path)
    return None if status is None else list(identity_of(status))


class Entry(t.NamedTuple):
    """One half in the journal's record: the files before and after (None: no file), and the name its backup gets."""

    name: str
    old: Mark | None
    new: Mark | None
    backup: str | None


class PairReader:
    """The pair at `path` and `path`.pub. All errors are FileError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.path.dirname(path)
        self.journal = os.path.join(self._directory, f".{os.path.basename(path)}.pair")
        self._targets = {"private": path, "public": path + ".pub"}

    @contextlib.contextmanager
    def locked(self, timeout: float = _LOCK_TIMEOUT) -> t.Iterator[None]:
        """Hold an flock on the directory, so that two runs on one pair follow each other. timeout: seconds."""
        if not os.path.isdir(self._directory):
            yield
            return
        with self._errors("cannot be locked"):
            descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            self._lock(descriptor, timeout)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as exc:
                if time.monotonic() >= deadline:
                    raise FileError(
                        f"{self._directory}: another program has held its lock for {timeout:g} s. "
                        "Wait for the other run to end, then run again.",
                        path=self._directory,
                    ) from exc
                time.sleep(0.05)
            except OSError as exc:
                raise FileError(f"{self._directory}: cannot be locked: {exc.strerror}.", path=self._directory) from exc

    def read(self) -> Pair:
        """Both halves, as they are or as an interrupted run's journal will leave them. Changes nothing."""
        with self._errors("cannot be read"):
            views = {name: self._read_half(path) for name, path in self._targets.items()}
            unfinished = self._journal_there()
            for entry in self._record("armed"):
                source = self._after_undo(entry)
                views[entry.name] = Half() if source is None else self._read_half(source)
            return Pair(views["private"], views["public"], unfinished, tuple(self._old_backups()))

    def _read_half(self, path: str) -> Half:
        status = lstat(path)
        if status is None:
            return Half()
        kinds = {stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFDIR: "directory"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
        content = None
        if kind == "file":
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as stream:
                status = os.fstat(descriptor)
                content = stream.read(_LIMIT + 1)
            if len(content) > _LIMIT:
                raise FileError(f"{path}: {status.st_size} bytes are no key. Move the file away or name another.", path=path)
        return Half(kind, content, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), identity_of(status))

    def _old_backups(self) -> list[str]:
        """Backups of either half that this module (or Ansible's copy) left."""
        if not os.path.isdir(self._directory):
            return []
        found = []
        for name in sorted(os.listdir(self._directory)):
            path = os.path.join(self._directory, name)
            stem = _BACKUP.sub("", path)
            if stem != path and stem in self._targets.values() and os.path.isfile(path) and not os.path.islink(path):
                found.append(path)
        return found

    def _journal_there(self) -> bool:
        """Whether an interrupted run left its journal; FileError if what is there cannot be ours."""
        status = lstat(self.journal)
        if status is None:
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise FileError(
                f"{self.journal}: is not the private directory that an interrupted run leaves. "
                "Look at what it is and move it away.",
                path=self.journal,
            )
        return True

    def _in_journal(self, name: str) -> str:
        return os.path.join(self.journal, name)

    def _record(self, state: str) -> list[Entry]:
        """The entries of the journal's record in that state, [] when it is not in that state."""
        try:
            with open(self._in_journal(state), "rb") as stream:
                return [Entry(**entry) for entry in json.loads(stream.read())]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, TypeError) as exc:
            raise FileError(
                f"{self._in_journal(state)}: the record of an interrupted run cannot be read. The old pair is kept as "
                f"private.old and public.old in {self.journal}: put it back by hand, then remove that directory.",
                path=self.journal,
            ) from exc

    def _after_undo(self, entry: Entry) -> str | None:
        """The file that holds a half once the record is undone; None: no file."""
        target, kept = self._targets[entry.name], self._in_journal(f"{entry.name}.old")
        now = mark(target)
        if now not in (None, entry.old, entry.new):
            return target  # somebody put another file there since: it stays
        if entry.old is None:
            return None
        return target if now == entry.old or mark(kept) is None else kept

    @contextlib.contextmanager
    def _errors(self, what: str) -> t.Iterator[None]:
        try:
            yield
        except OSError as exc:
            where = f" ({exc.filename})" if exc.filename else ""
            hint = {
                errno.ENOENT: "Create the directory first.",
                errno.EACCES: "Run as root (become: true).",
                errno.EPERM: "Run as root (become: true), and look for a file flag (ls -lO).",
                errno.ENOSPC: "Free some space, then run again.",
                errno.EROFS: "Name a path on a writable volume.",
            }.get(exc.errno or 0, "Run again once that is solved.")
            raise FileError(f"{self.path}: {what}: {exc.strerror}{where}. {hint}", path=self.path) from exc
