# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A machines file, or the value of `builders`, as Nix cuts it; and the plan for one entry of it. Pure."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import complaint_about, same_uri
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document, Line, decode, encode

CREATED = "# Made by nixmac.linux_builder (Ansible), removed again with the last entry in it."
_TOML = re.compile(r"^\s*(\[\s*machines\b|version\s*=)")


Versions = tuple[tuple[int, int, int], tuple[int, int, int]]  # (upstream, Lix)

# Since when blanks and comments are cut before `;`. No Lix does it.
TIDY: Versions = ((2, 28, 2), (999, 0, 0))
# Since when a speed factor may have a fraction.
FRACTIONS: Versions = ((2, 20, 0), (2, 90, 0))


class Problem(t.NamedTuple):
    """Something in a file that stops builds. harmless: the versions of Nix and Lix since which it does not; None: always."""

    line: int
    text: str
    harmless: Versions | None = None


def pieces(text: str) -> list[str]:
    """The parts of one line (or of a `builders` value) between `;`, without comment and outer blanks."""
    return [piece.strip() for piece in text.split("#", 1)[0].split(";")]


def old_pieces(text: str) -> list[str]:
    """The same as Nix before 2.28.2 and Lix cut it: `;` first, even in comments; blanks before stay."""
    return [piece.split("#", 1)[0] for piece in text.split(";") if piece.split("#", 1)[0]]


def problems(content: bytes) -> list[Problem]:
    """What in a machines file makes Nix fail or see machines that nobody meant, with line numbers."""
    found: list[Problem] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        text = decode(raw)
        if _TOML.match(text):
            raise ConfigError(f"line {number}: this is Lix' TOML form of the machines file. Add the machine there by hand.")
        found += [Problem(number, words) for words in _wrong(text)]
        found += [
            Problem(number, "a speed factor with a fraction", FRACTIONS) for piece in _machines_in(text) if _fraction(piece)
        ]
        found += [Problem(number, words, TIDY) for words in _wrong_for_old(text)]
    return found


def _machines_in(text: str) -> t.Iterator[str]:
    return (piece for piece in pieces(text) if piece and not piece.startswith("@"))


def _wrong(text: str) -> t.Iterator[str]:
    for piece in _machines_in(text):
        words = complaint_about(piece.split())
        if words is not None:
            yield words


def _fraction(piece: str) -> bool:
    fields = piece.split()
    return len(fields) > 4 and fields[4] != "-" and not fields[4].isdigit()


def _wrong_for_old(text: str) -> t.Iterator[str]:
    if not text.strip("\n"):
        return
    comment = text.partition("#")[2]
    if ";" in comment and comment.split(";", 1)[1].strip():
        yield "what follows `;` in the comment is taken for a machine"
    for piece in old_pieces(text):
        if not piece.strip():
            yield "a line of blanks only (or a CR alone, or an indented comment)"
        elif piece[0].isspace() and piece.strip().startswith("@"):
            yield "a blank before `@` makes it a machine of that name"


def entries_of(content: bytes | None, uri: str) -> list[str]:
    """The entries for `uri` that a file has, as they are written."""
    rows = (pieces(_text(row)) for row in Document.of(content or b"").lines)
    return [piece for row in rows for piece in row if piece and same_uri(_entry_uri(piece) or "@", uri)]


def _entry_uri(piece: str) -> str:
    return piece.split()[0] if piece and not piece.startswith("@") else ""


def plan_file(content: bytes | None, uri: str, line: str | None) -> bytes | None:
    """The file with `line` as the one entry for `uri` (None: without any). All other bytes stay.

    An entry that is there keeps its place, also between `;`; more entries with the same URI go.
    A file that was made for an entry goes with it (None).
    """
    if content is None:
        return None if line is None else encode(f"{CREATED}\n{line}\n")
    document = Document.of(content)
    mine = [index for index, row in enumerate(document.lines) if _has(row, uri)]
    for index in reversed(mine[1:] if line is not None else mine):
        document = _without(document, index, uri)
    if line is not None:
        document = _with(document, mine[0], uri, line) if mine else _added(document, line)
    after = document.content
    return None if after.strip() == encode(CREATED) and line is None else after


def _text(row: Line) -> str:
    return decode(row.raw.rstrip(b"\r\n"))


def _has(row: Line, uri: str) -> bool:
    return any(same_uri(_entry_uri(piece), uri) for piece in pieces(_text(row)) if piece)


def _without(document: Document, index: int, uri: str) -> Document:
    row = document.lines[index]
    code, mark, comment = _text(row).partition("#")
    kept = [piece for piece in code.split(";") if not same_uri(_entry_uri(piece.strip()) or "@", uri)]
    if not any(piece.strip() for piece in kept) and not mark:
        return document.removed([index])
    return document.replaced(index, Line.of(encode(";".join(kept).strip(" \t") + mark + comment) + _end(row)))


def _with(document: Document, index: int, uri: str, line: str) -> Document:
    row = document.lines[index]
    code, mark, comment = _text(row).partition("#")
    if pieces(code) == [line] and not mark:
        return document if code == line else document.replaced(index, Line.of(encode(line) + _end(row)))
    new: list[str] = []
    for piece in code.split(";"):
        if not same_uri(_entry_uri(piece.strip()) or "@", uri):
            new.append(piece)
        elif line not in new:
            new.append(line)
    text = ";".join(new)
    if mark:
        text += ("" if text[-1:].isspace() else " ") + mark + comment
    if [piece.strip() for piece in code.split(";")] == [piece.strip() for piece in new]:
        return document
    return document.replaced(index, Line.of(encode(text) + _end(row)))


def _end(row: Line) -> bytes:
    return row.raw[len(row.raw.rstrip(b"\r\n")) :]


def _added(document: Document, line: str) -> Document:
    """With the entry as a line of its own, ended by LF alone whatever the file uses."""
    if not document.unterminated:
        return Document((*document.lines, Line.of(encode(line) + b"\n")))
    last = document.lines[-1]
    if last.raw.endswith(b"\r"):
        return Document((*document.lines[:-1], Line.of(encode(line) + b"\n"), last))
    return Document((*document.lines[:-1], Line.of(last.raw + b"\n"), Line.of(encode(line))))


def plan_value(value: str, uri: str, line: str | None) -> str:
    """The same for the value of `builders`: entries and `@file` between `;`, in their order, without blanks around."""
    new: list[str] = []
    for piece in pieces(value):
        if not same_uri(_entry_uri(piece) or "@", uri):
            new += [piece] if piece else []
        elif line is not None and line not in new:
            new.append(line)
    if line is not None and line not in new:
        new.append(line)
    return ";".join(new)


def reaches(value: str, path: str, read: t.Callable[[str], bytes | None], old: bool) -> bool:
    """Whether a `builders` value leads to the machines file `path`, by `@`, also through other files.

    read: content of a file, None when it is missing. old: read as Nix before 2.28.2 and Lix do.
    """
    wanted = os.path.realpath(path)
    seen: set[str] = set()
    waiting = [value]
    while waiting:
        for line in waiting.pop().split("\n"):
            for piece in old_pieces(line) if old else pieces(line):
                if not piece.startswith("@"):
                    continue
                target = os.path.realpath(piece[1:].strip())
                if target == wanted:
                    return True
                if target not in seen:
                    seen.add(target)
                    waiting.append(decode(read(target) or b""))
    return False


def reaching(value: str, path: str, read: t.Callable[[str], bytes | None], old: bool) -> str:
    """The value that reaches `path` and keeps every machine of `value`; no blank before `@`."""
    if reaches(value, path, read, old):
        return value
    tidy = ";".join(piece for piece in pieces(value) if piece)
    if tidy and reaches(tidy, path, read, True):
        return tidy
    return f"{tidy};@{path}" if tidy else f"@{path}"
