# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A key pair on disk: read under a lock, replaced as one unit, resolved after an interruption.

No file system renames two files at once. So a replacement goes through a journal, a directory of mode 0700 beside the pair
(`.<name>.pair`), which holds everything until it is certain:

    private.new, public.new   the new halves, with their final owner and mode (each absent if that half stays or goes)
    private.old, public.old   hard links to the old halves
    armed                     a JSON record: from here on an interruption is undone, back to the old pair
    done                      the same record, renamed: from here on an interruption is finished, on to the new pair

A failure that Python sees is undone on the spot. After a power cut or SIGKILL the next run does it, before it looks at
anything else; a run in check mode reads through the journal and says what would be done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import lstat, sync_directory
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import Access, Half, Pair

_LIMIT = 64 * 1024  # bytes; a 16384 bit RSA key takes 13 KiB
_LOCK_TIMEOUT = 60.0  # seconds
_BACKUP = re.compile(r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~$")

Mark = list[int]  # what tells a file from any other, as JSON keeps it; a number of an inode alone is soon given to another


class Disk:
    """The system calls that change something, one method each, so that tests can fail every single one."""

    def mkdir(self, path: str) -> None:
        os.mkdir(path, 0o700)

    def create(self, path: str, content: bytes, access: Access) -> None:
        """A new file that never has another owner or mode with content in it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchown(stream.fileno(), access.uid, access.gid)
            os.fchmod(stream.fileno(), access.mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def sync(self, directory: str) -> None:
        sync_directory(directory)

    def set_access(self, path: str, access: Access, identity: tuple[int, ...]) -> None:
        """chmod and chown the very file that was read."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _identity(os.fstat(descriptor)) != identity:
                raise OSError(errno.ESTALE, "was exchanged by somebody else meanwhile; run again")
            os.fchmod(descriptor, access.mode)
            os.fchown(descriptor, access.uid, access.gid)
        finally:
            os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _mark(path: str) -> Mark | None:
    status = lstat(path)
    return None if status is None else list(_identity(status))


@dataclasses.dataclass(frozen=True)
class Change:
    """What happens to one half: `content` None removes it. `old` is the half as it was read."""

    name: str  # "private" or "public"
    content: bytes | None = dataclasses.field(repr=False)
    access: Access
    old: Half
    backup: bool


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One half in the journal's record: the files before and after (None: no file), and the name its backup gets."""

    name: str
    old: Mark | None
    new: Mark | None
    backup: str | None


class PairStore:
    """The pair at `path` and `path`.pub. All errors are FileError."""

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or Disk()
        self._directory = os.path.dirname(path)
        self.journal = os.path.join(self._directory, f".{os.path.basename(path)}.pair")
        self._targets = {"private": path, "public": path + ".pub"}

    # -- reading -------------------------------------------------------------------------------------------------

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
        return Half(kind, content, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), _identity(status))

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

    # -- the journal ---------------------------------------------------------------------------------------------

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

    def _record(self, state: str) -> list[_Entry]:
        """The entries of the journal's record in that state, [] when it is not in that state."""
        try:
            with open(self._in_journal(state), "rb") as stream:
                return [_Entry(**entry) for entry in json.loads(stream.read())]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, TypeError) as exc:
            raise FileError(
                f"{self._in_journal(state)}: the record of an interrupted run cannot be read. The old pair is kept as "
                f"private.old and public.old in {self.journal}: put it back by hand, then remove that directory.",
                path=self.journal,
            ) from exc

    def _after_undo(self, entry: _Entry) -> str | None:
        """The file that holds a half once the record is undone; None: no file."""
        target, kept = self._targets[entry.name], self._in_journal(f"{entry.name}.old")
        now = _mark(target)
        if now not in (None, entry.old, entry.new):
            return target  # somebody put another file there since: it stays
        if entry.old is None:
            return None
        return target if now == entry.old or _mark(kept) is None else kept

    def recover(self) -> list[str]:
        """Resolve what an interrupted run left: undo (armed), finish (done), or just sweep. Returns backups it made."""
        with self._errors("the interrupted replacement cannot be resolved"):
            if not self._journal_there():
                return []
            backups = self._undo(self._record("armed"))
            backups += self._finish(self._record("done"))
            self._sweep()
            return backups

    def _undo(self, entries: list[_Entry]) -> list[str]:
        backups = []
        for entry in entries:
            target, kept = self._targets[entry.name], self._in_journal(f"{entry.name}.old")
            source = self._after_undo(entry)
            if source == kept:
                self._disk.rename(kept, target)
            elif source is None and _mark(target) is not None:
                self._disk.unlink(target)
            elif source == target and entry.old is not None and _mark(target) != entry.old:
                backups += self._keep(entry, self._backup_name(entry.name))
        if entries:
            self._disk.sync(self._directory)
            self._disk.unlink(self._in_journal("armed"))
        return backups

    def _finish(self, entries: list[_Entry]) -> list[str]:
        backups = []
        for entry in entries:
            if entry.backup is not None:
                backups += self._keep(entry, entry.backup)
        if entries:
            self._disk.sync(self._directory)
        return backups

    def _keep(self, entry: _Entry, backup: str) -> list[str]:
        """Give the old half its backup's name; a link first, because it cannot overwrite anything."""
        kept = self._in_journal(f"{entry.name}.old")
        if _mark(kept) is None:
            return [backup] if _mark(backup) == entry.old else []
        if _mark(backup) not in (None, entry.old):
            backup = self._backup_name(entry.name)
        if entry.name == "private":
            os.chmod(kept, stat.S_IMODE(os.lstat(kept).st_mode) & 0o600)
        if _mark(backup) is None:
            self._disk.link(kept, backup)
        self._disk.unlink(kept)
        return [backup]

    def _backup_name(self, name: str) -> str:
        """`<path>.<pid>.<date>~`, the form of Ansible's own backups; a name that is free."""
        stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime())
        number = os.getpid()
        while _mark(f"{self._targets[name]}.{number}.{stamp}") is not None:
            number += 1
        return f"{self._targets[name]}.{number}.{stamp}"

    def _sweep(self) -> None:
        """Remove the journal, of which nothing is needed any more."""
        for name in os.listdir(self.journal):
            self._disk.unlink(self._in_journal(name))
        self._disk.rmdir(self.journal)
        self._disk.sync(self._directory)

    # -- changing ------------------------------------------------------------------------------------------------

    def workspace(self) -> str:
        """Make the journal's directory (0700) and return the path at which a new pair may be generated in it."""
        with self._errors("cannot be written"):
            self._disk.mkdir(self.journal)
        return self._in_journal("generated")

    def take_generated(self) -> bytes:
        """The private half that was generated in the workspace; both files are gone afterwards."""
        path = self._in_journal("generated")
        with self._errors("the new key cannot be read"):
            content = self._read_half(path).content or b""
            for name in (path, path + ".pub"):
                if _mark(name) is not None:
                    self._disk.unlink(name)
            return content

    def set_access(self, name: str, half: Half, access: Access) -> None:
        """Set owner and mode of a half that stays."""
        with self._errors("owner or mode cannot be set"):
            self._disk.set_access(self._targets[name], access, half.identity)

    def replace(self, changes: t.Sequence[Change]) -> list[str]:
        """Carry out all changes or none of them, and return the backups. The workspace must exist."""
        try:
            with self._errors("cannot be replaced"):
                self._stage(changes)
                self._swap(changes)
        except BaseException:
            self.recover()
            raise
        with self._errors("the new pair is in place, but its journal cannot be closed"):
            backups = self._finish(self._record("done"))
            self._sweep()
            return backups

    def _stage(self, changes: t.Sequence[Change]) -> None:
        """Everything into the journal, up to the record that arms it."""
        entries = []
        for change in changes:
            new, kept = self._in_journal(f"{change.name}.new"), self._in_journal(f"{change.name}.old")
            if change.content is not None:
                self._disk.create(new, change.content, change.access)
            if change.old.there:
                self._disk.link(self._targets[change.name], kept)
            self._check_unchanged(change, kept)
            backup = self._backup_name(change.name) if change.backup else None
            entries.append(_Entry(change.name, _mark(kept), _mark(new), backup))
        record = json.dumps([dataclasses.asdict(entry) for entry in entries]).encode()
        self._disk.create(self._in_journal("record"), record, Access(os.geteuid(), os.getegid(), 0o600))
        self._disk.sync(self.journal)
        self._disk.sync(self._directory)
        self._disk.rename(self._in_journal("record"), self._in_journal("armed"))
        self._disk.sync(self.journal)

    def _check_unchanged(self, change: Change, kept: str) -> None:
        """The linked file has to be the one that the plan was made from."""
        status = lstat(kept if change.old.there else self._targets[change.name])
        if (() if status is None else _identity(status)) != change.old.identity:
            path = self._targets[change.name]
            raise FileError(f"{path}: was changed by somebody else meanwhile; nothing was written. Run again.", path=path)

    def _swap(self, changes: t.Sequence[Change]) -> None:
        for change in changes:
            target = self._targets[change.name]
            if change.content is not None:
                self._disk.rename(self._in_journal(f"{change.name}.new"), target)
            elif change.old.there:
                self._disk.unlink(target)
        self._disk.sync(self._directory)
        self._disk.rename(self._in_journal("armed"), self._in_journal("done"))
        self._disk.sync(self.journal)

    def remove_backups(self, paths: t.Sequence[str]) -> None:
        """Remove backups that `read` listed."""
        with self._errors("backups cannot be removed"):
            for path in paths:
                self._disk.unlink(path)
            if paths:
                self._disk.sync(self._directory)

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
