# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The old builder's entry in nix.conf or a machines file: turned into a comment that holds all that the way back needs.

The comment keeps the whole line (`;` and `%` quoted), so that no manifest is needed to undo it, and others may edit the
file meanwhile.
"""

from __future__ import annotations

import re

from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import host_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_file import pieces

TAKEN = b"# taken out by nixmac.linux_builder: "
CHANGED = b"# the next line was, before nixmac.linux_builder: "

_NAMES = ("localhost", "127.0.0.1", "linux-builder", "[::1]")
_BUILDERS = re.compile(r"^(\s*(?:extra-)?builders\s*=\s*)(.*)$")


def is_old_builder(entry: str, port: int | None) -> bool:
    """Whether a machines entry leads to the builder of the manual or of nix-darwin. port: the VM's, None when it does not run."""
    words = entry.split()
    if not words or not words[0].startswith(("ssh://", "ssh-ng://")):
        return False
    user, host, named = host_of(words[0])
    return user == "builder" and host in _NAMES and named in ("", "22", "31022", str(port or ""))


def take_out_of_machines(content: bytes, port: int | None) -> bytes:
    """A machines file without the old builder."""
    return b"".join(_machine_line(raw, port) for raw in content.splitlines(keepends=True))


def _machine_line(raw: bytes, port: int | None) -> bytes:
    text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
    return _without(raw, "", text, port)


def take_out_of_conf(content: bytes, port: int | None) -> bytes:
    """A nix.conf in which no `builders` line outside this collection's block names the old builder."""
    kept: list[bytes] = []
    inside = False
    for raw in content.splitlines(keepends=True):
        inside = (inside or raw.startswith(b"# BEGIN nixmac.linux_builder")) and not raw.startswith(b"# END nixmac.linux_builder")
        match = None if inside else _BUILDERS.match(raw.decode("utf-8", "surrogateescape").rstrip("\r\n"))
        kept.append(raw if match is None else _without(raw, match[1], match[2], port))
    return b"".join(kept)


def _without(raw: bytes, head: str, value: str, port: int | None) -> bytes:
    """The line without the old builder: itself, a comment, or a comment and what is left of it."""
    parts = _parts(value)
    left = [piece for piece in parts if not is_old_builder(piece, port)]
    if left == parts:
        return raw
    end = raw[len(raw.rstrip(b"\r\n")) :]
    if not left:
        return TAKEN + _quoted(raw)
    return CHANGED + _quoted(raw) + (b"" if end else b"\n") + (head + ";".join(left)).encode("utf-8", "surrogateescape") + end


def _parts(value: str) -> list[str]:
    return [piece for piece in pieces(value) if piece]


def _quoted(raw: bytes) -> bytes:
    # Nix before 2.28.2 and Lix read a machine behind a `;` even in a comment.
    return raw.replace(b"%", b"%25").replace(b";", b"%3B")


def _unquoted(raw: bytes) -> bytes:
    return raw.replace(b"%3B", b";").replace(b"%25", b"%")


def put_back(content: bytes) -> bytes:
    """The content as it was before, where the comments stand and nobody has changed the line that follows one."""
    kept: list[bytes] = []
    lines = content.splitlines(keepends=True)
    while lines:
        raw = lines.pop(0)
        if raw.startswith(TAKEN):
            kept.append(_unquoted(raw[len(TAKEN) :]))
        elif raw.startswith(CHANGED) and lines and _is_rest(lines[0], _unquoted(raw[len(CHANGED) :])):
            end = lines[0][len(lines[0].rstrip(b"\r\n")) :]
            kept.append(_unquoted(raw[len(CHANGED) :]).rstrip(b"\r\n") + end)
            lines.pop(0)
        else:
            kept.append(raw)
    return b"".join(kept)


def _is_rest(raw: bytes, original: bytes) -> bool:
    """Whether a line is what `_without` left of the original one."""
    rest, whole = (_value(line) for line in (raw, original))
    return rest == [piece for piece in whole if piece in rest] and len(rest) < len(whole)


def _value(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
    match = _BUILDERS.match(text)
    return _parts(match[2] if match else text)
