# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""nix_machine: read, plan, apply, and tell whether Nix gets to see the entry."""

from __future__ import annotations

import functools
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _nixconf
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _machines_file as _file
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_block as _block
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_layout as _layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as _table
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import Entry, check_uri, host_of, parse_entry
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, NixVersion, find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_edit import Site
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import tokens_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_request import Request
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import Files, read_stream
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome

MACHINES = "/etc/nix/machines"
DEFAULT_OWNER = "nixmac.linux_builder"


class Host:
    """The facts of this host that a machines file depends on; each is asked for when it matters, and once."""

    def __init__(self, nix: Nix | None = None, conf_dir: str = _layout.CONF_DIR) -> None:
        self._nix = nix
        self.conf_dir = conf_dir

    @functools.cached_property
    def nix(self) -> Nix | None:
        """The host's Nix, None when there is none."""
        try:
            return self._nix or find_nix(Runner())
        except CommandError:
            return None

    @functools.cached_property
    def version(self) -> NixVersion | None:
        """Version of the host's Nix, None when there is none."""
        return self.nix.version() if self.nix is not None else None

    def before(self, upstream: tuple[int, int, int], lix: tuple[int, int, int]) -> bool:
        """Whether the host's Nix is older than these versions (Determinate counts by the Nix in it); True without Nix."""
        if self.version is None:
            return True
        return self.version.numbers < (lix if self.version.variant == "lix" else upstream)

    @property
    def old_parser(self) -> bool:
        """Whether machines are cut the way of Nix before 2.28.2 and of every Lix."""
        return self.before(*_file.TIDY)

    @functools.cached_property
    def builders(self) -> str:
        """The effective value of `builders` as a new process reads it from nix.conf."""
        return self._builders(_layout.reader)

    def builders_without(self, owner: str) -> str:
        """The same, as if no file had a block of this owner."""

        def read(path: str) -> t.Any:
            content = _layout.reader(path)
            return _block.without(content, _block.find(path, content, owner)) if content else content

        return self._builders(read)

    def _builders(self, files: Files) -> str:
        root = os.path.join(self.conf_dir, "nix.conf")
        default = f"@{self.conf_dir}/machines"

        def read(order: str) -> str:
            value = read_stream(root, files, _table.Table({}, {}, order=order)).value("builders")
            return default if value is None else " ".join(value)

        # Most often it does not matter when includes are read; only where it does, Nix has to tell.
        values = {read(order) for order in (_table.INLINE, _table.DEFERRED, _table.LOST)}
        return read(_table.INLINE if len(values) == 1 else self.order)

    @functools.cached_property
    def order(self) -> str:
        """When the host's Nix reads includes."""
        return _table.INLINE if self.nix is None else _table.ask(self.nix).order

    def reached(self, value: str, path: str) -> bool:
        """Whether `builders = value` leads to the machines file."""
        new, old = (_file.reaches(value, path, _content, is_old) for is_old in (False, True))
        return new if new == old else (old if self.old_parser else new)

    def reaching(self, value: str, path: str) -> str:
        """The value that leads there, see `_machines_file.reaching`."""
        return value if self.reached(value, path) else _file.reaching(value, path, _content, True)


def _content(path: str) -> bytes | None:
    return _layout.read(path).content


def run(params: t.Mapping[str, t.Any], check_mode: bool, host: Host | None = None) -> Outcome:
    """Carry out one task of nix_machine. LinuxBuilderError names file and line, or the option."""
    host = host or Host()
    uri = check_uri(str(params["uri"]))
    entry = parse_entry(params) if params["state"] == "present" else None
    warnings: list[str] = []
    if entry is not None:
        warnings = _remarks(entry, host)
    done = (_run_inline if params.get("inline") else _run_file)(params, check_mode, host, uri, entry)
    done.warnings[:0] = warnings
    return done


def _remarks(entry: Entry, host: Host) -> list[str]:
    user, name, port = host_of(entry.uri)
    if entry.fractional_speed and host.before(*_file.FRACTIONS):
        raise ConfigError("speed_factor: Nix before 2.20 reads whole numbers only, and fails at this. Give a whole number.")
    if port and host.before((2, 31, 0), (2, 93, 0)):
        raise ConfigError(
            f"uri: {entry.uri}: this Nix takes `{name}:{port}` for a host name (ports are read since Nix 2.31 and Lix 2.93). "
            "Use an alias with that port in /etc/ssh/ssh_config.d."
        )
    if name == "localhost" and not user:
        raise ConfigError(f"uri: {entry.uri}: Nix builds locally for `localhost` without a user. Write builder@localhost.")
    if name == "localhost":
        return [f"{entry.uri}: Nix 2.31.0 to 2.31.2 builds locally for this host; an alias in /etc/ssh/ssh_config.d is safe."]
    return []


def _run_file(params: t.Mapping[str, t.Any], check_mode: bool, host: Host, uri: str, entry: Entry | None) -> Outcome:
    path = params.get("path") or MACHINES
    if not os.path.isabs(path):
        raise ConfigError(f"path: {path!r} is not absolute.")
    if _layout.nix_darwin_owns(path):
        raise ConfigError(
            f"{path}: is made by nix-darwin, which would undo any edit. Set nix.buildMachines in its configuration.", path=path
        )
    snapshot = _layout.read(path)
    line = None if entry is None else entry.line
    manifest = Manifest() if params.get("manifest") else None
    if manifest is not None and entry is None:
        # What the entry was before the first run is put back in its place.
        line = _line_before(manifest, path)
    warnings = _judge(path, snapshot.content, host, refuse=entry is not None, uri=uri)
    after = _file.plan_file(snapshot.content, uri, line)
    changed = after != snapshot.content
    if manifest is not None and entry is not None and not check_mode:
        manifest.claim("delegation", {path: None}, lines=_file.entries_of(snapshot.content, uri))
    if changed and not check_mode:
        _apply(snapshot, after)
    outside = host.builders_without(params.get("owner") or DEFAULT_OWNER)
    result = {
        "path": path,
        "entry": None if entry is None else entry.line,
        "reached": host.reached(host.builders, path),
        "builders": host.builders,
        "builders_needed": not host.reached(outside, path),
        "builders_reaching": host.reaching(outside, path),
        "restart_required": False,
    }
    texts = [(content or b"").decode("utf-8", "replace") for content in (snapshot.content, after)]
    return Outcome(changed, result, texts[0], texts[1], snapshot.path, warnings)


def _line_before(manifest: Manifest, path: str) -> str | None:
    known = manifest.read().entries.get(path)
    return ";".join(known.lines) if known is not None and known.lines else None


def _judge(path: str, content: bytes | None, host: Host, refuse: bool, uri: str) -> list[str]:
    """Report what in the file stops builds: ConfigError with the first line number, or warnings where it is not fatal here."""
    try:
        # Our own old entry is about to be replaced.
        found = _file.problems(_file.plan_file(content, uri, None) or b"")
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.message}", path=path) from exc
    warnings = []
    for problem in found:
        text = f"{path}:{problem.line}: {problem.text}"
        if problem.harmless is not None and not host.before(*problem.harmless):
            warnings.append(f"{text}, which stops builds on older Nix and on Lix. Correct that line.")
        elif refuse:
            text += ", which breaks every build on this host. Correct or remove that line."
            raise ConfigError(text, path=path, line=problem.line)
        else:
            warnings.append(f"{text}, which breaks every build on this host. Correct or remove that line.")
    return warnings


def _apply(snapshot: _files.Snapshot, after: bytes | None) -> None:
    if after is not None:
        _files.write(snapshot.path, after, _nixconf.new_ownership(snapshot), expected=snapshot, keep_acl=True)
    elif not snapshot.unchanged():
        raise FileError(
            f"{snapshot.path}: was changed by somebody else meanwhile; it was not removed. Run again.", path=snapshot.path
        )
    else:
        _files.remove(snapshot.path)


def _run_inline(params: t.Mapping[str, t.Any], check_mode: bool, host: Host, uri: str, entry: Entry | None) -> Outcome:
    line = None if entry is None else entry.line

    def request_of(site: Site, owner: str | None) -> Request:
        """Ask for `builders` with the entry; without it, for the value that stands outside the block."""
        default = f"@{os.path.dirname(site.root)}/machines"
        outside = _value(
            site, _block.without(site.content, _block.find(site.path, site.content, owner or DEFAULT_OWNER)), default
        )
        new = _file.plan_value(_value(site, site.content, default), uri, line)
        if line is None and ";".join(piece for piece in _file.pieces(outside) if piece) == new:
            return Request({}, {}, frozenset({"builders"}), {})
        if new == _value(site, site.content, default):
            return Request({}, {}, frozenset(), {})
        return Request({"builders": tokens_of(new)}, {}, frozenset(), {})

    options = {"path": params.get("path"), "owner": params.get("owner") or DEFAULT_OWNER, "validate": True}
    done = _nixconf.run(options, check_mode, host.nix, request_of)
    done.result.update(entry=line, reached=True, builders_needed=False)
    value = done.result.pop("effective").get("builders")
    done.result["builders"] = done.result["builders_reaching"] = host.builders if value is None else value
    return done


def _value(site: Site, content: bytes | None, default: str) -> str:
    value = site.stream(content).value("builders")
    return default if value is None else " ".join(value)
