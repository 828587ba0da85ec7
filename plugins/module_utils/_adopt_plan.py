# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What taking over a builder that others set up means on this Mac: read, then decide. Nothing here changes anything."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_disk, _adopt_lines, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_layout as _layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import DISK, KEY, Found, Seeker
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import resumed as resumed_builder
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import parse_host_key
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import read_files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import ALIAS, Manifest

NIX_CONF = "/etc/nix/nix.conf"
MACHINES = "/etc/nix/machines"
SSH_DIRECTORY = "/etc/ssh/ssh_config.d"
_STATIC = "/etc/static"  # nix-darwin's link, there as long as it manages the Mac
_WIPED = "/var/lib/linux-builder"  # nix-darwin's activation empties this while its own builder is off


@dataclasses.dataclass(frozen=True)
class Options:
    """What was asked for. public_host_key: `type base64` that the old VM shows. Times in seconds."""

    working_directory: str
    label: str
    client_key: str
    alias: str
    public_host_key: str
    directory: str
    drain_timeout: float
    stop_timeout: float
    force: bool


@dataclasses.dataclass(frozen=True)
class Edit:
    """A shared file without the old builder's entry, as it was read and as it shall be."""

    snapshot: _files.Snapshot
    content: bytes


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is taken over, and what of it is still to do. None, or empty, where nothing is.

    move: the disk's record. keys: private and public half to install (source, target). loose: files of the old key directory
    that must not stay in the new working directory. ssh: files for the alias alone. edits: entries to take out.
    """

    found: Found
    resumed: bool
    move: dict[str, t.Any] | None
    keys: tuple[tuple[str, str], ...]
    loose: tuple[str, ...]
    ssh: tuple[str, ...]
    edits: tuple[Edit, ...]
    warnings: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, t.Any]:
        """For the manifest: what the way back and a resumption need."""
        found = dataclasses.asdict(self.found)
        kept = {name: found[name] for name in ("owner", "directory", "port", "plist", "label", "loaded")}
        return {**kept, "disk": self.move, "done": False}

    @property
    def actions(self) -> list[str]:
        """The steps in words, in their order."""
        found = self.found
        steps = [f"shut down the VM (process {found.pid})"] if found.pid is not None else []
        steps += [f"retire {found.plist}"] if found.plist is not None else []
        if self.move is not None:
            inplace = self.move["from"] == self.move["to"]
            steps.append(f"keep {self.move['to']}" if inplace else f"move {self.move['from']} to {self.move['to']}")
        steps += [f"install {target} from {source}" for source, target in self.keys]
        steps += [f"put {path} aside" for path in (*self.loose, *self.ssh)]
        return [*steps, *(f"take the old builder's entry out of {edit.snapshot.path}" for edit in self.edits)]


def options_from(params: t.Mapping[str, t.Any]) -> Options:
    """The module's options, checked. ConfigError for what cannot be."""
    for name in ("working_directory", "client_key"):
        if not os.path.isabs(params[name]):
            raise ConfigError(f"{name}: {params[name]!r} is not an absolute path. Write it from / on.")
    return Options(
        working_directory=os.path.normpath(params["working_directory"]),
        label=params["label"],
        client_key=os.path.normpath(params["client_key"]),
        alias=params["alias"],
        public_host_key=parse_host_key(params["public_host_key"]),
        directory=params.get("directory") or "",
        drain_timeout=float(params["drain_timeout"]),
        stop_timeout=float(params["stop_timeout"]),
        force=bool(params["force"]),
    )


def make_plan(options: Options, seeker: Seeker, manifest: Manifest) -> Plan | None:
    """What there is to take over; None for nothing. StateError where that is not clear, or cannot go well."""
    adoption = manifest.read().adoption
    if adoption and not adoption["done"]:
        found, move, resumed = resumed_builder(adoption, seeker.machines()), adoption["disk"], True
    else:
        chosen = _choose(seeker.find(options.directory))
        if chosen is None:
            return None
        found, resumed = chosen, False
        move = None if found.disk is None else _adopt_disk.describe(found.disk, os.path.join(options.working_directory, DISK))
    _refuse_wiped(options.working_directory)
    if move is not None and not resumed:
        _check_target(move)
    edits = [edit for edit in (_edit(path, found.port) for path in _registrations()) if edit is not None]
    ssh, warnings = _ssh_files(options.alias)
    loose = _loose(options.working_directory) if found.directory == options.working_directory else ()
    return Plan(found, resumed, move, _keys(options, found), loose, tuple(ssh), tuple(edits), tuple(warnings))


def _choose(candidates: list[Found]) -> Found | None:
    if len(candidates) > 1:
        names = "; ".join(found.words for found in candidates)
        raise StateError(f"More than one builder could be meant: {names}. Name its directory in linux_builder_adopt_directory.")
    return candidates[0] if candidates else None


def _refuse_wiped(working_directory: str) -> None:
    if os.path.islink(_STATIC) and os.path.realpath(working_directory) == os.path.realpath(_WIPED):
        raise StateError(
            f"{working_directory}: nix-darwin manages this Mac, and removes this directory at each activation while its own "
            "builder is off. Set linux_builder_working_directory to another directory."
        )


def _check_target(move: t.Mapping[str, t.Any]) -> None:
    if move["from"] == move["to"]:
        return
    if os.path.lexists(move["to"]):
        raise FileError(
            f"{move['to']}: is there already, beside the disk to adopt in {move['from']}. Move away the one that you do not want."
        )
    _adopt_disk.check_space(move["from"], move["to"])


def _keys(options: Options, found: Found) -> tuple[tuple[str, str], ...]:
    """Halves of the key pair that the old builder has and the Nix daemon's place lacks."""
    if _files.lstat(options.client_key) is not None:
        return ()
    source = os.path.join(found.directory, KEY)
    pairs = ((source, options.client_key), (f"{source}.pub", f"{options.client_key}.pub"))
    return tuple((old, new) for old, new in pairs if os.path.isfile(old) and _files.lstat(new) is None)


def _loose(working_directory: str) -> tuple[str, ...]:
    """The key pair in a directory that the guest sees: the private half has no business there."""
    source = os.path.join(working_directory, KEY)
    return tuple(path for path in (source, f"{source}.pub") if os.path.isfile(path) and os.path.isfile(source))


def _registrations() -> list[str]:
    """The files that can hold the old builder's entry, without those that nix-darwin makes."""
    paths = [*read_files(NIX_CONF), MACHINES]
    return [path for path in dict.fromkeys(paths) if os.path.isfile(path) and not _layout.nix_darwin_owns(path)]


def _edit(path: str, port: int | None) -> Edit | None:
    snapshot = _layout.read(path)
    take_out = _adopt_lines.take_out_of_machines if path == MACHINES else _adopt_lines.take_out_of_conf
    after = take_out(snapshot.content or b"", port)
    return None if after == snapshot.content else Edit(snapshot, after)


def _ssh_files(alias: str) -> tuple[list[str], list[str]]:
    """(files for this alias alone, which come before ours and would win; warnings about others that name it)."""
    mine, warnings = [], []
    names = sorted(os.listdir(SSH_DIRECTORY)) if os.path.isdir(SSH_DIRECTORY) else []
    for path in (*(os.path.join(SSH_DIRECTORY, name) for name in names), "/etc/ssh/ssh_config", "/var/root/.ssh/config"):
        hosts = _hosts(path)
        if path == ALIAS or alias not in hosts:
            continue
        if os.path.dirname(path) == SSH_DIRECTORY and set(hosts) == {alias} and not os.path.islink(path):
            mine.append(path)
        else:
            warnings.append(f"{path}: also has a `Host {alias}`, which ssh may take before this collection's. Remove it there.")
    return mine, warnings


def _hosts(path: str) -> list[str]:
    """The patterns of all `Host` lines; `Match` counts as a pattern of its own."""
    try:
        text = (_files.read(os.path.realpath(path)).content or b"").decode(errors="replace")
    except FileError:
        return []
    rows = [row for row in (line.replace("=", " ").split() for line in text.splitlines()) if row]
    return [word for row in rows if row[0].lower() in ("host", "match") for word in row[row[0].lower() == "host" :]]


def entries_to_give_back() -> list[Edit]:
    """The files in which an entry was taken out, as they are with it back."""
    snapshots = [_layout.read(path) for path in _registrations()]
    edits = [Edit(snapshot, _adopt_lines.put_back(snapshot.content or b"")) for snapshot in snapshots]
    return [edit for edit in edits if edit.content != edit.snapshot.content]
