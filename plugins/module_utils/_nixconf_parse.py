# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""nix.conf as bytes that keep their shape: lines, their tokens as Nix cuts them, and edits of single lines.

Nix splits at LF only, drops everything from the first `#`, and cuts the rest at blanks, tabs and CR. There are
no quotes, no escapes and no continuation lines.
"""

from __future__ import annotations

import re
import typing as t

_SPLIT = re.compile(rb"[ \t\r\n]+")
_ASSIGNMENT = re.compile(rb"(?P<head>[ \t\r]*[^ \t\r]+[ \t\r]+=)(?P<gap>[ \t\r]*)(?P<value>.*?)(?P<tail>[ \t\r]*)\Z", re.DOTALL)


def decode(token: bytes) -> str:
    """Bytes of the file as text; what is no UTF-8 survives as surrogates."""
    return token.decode("utf-8", "surrogateescape")


def encode(token: str) -> bytes:
    """The reverse of `decode`."""
    return token.encode("utf-8", "surrogateescape")


def tokens_of(text: str) -> tuple[str, ...]:
    """A value as Nix cuts it (not at form feed, vertical tab or the blanks of Unicode)."""
    return tuple(token for token in re.split(r"[ \t\r\n]+", text) if token)


class Line(t.NamedTuple):
    """One line with its end. `words` are its tokens before any comment."""

    raw: bytes
    words: tuple[str, ...]

    @classmethod
    def of(cls, raw: bytes) -> Line:
        """Cut a line (with its end) as Nix does."""
        return cls(raw, tuple(decode(token) for token in _SPLIT.split(raw.split(b"#", 1)[0]) if token))

    @property
    def kind(self) -> str:
        """blank | include | assignment | bad"""
        if not self.words:
            return "blank"
        if self.words[0] in ("include", "!include"):
            return "include" if len(self.words) == 2 else "bad"
        return "assignment" if len(self.words) >= 2 and self.words[1] == "=" else "bad"

    @property
    def name(self) -> str:
        """Left side of an assignment."""
        return self.words[0]

    @property
    def values(self) -> tuple[str, ...]:
        """Right side of an assignment, as tokens."""
        return self.words[2:]

    @property
    def comment(self) -> str:
        """Text from the `#` on, without the line's end."""
        _code, mark, rest = self.raw.partition(b"#")
        return decode(mark + rest).rstrip("\r\n")

    def _parts(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """head (through `=`), gap, value, tail (blanks), rest (comment and line end) of an assignment."""
        end = b"\n" if self.raw.endswith(b"\n") else b""
        code, mark, comment = self.raw[: len(self.raw) - len(end)].partition(b"#")
        match = _ASSIGNMENT.match(code)
        if match is None:
            raise ValueError("not an assignment")
        return match["head"], match["gap"], match["value"], match["tail"], mark + comment + end

    def with_values(self, values: t.Sequence[str], name: str | None = None) -> Line:
        """The same line with another value (and name); indentation, blanks before the value, comment and end stay."""
        head, gap, old, tail, rest = self._parts()
        if name is not None:
            head = head.replace(encode(self.name), encode(name), 1)
        value = encode(" ".join(values))
        if not value:
            gap = b""
        elif not old:
            gap, tail = b" ", gap + tail
        return Line.of(head + gap + value + tail + rest)

    def with_more(self, values: t.Sequence[str]) -> Line:
        """The same line with elements added behind the value that it has."""
        head, gap, old, tail, rest = self._parts()
        more = b"".join(b" " + encode(value) for value in values)
        if not old:
            return Line.of(head + more + gap + tail + rest)
        return Line.of(head + gap + old + more + tail + rest)

    def without(self, values: t.Collection[str]) -> Line:
        """The same line without these elements; each goes with the blanks before it."""
        head, gap, old, tail, rest = self._parts()
        pieces = re.findall(rb"([ \t\r]*)([^ \t\r]+)", gap + old)
        kept = b"".join(blank + token for blank, token in pieces if decode(token) not in values)
        return Line.of(head + kept + tail + rest)


class Document(t.NamedTuple):
    """A file as lines; editing makes another Document, and lines that are not named stay byte for byte."""

    lines: tuple[Line, ...]

    @classmethod
    def of(cls, content: bytes) -> Document:
        """Cut a file's bytes into lines; the last one may have no end."""
        return cls(_lines(content))

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return b"".join(line.raw for line in self.lines)

    @property
    def eol(self) -> bytes:
        """The line end that the file uses: that of its last ended line."""
        for line in reversed(self.lines):
            if line.raw.endswith(b"\n"):
                return b"\r\n" if line.raw.endswith(b"\r\n") else b"\n"
        return b"\n"

    @property
    def unterminated(self) -> bool:
        """Whether the last line has no end."""
        return bool(self.lines) and not self.lines[-1].raw.endswith(b"\n")

    def assignments(self) -> t.Iterator[tuple[int, Line]]:
        """(index, line) of every assignment."""
        for index, line in enumerate(self.lines):
            if line.kind == "assignment":
                yield index, line

    def replaced(self, index: int, line: Line) -> Document:
        """With one line exchanged."""
        return Document(self.lines[:index] + (line,) + self.lines[index + 1 :])

    def removed(self, indices: t.Collection[int]) -> Document:
        """Without these lines. A file without final newline stays one, so that `added` is undone exactly."""
        lines = list(self.lines)
        for index in sorted(indices, reverse=True):
            last = index == len(lines) - 1
            ended = lines[index].raw.endswith(b"\n")
            del lines[index]
            if last and not ended and lines:
                raw = lines[-1].raw
                lines[-1] = Line.of(raw[: -2 if raw.endswith(b"\r\n") else -1])
        return Document(tuple(line for line in lines if line.raw))

    def added(self, text: str) -> Document:
        """With one more line at the end; a file whose last line has no end keeps that property."""
        line = encode(text)
        if not self.unterminated:
            return Document(self.lines + (Line.of(line + self.eol),))
        last = self.lines[-1]
        if last.raw.endswith(b"\r"):
            # Behind it, `\r` and our newline could not be told from one CRLF when the line is removed again.
            return Document(self.lines[:-1] + (Line.of(line + b"\n"), last))
        return Document(self.lines[:-1] + (Line.of(last.raw + self.eol), Line.of(line)))


def _lines(content: bytes) -> tuple[Line, ...]:
    pieces = content.split(b"\n")
    ended = [piece + b"\n" for piece in pieces[:-1]]
    return tuple(Line.of(raw) for raw in (ended + [pieces[-1]] if pieces[-1] else ended))
