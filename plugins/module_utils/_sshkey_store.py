# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A key pair on disk: replaced as one unit, resolved after an interruption.

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

import dataclasses
import errno
import json
import os
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import lstat, sync_directory
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import Access, Half
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_read import Entry, PairReader, identity_of, mark


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
            if identity_of(os.fstat(descriptor)) != identity:
                raise OSError(errno.ESTALE, "was exchanged by somebody else meanwhile; run again")
            os.fchmod(descriptor, access.mode)
            os.fchown(descriptor, access.uid, access.gid)
        finally:
            os.close(descriptor)


@dataclasses.dataclass(frozen=True)
class Change:
    """What happens to one half: `content` None removes it. `old` is the half as it was read."""

    name: str  # "private" or "public"
    content: bytes | None = dataclasses.field(repr=False)
    access: Access
    old: Half
    backup: bool


class PairStore(PairReader):
    """The pair at `path` and `path`.pub. All errors are FileError."""

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        super().__init__(path)
        self._disk = disk or Disk()

    # -- resolving -----------------------------------------------------------------------------------------------

    def recover(self) -> list[str]:
        """Resolve what an interrupted run left: undo (armed), finish (done), or just sweep. Returns backups it made."""
        with self._errors("the interrupted replacement cannot be resolved"):
            if not self._journal_there():
                return []
            backups = self._undo(self._record("armed"))
            backups += self._finish(self._record("done"))
            self._sweep()
            return backups

    def _undo(self, entries: list[Entry]) -> list[str]:
        backups = []
        for entry in entries:
            target, kept = self._targets[entry.name], self._in_journal(f"{entry.name}.old")
            source = self._after_undo(entry)
            if source == kept:
                self._disk.rename(kept, target)
            elif source is None and mark(target) is not None:
                self._disk.unlink(target)
            elif source == target and entry.old is not None and mark(target) != entry.old:
                backups += self._keep(entry, self._backup_name(entry.name))
        if entries:
            self._disk.sync(self._directory)
            self._disk.unlink(self._in_journal("armed"))
        return backups

    def _finish(self, entries: list[Entry]) -> list[str]:
        backups = []
        for entry in entries:
            if entry.backup is not None:
                backups += self._keep(entry, entry.backup)
        if entries:
            self._disk.sync(self._directory)
        return backups

    def _keep(self, entry: Entry, backup: str) -> list[str]:
        """Give the old half its backup's name; a link first, because it cannot overwrite anything."""
        kept = self._in_journal(f"{entry.name}.old")
        if mark(kept) is None:
            return [backup] if mark(backup) == entry.old else []
        if mark(backup) not in (None, entry.old):
            backup = self._backup_name(entry.name)
        if entry.name == "private":
            os.chmod(kept, stat.S_IMODE(os.lstat(kept).st_mode) & 0o600)
        if mark(backup) is None:
            self._disk.link(kept, backup)
        self._disk.unlink(kept)
        return [backup]

    def _backup_name(self, name: str) -> str:
        """`<path>.<pid>.<date>~`, the form of Ansible's own backups; a name that is free."""
        stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime())
        number = os.getpid()
        while mark(f"{self._targets[name]}.{number}.{stamp}") is not None:
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
                if mark(name) is not None:
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
            entries.append(Entry(change.name, mark(kept), mark(new), backup))
        record = json.dumps([entry._asdict() for entry in entries]).encode()
        self._disk.create(self._in_journal("record"), record, Access(os.geteuid(), os.getegid(), 0o600))
        self._disk.sync(self.journal)
        self._disk.sync(self._directory)
        self._disk.rename(self._in_journal("record"), self._in_journal("armed"))
        self._disk.sync(self.journal)

    def _check_unchanged(self, change: Change, kept: str) -> None:
        """The linked file has to be the one that the plan was made from."""
        status = lstat(kept if change.old.there else self._targets[change.name])
        if (() if status is None else identity_of(status)) != change.old.identity:
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
