# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What was on the Mac before this collection touched it: written before the first change of each thing, read by teardown.

The record lies apart from the builder's own directory, so that it outlives a builder that is half there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_mark, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, StateError

DIRECTORY = "/var/db/nixmac.linux_builder"
VERSION = 1
ABSENT, FILE, LINK, FOLDER, OTHER, UNKNOWN = "absent", "file", "link", "directory", "other", "unknown"
GONE = "gone"  # among Entry.ours: this collection removed what was there
_LOCK_WAIT = 60.0  # seconds; whoever holds the lock only writes a file of a few kB
_OWN_HASHES = 16  # how many of its own contents an entry remembers; two of them belong to an interrupted change
_ORIGINAL_LIMIT = 1024 * 1024  # bytes; a larger file is described, not kept

ALIAS = "/etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf"
# Where every version left a mark that its teardown took away, and that nobody else would write.
RECORD = "/var/lib/linux-builder/builder.json"
NIX_CONFS = ("/etc/nix/nix.conf", "/etc/nix/nix.custom.conf")
_BLOCK = b"# BEGIN nixmac.linux_builder "
PARTS = ("adopt", "builder", "credentials", "delegation")


@dataclasses.dataclass(frozen=True)
class Before:
    """What lay at a path. state: absent, file, link, directory, other, or unknown (an older version made it).

    sha256: of a file, also the name of the copy in `originals`; empty for one too large to keep. target: of a link.
    """

    state: str
    sha256: str = ""
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0


@dataclasses.dataclass(frozen=True)
class Entry:
    """One path that this collection changes. ours: sha256 of what it wrote there (or GONE), the newest last.

    part: the role it belongs to. names: what a directory held before. lines: text that a shared file had for this
    collection's purpose before (the machines file).
    """

    part: str
    before: Before
    ours: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether it was there before, and is no longer only if this collection removed it."""
        return self.before.state not in (ABSENT, UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Contents:
    """The manifest as it was read. there: whether there is one. broken: why it cannot be read, '' if it can.

    legacy: parts that an older version, which kept none, had set up. adoption: what builder_adopt noted, {} for none.
    """

    there: bool = False
    broken: str = ""
    legacy: tuple[str, ...] = ()
    entries: t.Mapping[str, Entry] = dataclasses.field(default_factory=dict)
    adoption: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def owns(self, part: str) -> bool:
        """Whether a role of this collection has changed this Mac, and no teardown has undone it."""
        return part in self.legacy or any(entry.part == part for entry in self.entries.values())

    def spared(self, part: str) -> frozenset[str]:
        """Paths that a removal of `part` leaves alone: they were there before."""
        mine = {path: entry for path, entry in self.entries.items() if entry.part == part and entry.foreign}
        inside = {os.path.join(path, name) for path, entry in mine.items() for name in entry.names}
        disk = self.adoption.get("disk")
        adopted: set[str] = set()
        if part == "builder" and disk:
            # Aside, where the builder has had another disk since. What lies in its place then is this collection's.
            adopted = {_adopt_mark.original(disk) or str(disk["to"])}
            inside -= {str(disk["to"])}
        gone = {path for path, entry in self.entries.items() if GONE in entry.ours}
        return frozenset(({*mine} | inside | adopted) - gone)


def digest(content: bytes) -> str:
    """The sha256 by which contents are told apart."""
    return hashlib.sha256(content).hexdigest()


class Manifest:
    """The manifest on this Mac. directory, root: other places, for tests only."""

    def __init__(self, directory: str | None = None, root: str = "/") -> None:
        self.directory = directory or DIRECTORY
        self.path = os.path.join(self.directory, "manifest.json")
        self.originals = os.path.join(self.directory, "originals")
        self._root = root

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self) -> Contents:
        """What is recorded. A manifest that cannot be read is told in `broken` and taken for an older version's Mac."""
        content = _files.read(self.path).content
        if content is None:
            return Contents()
        try:
            return _parse(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            return dataclasses.replace(of_older_version(), broken=f"{type(exc).__name__}: {exc}")

    def original(self, sha256: str) -> bytes | None:
        """The kept content, None when it is lost or damaged."""
        try:
            content = _files.read(os.path.join(self.originals, sha256)).content
        except FileError:
            return None
        return content if content is not None and digest(content) == sha256 else None

    # -- writing -------------------------------------------------------------------------------------------------

    def claim(self, part: str, writes: t.Mapping[str, bytes | None], *, lines: t.Sequence[str] = ()) -> None:
        """Before a change: keep what is at each path, once, and note what is about to be written there.

        writes: path -> new content; None where only what was there is to be kept.
        """
        self.update(part, {path: None if content is None else digest(content) for path, content in writes.items()}, lines)

    def claim_tree(self, part: str, directory: str, others: t.Iterable[str] = ()) -> None:
        """Before a directory is made, or files come into it: keep which of it, and of the directories above, was there."""
        missing = []
        parent = os.path.dirname(directory)
        while parent != "/" and not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        self.update(part, dict.fromkeys((*missing, directory, *others)), ())

    def release(self, part: str, paths: t.Iterable[str]) -> None:
        """Before a removal: keep what is at each path, once, and note that this collection removes it."""
        self.update(part, dict.fromkeys(paths, GONE), ())

    def update(self, part: str, marks: t.Mapping[str, str | None], lines: t.Sequence[str]) -> None:
        """Enter paths: each with a mark for `Entry.ours`, or None."""
        with self.locked():
            known = self.read()
            entries = dict(known.entries)
            legacy = known.legacy if known.there else self._older_version()
            for path, mark in marks.items():
                entry = entries.get(path) or self._new(part, path, legacy, lines)
                entries[path] = entry if mark is None else _marked(entry, mark)
            if not known.there or known.broken or entries != known.entries:
                self.save(dataclasses.replace(known, there=True, broken="", legacy=legacy, entries=entries))

    def note_adoption(self, adoption: t.Mapping[str, t.Any]) -> None:
        """Write down how far an adoption is."""
        with self.locked():
            known = self.read()
            legacy = known.legacy if known.there else self._older_version()
            self.save(dataclasses.replace(known, there=True, broken="", legacy=legacy, adoption=adoption))

    def begin_legacy(self, directory: str) -> None:
        """Note that everything of an older version is being removed, so that a second attempt knows it too.

        directory: the builder's, which keep_data leaves to a later teardown.
        """
        with self.locked():
            if not self.read().there:
                self.save(of_older_version(directory))

    def save(self, contents: Contents) -> None:
        """Write the manifest; one that could not be read is kept beside it."""
        if self.read().broken:
            self.set_aside()
        _files.write(self.path, _dump(contents), _files.Ownership(mode=0o600))

    def set_aside(self) -> None:
        """Give a manifest that cannot be read another name."""
        os.replace(self.path, f"{self.path}.{int(time.time())}.broken")

    def drop(self) -> None:
        """Remove the manifest and what it kept; the directory goes if nothing else is in it."""
        _files.remove(self.path)
        for name in _files.names_in(self.originals):
            _files.remove(os.path.join(self.originals, name))
        for directory in (self.originals, self.directory):
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def _older_version(self) -> tuple[str, ...]:
        return PARTS if self.marks_of_older_version() else ()

    def marks_of_older_version(self) -> bool:
        """Whether a version without manifest was here: the record of its builder, or its block in the Nix configuration."""
        if os.path.lexists(self._inside(RECORD)):
            return True
        return any(_BLOCK in (_content(self._inside(path)) or b"") for path in NIX_CONFS)

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Hold the lock that makes read, change and write one step. StateError when somebody keeps it."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
            os.makedirs(self.originals, mode=0o700, exist_ok=True)
            descriptor = os.open(self.originals, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise FileError(f"{exc.filename}: cannot be used: {exc.strerror}. Run as root (become: true).") from exc
        try:
            _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)

    def _inside(self, path: str) -> str:
        return path if self._root == "/" else os.path.join(self._root, path.lstrip("/"))

    def _new(self, part: str, path: str, legacy: t.Container[str], lines: t.Sequence[str]) -> Entry:
        # What an older version left is not what was there before it. No older version adopted anything.
        if part in legacy and part != "adopt":
            return Entry(part, Before(UNKNOWN))
        before, content = look(path)
        if content is not None:
            _files.write(os.path.join(self.originals, before.sha256), content, _files.Ownership(mode=0o600))
        names = tuple(_files.names_in(path)) if before.state == FOLDER else ()
        return Entry(part, before, names=names, lines=tuple(lines))


def of_older_version(directory: str | None = None) -> Contents:
    """What stands for a Mac that an older version set up. directory: the builder's, where it is known."""
    entries = {ALIAS: Entry("delegation", Before(UNKNOWN))}
    if directory is not None:
        entries[directory] = Entry("builder", Before(UNKNOWN))
    return Contents(there=True, legacy=PARTS, entries=entries)


def look(path: str) -> tuple[Before, bytes | None]:
    """(what is at a path now, the content to keep or None)."""
    status = _files.lstat(path)
    if status is None:
        return Before(ABSENT), None
    kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: FOLDER}
    state = kinds.get(stat.S_IFMT(status.st_mode), OTHER)
    content = _files.read(path).content if state == FILE and status.st_size <= _ORIGINAL_LIMIT else None
    before = Before(
        state=state,
        sha256="" if content is None else digest(content),
        target=os.readlink(path) if state == LINK else "",
        uid=status.st_uid,
        gid=status.st_gid,
        mode=stat.S_IMODE(status.st_mode),
    )
    return before, content


def _marked(entry: Entry, mark: str) -> Entry:
    if entry.ours[-1:] == (mark,):
        return entry
    return dataclasses.replace(entry, ours=(*(known for known in entry.ours if known != mark), mark)[-_OWN_HASHES:])


def _lock(descriptor: int, path: str) -> None:
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StateError(f"{path}: another run has held it for {_LOCK_WAIT:g} s. Run again when it has ended.") from None
            time.sleep(0.1)


def _content(path: str) -> bytes | None:
    try:
        return _files.read(os.path.realpath(path)).content
    except FileError:
        return None


def _dump(contents: Contents) -> bytes:
    data = {
        "version": VERSION,
        "legacy": contents.legacy,
        "adoption": contents.adoption,
        "entries": {path: dataclasses.asdict(entry) for path, entry in contents.entries.items()},
    }
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _parse(data: t.Any) -> Contents:
    """Contents of the parsed JSON; ValueError, TypeError, KeyError or AttributeError when it is not what was written."""
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']!r}, known is {VERSION}")
    entries = {}
    for path, value in data["entries"].items():
        lists = {name: tuple(map(str, value[name])) for name in ("ours", "names", "lines")}
        entries[str(path)] = Entry(part=str(value["part"]), before=_parse_before(value["before"]), **lists)
    return Contents(True, "", tuple(map(str, data["legacy"])), entries, dict(data["adoption"]))


def _parse_before(value: t.Any) -> Before:
    numbers = {name: int(value[name]) for name in ("uid", "gid", "mode")}
    return Before(str(value["state"]), str(value["sha256"]), str(value["target"]), **numbers)
