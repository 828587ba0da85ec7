# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The machines that a value of `builders` amounts to, through all its files, with the place where each stands. Pure."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import complaint_about, same_uri
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_file import old_pieces, pieces
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import decode

_FILES_LIMIT = 64


class Machine(t.NamedTuple):
    """One entry. where: `file:line`, or `builders` for one in nix.conf itself. host_key: field 8, or empty."""

    uri: str
    systems: tuple[str, ...]
    key: str
    max_jobs: int
    supported: tuple[str, ...]
    mandatory: tuple[str, ...]
    host_key: str
    where: str

    @property
    def features(self) -> tuple[str, ...]:
        """All features that a derivation sent to it may require."""
        return tuple(dict.fromkeys((*self.supported, *self.mandatory)))


class Machines(t.NamedTuple):
    """What `builders` amounts to. files: those that were read. problems: (where, what) of entries that stop every build."""

    found: tuple[Machine, ...]
    files: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]

    def of(self, uri: str) -> Machine | None:
        """The first machine with this URI."""
        return next((machine for machine in self.found if same_uri(machine.uri, uri)), None)


def read(value: str, content: t.Callable[[str], bytes | None], old: bool = False) -> Machines:
    """Follow a `builders` value. content: a file's bytes, None when it is missing. old: as Nix before 2.28.2 and Lix cut."""
    found: list[Machine] = []
    files: list[str] = []
    missing: list[str] = []
    problems: list[tuple[str, str]] = []
    waiting: list[tuple[str, str]] = [("builders", value)]
    while waiting:
        name, text = waiting.pop(0)
        for number, line in enumerate(text.split("\n"), 1):
            where = name if name == "builders" else f"{name}:{number}"
            for piece in _pieces(line, old):
                if piece.startswith("@"):
                    waiting += _followed(piece[1:].strip(), content, files, missing)
                else:
                    _take(piece, where, found, problems)
    return Machines(tuple(found), tuple(files), tuple(missing), tuple(problems))


def _pieces(line: str, old: bool) -> list[str]:
    return [piece for piece in (old_pieces(line) if old else pieces(line)) if piece.strip()]


def _followed(path: str, content: t.Callable[[str], bytes | None], files: list[str], missing: list[str]) -> list[tuple[str, str]]:
    target = os.path.realpath(path)
    if target in files or len(files) >= _FILES_LIMIT:
        return []
    data = content(path)
    if data is None:
        missing.append(path)
        return []
    files.append(target)
    return [(path, decode(data))]


def _take(piece: str, where: str, found: list[Machine], problems: list[tuple[str, str]]) -> None:
    words = piece.split()
    complaint = complaint_about(words)
    if complaint is not None:
        problems.append((where, complaint))
        return
    fields = ["" if word == "-" else word for word in [*words, *["-"] * 8][:8]]
    found.append(
        Machine(
            uri=fields[0],
            systems=_list(fields[1]),
            key=fields[2],
            max_jobs=int(fields[3] or 1),
            supported=_list(fields[5]),
            mandatory=_list(fields[6]),
            host_key=fields[7],
            where=where,
        )
    )


def _list(field: str) -> tuple[str, ...]:
    return tuple(word for word in field.split(",") if word)
