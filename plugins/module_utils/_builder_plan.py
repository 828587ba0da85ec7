# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What is there, what has to change: read the Mac, then decide. Nothing here changes anything."""

from __future__ import annotations

import json
import os
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_runner, _files, _newsyslog
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import read_image
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import PUBLIC_KEY_NAME
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import (
    RECORD_VERSION,
    Generation,
    read_generation,
    read_record,
    recorded_host_key,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

DEFAULT_PROGRAM = "run-nixos-vm"


class Current(t.NamedTuple):
    """The Mac as it was found. files: path -> what was read. directories: path -> lstat or None.

    record: builder.json as a dict, {} when absent or unreadable. public_key: the client's, None when absent.
    store_path_there: whether the record's store path exists. disk_mib: size of the data disk, None if absent.
    missing_parents: directories above the working directory and above newsyslog's entry that are not there, outermost first.
    """

    record: dict[str, t.Any]
    generation: Generation
    files: dict[str, _files.Snapshot]
    directories: dict[str, os.stat_result | None]
    public_key: bytes | None
    store_path_there: bool
    disk_mib: int | None
    missing_parents: tuple[str, ...]


class FileChange(t.NamedTuple):
    """A file to write. content: all of it. secret parts do not exist: only public halves are handled here."""

    path: str
    content: bytes
    mode: int
    before: _files.Snapshot


class Plan(t.NamedTuple):
    """What has to change. store_path None: not realised (check mode). switch: the profile gets that store path."""

    store_path: str | None
    switch: bool
    directories: tuple[tuple[str, int], ...]
    parents: tuple[str, ...]
    files: tuple[FileChange, ...]
    runner: str
    definition: dict[str, t.Any]
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether anything has to be done."""
        return bool(self.switch or self.directories or self.files)


class Staged(t.NamedTuple):
    """What state=staged finds. root: whether the store path still has to be rooted. before, after: the pinned host keys.

    previous: V(stock), V(per_mac) or None, whose host key the recorded builder shows.
    """

    store_path: str | None
    root: bool
    before: str | None
    after: str
    previous: str | None


# --- reading -----------------------------------------------------------------------------------------------------


def read_current(spec: Spec) -> Current:
    """Read everything that a plan needs, without starting a process."""
    layout = spec.layout
    paths = (
        layout.runner,
        layout.known_hosts,
        layout.record,
        _newsyslog.path(layout),
        os.path.join(layout.keys, PUBLIC_KEY_NAME),
    )
    record = read_record(layout)
    path = record.get("store_path")
    image = read_image(layout.disk)
    return Current(
        record=record,
        generation=read_generation(layout.profile),
        files={path: _files.read(path) for path in paths},
        directories={path: _directory(path) for path, _mode in layout.directories},
        public_key=_files.read(spec.client_key + ".pub", limit=65536).content,
        store_path_there=isinstance(path, str) and os.path.exists(path),
        disk_mib=image.size_mib if image else None,
        missing_parents=(*missing_parents(layout.working_directory), *missing_parents(_newsyslog.path(layout))),
    )


def _directory(path: str) -> os.stat_result | None:
    status = _files.lstat(path)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise FileError(f"{path}: is not a directory. Move it away, or name another working_directory.", path=path)
    return status


# --- deciding ----------------------------------------------------------------------------------------------------


def recorded_lock(spec: Spec, current: Current) -> str | None:
    """The lock to keep: the recorded one, unless something else is asked for or `update` is set."""
    if spec.update or current.record.get("requested") != spec.package:
        return None
    locked = current.record.get("locked")
    return locked if isinstance(locked, str) else None


def known_realisation(spec: Spec, current: Current, locked: str | None) -> Realised | None:
    """The recorded store path if it is what `locked` with these overrides gives and is still in the store."""
    record = current.record
    if locked is None or record.get("locked") != locked or record.get("overrides") != spec.overrides:
        return None
    if not spec.accept_any_address and record.get("accept_any_address"):
        return None  # what was accepted then has to be looked at again
    store_path, program = record.get("store_path"), record.get("program")
    if not current.store_path_there or not isinstance(store_path, str) or not isinstance(program, str):
        return None
    return Realised(locked, store_path, program)


def make_plan(spec: Spec, current: Current, realised: Realised | None, parents: tuple[str, ...] = ()) -> Plan:
    """Everything that has to change. realised None: the store path is not known before it is built (check mode).

    parents: directories above the working directory that an earlier run made and did not record.
    """
    layout = spec.layout
    store_path = realised.store_path if realised else None
    runner = _builder_runner.text(spec, realised.program if realised else DEFAULT_PROGRAM)
    parents = (*parents, *current.missing_parents)
    wanted = {
        layout.known_hosts: (spec.known_hosts_line.encode(), 0o644),
        layout.runner: (runner.encode(), 0o755),
        _newsyslog.path(layout): (_newsyslog.text(layout, spec.log_size_kib, spec.log_count).encode(), _newsyslog.MODE),
        layout.record: (_record(spec, current, realised, parents), 0o644),
    }
    if current.public_key is not None:
        wanted[os.path.join(layout.keys, PUBLIC_KEY_NAME)] = (current.public_key, 0o644)
    elif current.files[os.path.join(layout.keys, PUBLIC_KEY_NAME)].content is None:
        # Only in check mode, before the credentials are made.
        wanted[os.path.join(layout.keys, PUBLIC_KEY_NAME)] = (f"(copy of {spec.client_key}.pub)\n".encode(), 0o644)
    files = tuple(
        FileChange(path, content, mode, current.files[path])
        for path, (content, mode) in wanted.items()
        if _file_differs(current.files[path], content, mode)
    )
    switch = realised is None or not current.generation.valid or current.generation.store_path != store_path
    directories = tuple((path, mode) for path, mode in layout.directories if _directory_differs(current.directories[path], mode))
    before, after = _texts(current, store_path, switch, directories, files)
    return Plan(
        store_path=store_path,
        switch=switch,
        directories=directories,
        parents=parents,
        files=files,
        runner=runner,
        definition=_builder_runner.definition(spec, runner, store_path),
        before=before,
        after=after,
    )


def plan_stage(spec: Spec, current: Current, realised: Realised | None) -> Staged:
    """What to root ahead of the switch, and whether the switch changes the pinned host key."""
    layout = spec.layout
    store_path = realised.store_path if realised else None
    try:
        rooted = os.readlink(layout.staged) == store_path
    except OSError:
        rooted = False
    fields = (current.files[layout.known_hosts].content or b"").decode(errors="replace").split()
    return Staged(
        store_path=store_path,
        root=not rooted and (store_path is None or current.generation.store_path != store_path or not current.generation.valid),
        before=" ".join(fields[1:3]) or None,
        after=spec.host_key,
        previous=recorded_host_key(current.record),
    )


def recorded_where(record: t.Mapping[str, t.Any], spec: Spec) -> tuple[str, int]:
    """(address, port) of the recorded builder's ssh on this Mac; those asked for without a builder."""
    overrides = record.get("overrides")
    running = overrides if isinstance(overrides, dict) else spec.overrides
    return str(running.get("host_address", spec.host_address)), int(running.get("port", spec.port))


def root_owned(mode: int) -> _files.Ownership:
    """Owner and group 0, by the names that this host has for them (root:wheel on a Mac)."""
    return _files.Ownership(_files.describe(os.stat("/"))["owner"], _files.describe(os.stat("/"))["group"], mode)


def _record(spec: Spec, current: Current, realised: Realised | None, parents: tuple[str, ...]) -> bytes:
    kept = current.record.get("created_parents")
    record = {
        "version": RECORD_VERSION,
        "requested": spec.package,
        "locked": realised.locked if realised else None,
        "overrides": spec.overrides,
        "accept_any_address": spec.accept_any_address,
        "store_path": realised.store_path if realised else None,
        "program": realised.program if realised else None,
        "host_options": spec.host_options,
        "created_parents": sorted({*(kept if isinstance(kept, list) else ()), *parents}),
    }
    return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()


def missing_parents(path: str) -> tuple[str, ...]:
    """Directories above `path` that do not exist yet, outermost first."""
    missing: list[str] = []
    parent = os.path.dirname(path)
    while parent != "/" and _files.lstat(parent) is None:
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return tuple(missing)


def _file_differs(snapshot: _files.Snapshot, content: bytes, mode: int) -> bool:
    if snapshot.content != content or snapshot.status is None:
        return True
    return root_owned(mode).differs(snapshot.status)


def _directory_differs(status: os.stat_result | None, mode: int) -> bool:
    return status is None or root_owned(mode).differs(status)


def _texts(
    current: Current,
    store_path: str | None,
    switch: bool,
    directories: tuple[tuple[str, int], ...],
    files: tuple[FileChange, ...],
) -> tuple[str, str]:
    """Before and after for --diff: the profile, directories, and the files that change, whole."""
    before: list[str] = []
    after: list[str] = []
    if switch:
        before.append(f"store path: {current.generation.store_path or 'none'}\n")
        after.append(f"store path: {store_path or 'will be realised'}\n")
    for path, mode in directories:
        before.append(f"directory {path}: {_described(current.directories[path])}\n")
        after.append(f"directory {path}: {_wanted(mode)}\n")
    for change in files:
        before.append(f"file {change.path}: {_described(change.before.status)}\n{_body(change.before.content)}")
        after.append(f"file {change.path}: {_wanted(change.mode)}\n{_body(change.content)}")
    return "".join(before), "".join(after)


def _body(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


def _described(status: os.stat_result | None) -> str:
    facts = _files.describe(status)
    return "absent" if status is None else f"{facts['owner']}:{facts['group']} {facts['mode']}"


def _wanted(mode: int) -> str:
    ownership = root_owned(mode)
    return f"{ownership.owner}:{ownership.group} {mode:04o}"
