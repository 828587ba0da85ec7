# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The guest's data disk: what is there, and what has to happen to it. Nothing here changes anything; _builder_disk_apply does."""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_image, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import MIB, Image, Record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import DISK_NAME, Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, StateError

RECORD_NAME = "disk.json"
KEPT_NAME = DISK_NAME + ".before"  # the disk from before a recreation that is not proven yet
RESERVE = 1024 * MIB  # bytes of the Mac that a larger disk must leave free

_ASIDE = re.compile(re.escape(DISK_NAME) + r"\.aside-[0-9]{8}T[0-9]{6}Z(-[0-9]+)?$")


class Disk(t.NamedTuple):
    """The data disk as it was found. image: None when there is none. kept: of the record, and really there.

    asides: disks that were moved aside and that nothing but the user removes, as paths.
    """

    path: str
    image: Image | None
    record: Record
    kept: str | None = None
    asides: tuple[str, ...] = ()

    @property
    def identity(self) -> str | None:
        """The image that this disk was made under, or will be at the next boot; None: not known."""
        return self.record.pending if self.kept and not self.record.proven else self.record.identity


class DiskPlan(t.NamedTuple):
    """What happens to the disk. size: bytes that it gets (grow only). moved_to: file name of the old disk.

    pending: identity of the image that the new disk is made under. reason: the words for --diff and the result.
    """

    action: str  # none, grow, recreate or aside
    path: str
    reason: str = ""
    size: int | None = None
    moved_to: str | None = None
    pending: str | None = None
    format: str = "qcow2"

    @property
    def changed(self) -> bool:
        """Whether the disk is touched."""
        return self.action != "none"

    def describe(self) -> str:
        """One line for --diff; empty when nothing happens."""
        return f"{self.path}: {self.reason}\n" if self.changed else ""


def record_path(layout: Layout) -> str:
    """Where the disk's record lies."""
    return layout.path(RECORD_NAME)


def read(layout: Layout) -> Disk:
    """Read the disk and what is recorded of it, without starting a process."""
    record = _builder_image.read_record(record_path(layout))
    kept = layout.path(record.kept) if record.kept else None
    return Disk(
        path=layout.disk,
        image=_builder_image.read_image(layout.disk),
        record=record,
        kept=kept if kept and _files.lstat(kept) is not None else None,
        asides=tuple(layout.path(name) for name in names(layout) if _ASIDE.match(name)),
    )


def names(layout: Layout) -> list[str]:
    """Names in the working directory that belong to the data disk: itself, its record, and disks kept or moved aside."""
    try:
        entries = sorted(os.listdir(layout.working_directory))
    except OSError:
        return []
    return [name for name in entries if name in (DISK_NAME, RECORD_NAME, KEPT_NAME) or _ASIDE.match(name)]


def is_former(name: str) -> bool:
    """Whether a name in the working directory is that of a disk from before the present one."""
    return name == KEPT_NAME or _ASIDE.match(name) is not None


def free_bytes(path: str) -> int:
    """Bytes that root may still write on the file system of `path`."""
    try:
        status = os.statvfs(os.path.dirname(path))
    except OSError as exc:
        raise FileError(f"{path}: its file system cannot be looked at: {exc.strerror}.", path=path) from exc
    return status.f_bavail * status.f_frsize


# --- deciding ----------------------------------------------------------------------------------------------------


def plan(spec: Spec, disk: Disk, old_identity: str | None, new_identity: str | None, guest_grows: bool, free: int) -> DiskPlan:
    """What the disk needs so that `spec` holds. StateError, with both sizes, for what the user has not allowed.

    old_identity: of the image that served so far, for a disk without a record. new_identity: of the image that shall serve;
    None: not known yet (check mode). guest_grows: whether that image grows its file system at boot. free: bytes.
    """
    if disk.image is None:
        return DiskPlan("none", disk.path)
    if disk.image.format != ("raw" if spec.vz else "qcow2"):
        return _aside(spec, disk, disk.image, new_identity, free)
    made_under = disk.identity or old_identity
    if spec.disk_on_upgrade == "recreate" and made_under and new_identity and made_under != new_identity:
        return _recreate(spec, disk, disk.image, new_identity, free, "made anew, because the image has changed")
    wanted = disk.image.size if spec.disk_mib is None else spec.disk_mib * MIB
    if wanted == disk.image.size:
        return DiskPlan("none", disk.path)
    return _resize(spec, disk, disk.image, wanted, new_identity or made_under, guest_grows, free)


def _resize(spec: Spec, disk: Disk, image: Image, wanted: int, identity: str | None, guest_grows: bool, free: int) -> DiskPlan:
    grows = wanted > image.size
    sizes = f"{mib(image.size)} -> {mib(wanted)}"
    obstacle = _why_not(spec, image, grows, guest_grows)
    if not obstacle:
        _check_space(disk.path, f"growing it from {mib(image.size)} to {mib(wanted)}", wanted - image.allocated, free)
        return DiskPlan("grow", disk.path, f"grown in place, {sizes}", size=wanted, format=image.format)
    if spec.allow_disk_recreate:
        return _recreate(spec, disk, image, identity, free, f"made anew, {sizes}")
    raise StateError(
        f"{disk.path}: has {mib(image.size)}, and disk_mib asks for {mib(wanted)}; {obstacle}. Set disk_mib back to "
        f"{image.size // MIB} (or leave it out, to keep any size), or set allow_disk_recreate: true "
        "(role: linux_builder_allow_disk_recreate) to make the disk anew and lose what was built in it."
    )


def _why_not(spec: Spec, image: Image, grows: bool, guest_grows: bool) -> str:
    """Why the disk cannot take another size in place; empty when it can."""
    if not grows:
        return "a disk cannot be made smaller in place"
    if image.obstacle:
        return f"it cannot be grown, because {image.obstacle}"
    if not guest_grows:
        way = "" if spec.vz else ", but one with grow_file_system: true or another guest-side option does, and keeps the data"
        return f"the guest of this image would not grow its file system{way}"
    return ""


def _recreate(spec: Spec, disk: Disk, image: Image, identity: str | None, free: int, reason: str) -> DiskPlan:
    size = image.size if spec.disk_mib is None else spec.disk_mib * MIB
    # The old disk stays until the new one is proven; by then the new one holds little more than its file system.
    _check_space(disk.path, f"making it anew with {mib(size)}", size - image.allocated, free)
    return DiskPlan("recreate", disk.path, reason, moved_to=KEPT_NAME, pending=identity, format=image.format)


def _aside(spec: Spec, disk: Disk, image: Image, identity: str | None, free: int) -> DiskPlan:
    size = image.size if spec.disk_mib is None else spec.disk_mib * MIB
    _check_space(disk.path, f"making one of {mib(size)} beside it", size, free)
    name = free_name(disk, aside_name())
    other = "vz needs a raw disk" if spec.vz else "QEMU's builder needs a qcow2 disk"
    return DiskPlan(
        "aside", disk.path, f"moved aside to {name}, because it is {image.format} and {other}", moved_to=name, pending=identity
    )


def aside_name() -> str:
    return f"{DISK_NAME}.aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def free_name(disk: Disk, name: str) -> str:
    taken = {os.path.basename(path) for path in disk.asides}
    return next(found for found in (name, *(f"{name}-{number}" for number in range(2, 1000))) if found not in taken)


def _check_space(path: str, doing: str, needed: int, free: int) -> None:
    if needed > 0 and free < needed + RESERVE:
        raise StateError(
            f"{path}: {doing} may take up to {mib(needed)} more, and {mib(RESERVE)} shall stay free, but only {mib(free)} "
            "are free. Free some space (nix-collect-garbage), or ask for a smaller disk_mib."
        )


def mib(size: int) -> str:
    return f"{size // MIB} MiB"
