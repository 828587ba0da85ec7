# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What has to happen to the guest's data disk, done while the VM is stopped; _builder_disk decides it.

A disk is never deleted before its successor is proven: `apply` moves it aside, the VM makes a new one at its next boot,
`settle` lets the old one go after a proven build, `roll_back` puts it back. disk.json tells at each moment how far that came.
"""

from __future__ import annotations

import contextlib
import os
import re

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_image, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_disk import (
    KEPT_NAME,
    Disk,
    DiskPlan,
    aside_name,
    free_name,
    mib,
    read,
    record_path,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import Record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner, find_program
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, FileError, StateError

LSOF = "/usr/sbin/lsof"
_RESIZE_TIMEOUT = 300.0  # seconds; a resize writes metadata only
_IN_SCRIPT = re.compile(rb"(/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+/bin)/qemu-(?:img|system-[0-9a-z_]+)\b")
_SCRIPT = re.compile(r"^run-[0-9A-Za-z._-]+-vm$")
_SCRIPT_LIMIT = 1024 * 1024  # bytes
# Where there may be one besides the builder's own.
OTHER_QEMU_IMG = ("/nix/var/nix/profiles/default/bin/qemu-img", "/usr/bin/qemu-img")


def apply(todo: DiskPlan, layout: Layout, runner: Runner) -> None:
    """Carry the plan out. Only while the VM is stopped: StateError when a process has the disk open.

    Killed at any point, the next read, plan and apply complete it: growing is repeated, and of a disk that was to be moved
    aside the record says so before it is moved.
    """
    if not todo.changed:
        return
    refuse_in_use(layout.disk, runner)
    if todo.action == "grow":
        _grow(todo, layout, runner)
    else:
        _move_aside(todo, layout)


def refuse_in_use(path: str, runner: Runner) -> None:
    """StateError when a process has `path` open, whoever started it: QEMU's own lock is not there on every system."""
    done = runner.run([LSOF, "-t", "--", path], timeout=60)
    pids = [word for word in done.stdout.split() if word.isdecimal()]
    if pids:
        raise StateError(f"{path}: is in use by process {', '.join(pids)}. Shut the VM down first, then run again.")


def _grow(todo: DiskPlan, layout: Layout, runner: Runner) -> None:
    size = todo.size or 0
    if todo.format == "raw":
        try:
            os.truncate(todo.path, size)
        except OSError as exc:
            raise FileError(f"{todo.path}: cannot be grown: {exc.strerror}.", path=todo.path) from exc
    else:
        argv = [qemu_img(layout.profile), "resize", "-f", "qcow2", todo.path, str(size)]
        done = runner.run(argv, timeout=_RESIZE_TIMEOUT)
        if done.rc != 0:
            raise CommandError(f"{todo.path}: cannot be grown to {mib(size)}: {done.words.rstrip('.')}. The disk is as it was.")
    grown = _builder_image.read_image(todo.path)
    if grown is None or grown.size != size:
        found = mib(grown.size) if grown else "nothing"
        raise StateError(f"{todo.path}: has {found} after growing, not {mib(size)}. Run again.")


def qemu_img(profile: str) -> str:
    """The qemu-img of the QEMU that the VM's start script names; CommandError when there is none."""
    found: list[str] = []
    directory = os.path.join(profile, "bin")
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)):
            if _SCRIPT.match(name):
                with open(os.path.join(directory, name), "rb") as stream:
                    found += [match.decode() for match in _IN_SCRIPT.findall(stream.read(_SCRIPT_LIMIT))]
    places = [f"{path}/qemu-img" for path in dict.fromkeys(found)]
    return find_program("qemu-img", *places, *OTHER_QEMU_IMG)


def _move_aside(todo: DiskPlan, layout: Layout) -> None:
    record = _finished(layout, read(layout))
    if record.kept and _files.lstat(layout.path(record.kept)) is not None:
        # An earlier change is not proven yet: the disk of that time is the one to keep, this one has held no proven builder.
        _write(layout, record._replace(pending=todo.pending))
        _files.remove(layout.disk)
        return
    name = todo.moved_to or KEPT_NAME
    if _files.lstat(layout.path(name)) is not None:  # its record is lost; whatever it is, it is not overwritten
        name = free_name(read(layout), aside_name())
    _write(layout, Record(record.identity, name, todo.action == "recreate", todo.pending))
    _rename(layout.disk, layout.path(name))


def _finished(layout: Layout, disk: Disk) -> Record:
    """The record, after what an interrupted `settle` left to do."""
    if not disk.record.proven:
        return disk.record
    if disk.kept and disk.record.discard:
        _files.remove(disk.kept)
    record = Record(disk.record.identity)
    _write(layout, record)
    return record


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as exc:
        raise FileError(f"{source}: cannot be renamed to {target}: {exc.strerror}.", path=source) from exc
    _files.sync_directory(os.path.dirname(target))


def _write(layout: Layout, record: Record) -> None:
    path = record_path(layout)
    _files.write(path, record.content(), _files.Ownership(mode=0o644))


def settle(layout: Layout, identity: str | None) -> tuple[str, ...]:
    """After the builder has proven itself: forget the disk of before, note the image. Returns what was removed, as paths.

    identity: of the image that serves. A disk without a record counts as made under it from now on.
    """
    disk = read(layout)
    record = disk.record
    if disk.image is None:
        return ()
    if record.kept and not disk.kept:  # killed before the disk was moved, or after it was put back
        _write(layout, Record(record.identity))
    elif record.kept:
        # Said before it is done: from here on the old disk is not put back any more.
        _write(layout, record._replace(identity=record.pending or record.identity, proven=True))
        _finished(layout, read(layout))
        return (disk.kept,) if disk.kept and record.discard else ()
    elif record.identity is None and identity is not None:
        _write(layout, Record(identity))
    return ()


def roll_back(layout: Layout, runner: Runner) -> bool:
    """Put the disk of before back, if a change of it is not proven yet; whether one was. Only while the VM is stopped."""
    disk = read(layout)
    record = disk.record
    if not record.kept:
        return False
    if record.proven or not disk.kept:
        _finished(layout, disk._replace(record=record._replace(proven=True)))
        return False
    refuse_in_use(layout.disk, runner)
    os.replace(disk.kept, layout.disk)
    _files.sync_directory(layout.working_directory)
    _write(layout, Record(record.identity))
    return True
