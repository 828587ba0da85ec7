# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One marked block at the end of nix.conf that holds everything of one owner; the rest is never touched."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document, encode
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import Table

# What the file was before the block came, kept in the marker so that the way back is exact.
_NO_NEWLINE = "[no newline above]"
_CREATED = "[file made for this block]"
_WORDS = "managed by Ansible, edit outside this block"


class Entry(t.NamedTuple):
    """One setting in the block: whether it adds (`extra-`) and its elements."""

    adds: bool
    values: tuple[str, ...]


class Block(t.NamedTuple):
    """A block that was found: the lines from its BEGIN to its END (both inclusive), and what its marker says."""

    start: int
    end: int
    document: Document
    path: str
    no_newline: bool
    created: bool

    def entries(self, table: Table) -> t.Iterator[tuple[str, Entry]]:
        """(setting, entry) of each line in the block. ConfigError for a line that this collection never writes."""
        for index in range(self.start + 1, self.end):
            line = self.document.lines[index]
            if line.kind == "blank":
                continue
            if line.kind != "assignment":
                where = f"{self.path}:{index + 1}"
                raise ConfigError(f"{where}: only `name = value` may stand in the block. Move that line out of it.")
            name, adds = table.read(line.name)
            yield name, Entry(adds, line.values)


def find(path: str, content: bytes | None, owner: str) -> Block | None:
    """The owner's block. ConfigError when its markers do not pair."""
    document = Document.of(content or b"")
    begin = re.compile(rf"^# BEGIN {re.escape(owner)}(?: .*)?$")
    starts = [index for index, line in enumerate(document.lines) if not line.words and begin.match(line.comment)]
    ends = [index for index, line in enumerate(document.lines) if not line.words and line.comment.rstrip() == f"# END {owner}"]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or starts[0] > ends[0]:
        lines = ", ".join(str(index + 1) for index in sorted(starts + ends))
        raise ConfigError(f"{path}: markers of {owner} in lines {lines} are no single pair of BEGIN and END. Repair them.")
    marker = document.lines[starts[0]].comment
    return Block(starts[0], ends[0], document, path, _NO_NEWLINE in marker, _CREATED in marker)


def without(content: bytes | None, block: Block | None) -> bytes | None:
    """The file without the block, as it was before the block came; None when it was made for the block."""
    if content is None or block is None:
        return content
    before = b"".join(line.raw for line in block.document.lines[: block.start])
    behind = b"".join(line.raw for line in block.document.lines[block.end + 1 :])
    if block.no_newline and not behind and before.endswith(b"\n"):
        before = before[:-1]
    return None if block.created and not (before + behind) else before + behind


def put(
    content: bytes | None, block: Block | None, entries: t.Mapping[str, Entry], owner: str, moved: Block | None = None
) -> bytes | None:
    """The file with these entries in its block: where the block is, else at the end; without any when there are none.

    moved: the block that was taken out of `content`, whose notes hold on.
    """
    if not entries:
        return without(content, block)
    if block is not None:
        text = _text(entries, owner, block.no_newline, block.created, _eol(block))
        lines = [line.raw for line in block.document.lines]
        return b"".join([*lines[: block.start], text, *lines[block.end + 1 :]])
    document = Document.of(content or b"")
    created = content is None or (moved is not None and moved.created)
    text = _text(entries, owner, document.unterminated, created, b"\n" if document.unterminated else document.eol)
    return document.content + (b"\n" if document.unterminated else b"") + text


def _eol(block: Block) -> bytes:
    return b"\r\n" if block.document.lines[block.start].raw.endswith(b"\r\n") else b"\n"


def _text(entries: t.Mapping[str, Entry], owner: str, no_newline: bool, created: bool, eol: bytes) -> bytes:
    notes = "".join(f" {note}" for note, true in ((_NO_NEWLINE, no_newline), (_CREATED, created)) if true)
    lines = [f"# BEGIN {owner} {_WORDS}{notes}"]
    lines += [" ".join([f"extra-{name}" if entry.adds else name, "=", *entry.values]) for name, entry in entries.items()]
    lines.append(f"# END {owner}")
    return b"".join(encode(line) + eol for line in lines)


def take(entries: dict[str, Entry], name: str, gone: t.Collection[str]) -> None:
    """Remove elements from an entry; an entry that only added goes when nothing is left."""
    entry = entries.get(name)
    if entry is None:
        return
    left = tuple(value for value in entry.values if value not in gone)
    if left or not entry.adds:
        entries[name] = Entry(entry.adds, left)
    else:
        del entries[name]


def add(entries: dict[str, Entry], name: str, more: t.Iterable[str], outside: tuple[str, ...], table: Table) -> None:
    """Make sure of elements: those that the file has outside the block need no entry."""
    entry = entries.get(name)
    if entry is None:
        missing = tuple(value for value in more if value not in outside)
        adds = table.appendable(name)
        if missing:
            entries[name] = Entry(adds, missing if adds else (*outside, *missing))
        return
    has = {*entry.values, *(outside if entry.adds else ())}
    entries[name] = Entry(entry.adds, (*entry.values, *(value for value in more if value not in has)))
