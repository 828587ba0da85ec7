# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Plans: from a file's bytes and a request to the new bytes, in place or in a marked block. Pure, no file is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_block
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_request import Request, same_value
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import Assignment, Files, Stream, read_stream
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import LOST, Table

CREATED = "# Made by nixmac.linux_builder (Ansible); removed again with the last setting in it."


class Site(t.NamedTuple):
    """The file to edit and the configuration that it is a part of.

    path: the file to edit, by the name under which `root` (a nix.conf, perhaps the same file) includes it.
    content: its bytes, None when it is missing.
    """

    root: str
    path: str
    content: bytes | None
    files: Files
    table: Table

    def stream(self, content: bytes | None) -> Stream:
        """The stream with `content` as the file's bytes."""

        def files(path: str) -> bytes | t.Literal[False] | None:
            return content if path == self.path else self.files(path)

        return read_stream(self.root, files, self.table)


class Plan(t.NamedTuple):
    """after: the new bytes (None: no file). overridden: lines elsewhere that set a managed setting and now lose."""

    before: bytes | None
    after: bytes | None
    stream_before: Stream
    stream_after: Stream
    overridden: tuple[Assignment, ...]

    @property
    def changed(self) -> bool:
        """Whether the file's bytes change."""
        return self.before != self.after


def plan(site: Site, request: Request, owner: str | None) -> Plan:
    """Plan a request. ConfigError when a line elsewhere wins (with file and line), or the file makes Nix fail."""
    before = site.stream(site.content)
    _is_read(site, before)
    after = _in_block(site, request, owner) if owner is not None else _in_place(site, request, before)
    stream = site.stream(after)
    for name in request.names:
        _check(site, request, owner, (before, stream), name)
    return Plan(site.content, after, before, stream, _overridden(request, stream))


def _is_read(site: Site, stream: Stream) -> None:
    """ConfigError unless Nix reads the file that is to be edited."""
    if site.path == site.root:
        return
    if site.path not in stream.files and site.path not in stream.missing:
        raise ConfigError(
            f"{site.path}: is not included by {site.root}, so Nix would never read it. Omit `path`.", path=site.path
        )
    if site.table.order == LOST:
        raise ConfigError(
            f"{site.path}: the Nix on this host (2.20, 2.21 or Lix before 2.91.2) does not read included files. "
            f"Upgrade it, or set `path: {site.root}`.",
            path=site.path,
        )


def _in_place(site: Site, request: Request, before: Stream) -> bytes | None:
    document = Document.of(site.content or b"")
    for name in sorted(request.absent):
        document = document.removed([index for index, line in document.assignments() if site.table.read(line.name)[0] == name])
    for name, gone in request.remove.items():
        document = _remove(site, document, name, gone)
    for name, values in request.settings.items():
        document = _set(site, document, name, values)
    for name, more in request.append.items():
        document = _append(site, document, name, more)
    content = document.content
    if site.content is None:
        return CREATED.encode() + b"\n" + content if content else None
    return None if content.strip() == CREATED.encode() and content != site.content else content


def _mine(site: Site, document: Document, name: str) -> tuple[Stream, list[Assignment]]:
    """The stream with this document, and the live lines of a setting that stand in it."""
    stream = site.stream(document.content)
    return stream, [line for line in stream.live(name) if line.path == site.path]


def _remove(site: Site, document: Document, name: str, gone: tuple[str, ...]) -> Document:
    _stream, mine = _mine(site, document, name)
    empty = []
    for line in {line.index: line for line in mine}.values():
        if not set(line.values) & set(gone):
            continue
        rest = line.line.without(gone)
        if line.adds and not rest.values:
            empty.append(line.index)
        document = document.replaced(line.index, rest)
    return document.removed(empty)


def _set(site: Site, document: Document, name: str, values: tuple[str, ...]) -> Document:
    stream, mine = _mine(site, document, name)
    if stream.of(name) and same_value(site.table, name, stream.value(name), values):
        return document
    if mine:
        last = mine[0] if not mine[0].adds else mine[-1]
        spelling = None if not last.adds else name
        edited = document.replaced(last.index, last.line.with_values(values, spelling))
        edited = edited.removed([line.index for line in mine if line.index != last.index])
        if _value_is(site, edited, name, values):
            return edited
        document = document.removed({line.index for line in mine if line.adds})
    return document.added(_text(name, values))


def _append(site: Site, document: Document, name: str, values: tuple[str, ...]) -> Document:
    stream, mine = _mine(site, document, name)
    effective = stream.value(name) or ()
    missing = [value for value in values if value not in effective]
    if not missing:
        return document
    for line in reversed(mine):
        # An empty `extra-` line would vanish with the elements when they are removed again.
        if line.values or not line.adds:
            edited = document.replaced(line.index, line.line.with_more(missing))
            if _has(site, edited, name, values):
                return edited
    if site.table.appendable(name):
        return document.added(_text(f"extra-{name}", missing))
    return document.added(_text(name, [*effective, *missing]))


def _value_is(site: Site, document: Document, name: str, values: tuple[str, ...]) -> bool:
    return same_value(site.table, name, site.stream(document.content).value(name), values)


def _has(site: Site, document: Document, name: str, values: t.Iterable[str]) -> bool:
    return set(values) <= set(site.stream(document.content).value(name) or ())


def _text(name: str, values: t.Sequence[str]) -> str:
    return " ".join([name, "=", *values])


def _in_block(site: Site, request: Request, owner: str) -> bytes | None:
    block = _nixconf_block.find(site.path, site.content, owner)
    outside = site.stream(_nixconf_block.without(site.content, block))
    entries = dict(block.entries(site.table)) if block is not None else {}
    present = list(entries.items())
    for name in request.absent:
        entries.pop(name, None)
    for name, gone in request.remove.items():
        _nixconf_block.take(entries, name, gone)
    for name, values in request.settings.items():
        if name not in entries or entries[name].adds or not same_value(site.table, name, entries[name].values, values):
            entries[name] = _nixconf_block.Entry(False, values)
    for name, more in request.append.items():
        _nixconf_block.add(entries, name, more, outside.value(name) or (), site.table)
    kept = site.content if list(entries.items()) == present else _nixconf_block.put(site.content, block, entries, owner)
    if _satisfied(site, request, kept):
        return kept
    return _nixconf_block.put(_nixconf_block.without(site.content, block), None, entries, owner, moved=block)


def _satisfied(site: Site, request: Request, content: bytes | None) -> bool:
    stream = site.stream(content)
    exact = all(same_value(site.table, name, stream.value(name), values) for name, values in request.settings.items())
    return exact and all(set(more) <= set(stream.value(name) or ()) for name, more in request.append.items())


def _check(site: Site, request: Request, owner: str | None, streams: tuple[Stream, Stream], name: str) -> None:
    """ConfigError when the stream does not have what was asked for, naming the line that wins."""
    before, stream = streams
    value = stream.value(name) or ()
    if name in request.settings and not same_value(site.table, name, stream.value(name), request.settings[name]):
        _refuse(site, stream, name, "has another value")
    if name in request.append:
        _check_append(site, request, before, stream, name)
    if owner is None and any(item in value for item in request.remove.get(name, ())):
        _still_there(site, stream, name)


def _check_append(site: Site, request: Request, before: Stream, stream: Stream, name: str) -> None:
    value = stream.value(name) or ()
    missing = [item for item in request.append[name] if item not in value]
    lost = [item for item in before.value(name) or () if item not in (*value, *request.remove.get(name, ()))]
    if lost or (missing and _other_value(site.table, name, missing, value)):
        where = " and ".join(line.where for line in before.live(name)) or "Nix' default"
        raise ConfigError(
            f"{site.path}: {name} has another value for a key to be appended ({where}). Give the whole map in `settings`.",
            setting=name,
        )
    if missing:
        _refuse(site, stream, name, "lacks elements that were asked for")


def _other_value(table: Table, name: str, missing: t.Iterable[str], value: t.Iterable[str]) -> bool:
    keys = {item.partition("=")[0] for item in value}
    return table.is_map(name) and any(item.partition("=")[0] in keys for item in missing)


def _still_there(site: Site, stream: Stream, name: str) -> t.NoReturn:
    others = [line.where for line in stream.live(name) if line.path != site.path]
    where = " and ".join(others) or "the default that Nix has built in"
    raise ConfigError(
        f"{site.path}: {name} keeps an element that shall go: it comes from {where}. "
        + ("Edit that file." if others else "Give the whole list with `settings`."),
        setting=name,
    )


def _refuse(site: Site, stream: Stream, name: str, what: str) -> t.NoReturn:
    winners = [line for line in stream.live(name) if line.path != site.path]
    if not winners:
        raise ConfigError(f"{site.path}: {name} {what} after the edit. Report this as a defect.", setting=name)
    winner = winners[0]
    raise ConfigError(
        f"{winner.where}: this line sets {name} after {site.path} is read, so nothing written there has an effect. "
        f"Remove that line, or manage {name} in {winner.path}.",
        setting=name,
        overridden_by={"path": winner.path, "line": winner.index + 1},
    )


def _overridden(request: Request, stream: Stream) -> tuple[Assignment, ...]:
    """Lines that set a managed setting too, and are dead."""
    dead = []
    for name in [*request.settings, *request.append]:
        live = {(line.path, line.index) for line in stream.live(name)}
        dead += [line for line in stream.of(name) if (line.path, line.index) not in live]
    return tuple(dead)
