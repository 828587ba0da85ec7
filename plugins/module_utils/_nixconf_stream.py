# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The stream of assignments that Nix makes of a nix.conf and its includes, and what it amounts to."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document, Line
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import DEFERRED, LOST, Table

DEPTH_LIMIT = 32


@dataclasses.dataclass(frozen=True)
class Assignment:
    """One line that Nix applies: to which setting, whether it adds, with which elements, and where it stands."""

    name: str
    adds: bool
    values: tuple[str, ...]
    path: str
    index: int  # line number - 1
    line: Line

    @property
    def where(self) -> str:
        """`file:line` for a message."""
        return f"{self.path}:{self.index + 1}"


# How the stream gets at a file, by the name used: bytes, None when it is missing, False when Nix silently ignores it.
Files = t.Callable[[str], "bytes | t.Literal[False] | None"]


class Stream(t.NamedTuple):
    """Assignments in the order in which Nix applies them, and the files that were read, by the name used."""

    assignments: tuple[Assignment, ...]
    files: t.Mapping[str, bytes]
    missing: frozenset[str]
    table: Table

    def of(self, name: str) -> list[Assignment]:
        """All assignments of a setting (by any of its names)."""
        own = self.table.canonical(name)
        return [assignment for assignment in self.assignments if assignment.name == own]

    def live(self, name: str) -> list[Assignment]:
        """The assignments that make up a setting's value: its last plain one and what adds to it."""
        mine = self.of(name)
        last = max((index for index, assignment in enumerate(mine) if not assignment.adds), default=0)
        return mine[last:]

    def value(self, name: str) -> tuple[str, ...] | None:
        """A setting's tokens; the default's for a list that nothing sets, None for another one that nothing sets."""
        live = self.live(name)
        if not live and not self.table.is_list(name):
            return None
        parts = [assignment.values for assignment in live]
        if not live or live[0].adds:
            parts.insert(0, self.table.default(name))
        return self.table.combined(name, parts)


def include_path(including: str, target: str) -> str:
    """Where an include line leads: relative to the directory of the including file as it was named."""
    return os.path.normpath(os.path.join(os.path.dirname(including), target))


def read_stream(root: str, files: Files, table: Table) -> Stream:
    """Read `root` and its includes as the Mac's Nix does.

    ConfigError, with file and line, for what makes every Nix command fail: a malformed line, a missing `include`,
    includes that go round in a circle.
    """
    reader = _Reader(files, table)
    assignments = reader.read(root, ())
    return Stream(tuple(assignments), reader.seen, frozenset(reader.missing), table)


class _Reader:
    def __init__(self, files: Files, table: Table) -> None:
        self.files = files
        self.table = table
        self.seen: dict[str, bytes] = {}
        self.missing: set[str] = set()

    def read(self, path: str, parents: tuple[str, ...]) -> list[Assignment]:
        content = self.files(path)
        if content is None:
            self.missing.add(path)
        if content is None or content is False:
            return []
        self.seen[path] = content
        own: list[Assignment] = []
        included: list[Assignment] = []
        for index, line in enumerate(Document.of(content).lines):
            if line.kind == "bad":
                raise ConfigError(malformed(path, index, line), path=path, line=index + 1)
            if line.kind == "assignment":
                name, adds = self.table.read(line.name)
                own.append(Assignment(name, adds, line.values, path, index, line))
            elif line.kind == "include":
                into = included if self.table.order == DEFERRED else own
                into.extend(self.include(path, index, line, (*parents, path)))
        return included + own

    def include(self, path: str, index: int, line: Line, parents: tuple[str, ...]) -> list[Assignment]:
        target = include_path(path, line.words[1])
        where = f"{path}:{index + 1}"
        if target in parents or len(parents) >= DEPTH_LIMIT:
            raise ConfigError(
                f"{where}: includes {target} without end, which crashes every nix command. Remove that line.",
                path=path,
                line=index + 1,
            )
        found = self.read(target, parents)
        if target in self.missing and line.words[0] == "include":
            raise ConfigError(
                f"{where}: included file {target} does not exist, so every nix command fails. Create it, or write `!include`.",
                path=path,
                line=index + 1,
            )
        return [] if self.table.order == LOST else found


def malformed(path: str, index: int, line: Line) -> str:
    """The message for a line that Nix cannot read; the line itself may hold a secret and is not quoted."""
    is_include = line.words[0] in ("include", "!include")
    kind = "an include line needs exactly one path" if is_include else "it is not `name = value` (blanks around `=`)"
    return f"{path}:{index + 1}: {kind}, so every nix command fails. Correct or remove that line."
