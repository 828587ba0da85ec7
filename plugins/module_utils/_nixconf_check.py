# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The Mac's own Nix reads a candidate, with its includes, before it is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint, isolated, parse_settings
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document, Line
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import Stream, include_path
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import Table, elements

# Bytes that are no UTF-8 are fine for Nix, but it cannot print them as JSON.
_NOT_UTF8 = "json.exception.type_error.316"
_IGNORED = re.compile(r"warning: Ignoring setting '([^']+)' because experimental feature '([^']+)' is not enabled", re.IGNORECASE)


class Reading(t.NamedTuple):
    """What Nix made of a configuration: setting -> value (None: accepted, but not printable), and its warnings."""

    effective: dict[str, t.Any] | None
    stderr: str


@contextlib.contextmanager
def staged(root: str, stream: Stream) -> t.Iterator[tuple[str, dict[str, str]]]:
    """A directory with copies of `root` and every file it includes, and the map from copies to originals.

    Only include lines are rewritten; all other bytes are those of the candidate.
    """
    directory = os.path.realpath(tempfile.mkdtemp(prefix="nixmac-"))
    try:
        copies = {path: os.path.join(directory, f"{number}.conf") for number, path in enumerate(stream.files)}
        copies[root] = os.path.join(directory, "nix.conf")
        for path, copy in copies.items():
            with open(copy, "wb") as handle:
                handle.write(_rewritten(path, stream.files.get(path, b""), copies))
        yield directory, {copy: path for path, copy in copies.items()}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _rewritten(path: str, content: bytes, copies: t.Mapping[str, str]) -> bytes:
    lines = []
    for line in Document.of(content).lines:
        if line.kind == "include":
            target = include_path(path, line.words[1])
            line = Line.of(f"{line.words[0]} {copies.get(target, target)}\n".encode("utf-8", "surrogateescape"))
        lines.append(line.raw)
    return b"".join(lines)


def check(nix: Nix, root: str, stream: Stream) -> Reading:
    """Let Nix read a configuration. ConfigError, with Nix' words about the original files, when it rejects it."""
    with staged(root, stream) as (directory, originals):
        done = nix.show(directory)
        printable = _NOT_UTF8 not in done.stderr
        if not printable:
            done = nix.run(["--version"], timeout=60, env=isolated(directory), experimental=False)
        words = _originally(done, originals)
    if done.rc != 0:
        raise ConfigError(f"{root}: {nix.path} rejects the new configuration, nothing was installed. It says: {words}", path=root)
    if not printable:
        return Reading(None, done.stderr)
    try:
        # Defaults like `@/etc/nix/machines` are made from the directory's name.
        text = done.stdout.replace(directory, os.path.dirname(root))
        settings = parse_settings(done._replace(stdout=text), nix.path)
    except CommandError as exc:
        raise ConfigError(f"{root}: {exc.message}", path=root) from exc
    return Reading({name: setting.value for name, setting in settings.items()}, done.stderr)


def _originally(done: Completed, originals: t.Mapping[str, str]) -> str:
    words = complaint(done)
    for copy, path in originals.items():
        words = words.replace(copy, path)
    return words


def read_or_none(nix: Nix, root: str, stream: Stream) -> dict[str, t.Any] | None:
    """What Nix makes of a configuration, None when it makes nothing of it."""
    try:
        return check(nix, root, stream).effective
    except ConfigError:
        return None


def ignored(reading: Reading, names: t.Collection[str], table: Table) -> list[tuple[str, str]]:
    """(setting, experimental feature) for each of `names` that Nix ignores because the feature is off."""
    found = _IGNORED.findall(reading.stderr)
    return [(name, feature) for name, feature in found if table.read(name)[0] in names]


def disagreements(effective: t.Mapping[str, t.Any], stream: Stream, names: t.Iterable[str]) -> list[str]:
    """Settings for which Nix read something else than the stream says; those whose text Nix translates are left out."""
    return [name for name in names if name in effective and not _agrees(name, effective[name], stream)]


def _agrees(name: str, real: t.Any, stream: Stream) -> bool:
    tokens = stream.value(name)
    if tokens is None or real is None or name == "experimental-features":
        return True
    if isinstance(real, list) or (isinstance(real, dict) and all(isinstance(item, str) for item in real.values())):
        return set(tokens) == set(elements(real))
    if isinstance(real, dict):
        return {item.partition("=")[0].rstrip("?") for item in tokens} == set(real)
    if isinstance(real, bool):
        return (tokens == ("true",)) <= real and (tokens == ("false",)) <= (not real)
    if isinstance(real, int):
        return real == int(tokens[0]) if len(tokens) == 1 and tokens[0].isdigit() else True
    return str(real).startswith("/") or str(real) == " ".join(tokens)


def unexpected(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], names: t.Collection[str]) -> list[str]:
    """Settings that changed although nobody asked; features and the system type may well move others along."""
    if {"experimental-features", "system"} & set(names):
        return []
    return sorted(name for name in before if name not in names and before[name] != after.get(name))
