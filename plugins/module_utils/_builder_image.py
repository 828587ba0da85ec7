# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The data disk as a file: its format, its sizes, and the image that it was made under. Starts no process."""

from __future__ import annotations

import json
import os
import re
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

MIB = 1024 * 1024
RECORD_VERSION = 1
_RECORD_LIMIT = 65536  # bytes

_MAGIC = b"QFI\xfb"
_HEADER = 104  # bytes that version 3 has at least; version 2 ends at 72
_CORRUPT, _EXTERNAL = 2, 4  # incompatible features of version 3
_STORE_NAME = re.compile(r"^/nix/store/[0-9a-z]{32}-[^/]+")


class Image(t.NamedTuple):
    """One disk image. size: bytes that the guest sees. allocated: bytes that it takes up on the Mac.

    obstacle: why qemu-img must not resize it, in words; empty when nothing speaks against it.
    """

    format: str  # qcow2 or raw
    size: int
    allocated: int
    obstacle: str = ""

    @property
    def size_mib(self) -> int:
        """What the guest sees in MiB, rounded down."""
        return self.size // MIB


def read_image(path: str) -> Image | None:
    """Look at a disk image; None when there is none. FileError when it is no regular file or cannot be read."""
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            head = stream.read(_HEADER) if stat.S_ISREG(status.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise FileError(f"{path}: cannot be read: {exc.strerror}. Run as root (become: true).", path=path) from exc
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: is no disk image but a directory or device. Move it away.", path=path)
    allocated = status.st_blocks * 512
    if not head.startswith(_MAGIC):
        return Image("raw", status.st_size, allocated)
    if len(head) < 72:
        raise FileError(f"{path}: its qcow2 header is cut off after {len(head)} bytes. Move it away.", path=path)
    return Image("qcow2", _number(head, 24, 8), allocated, _obstacle(head))


def _number(head: bytes, offset: int, length: int) -> int:
    return int.from_bytes(head[offset : offset + length], "big")


def _obstacle(head: bytes) -> str:
    """What a qcow2 header says against resizing (QEMU's docs/interop/qcow2, the header's fields)."""
    features = _number(head, 72, 8) if _number(head, 4, 4) >= 3 and len(head) >= 80 else 0
    if _number(head, 8, 8):
        return "it is based on another disk image (backing file)"
    if _number(head, 60, 4):
        return f"it holds {_number(head, 60, 4)} snapshot(s)"
    if features & _EXTERNAL:
        return "its data lies in another file"
    if features & _CORRUPT:
        return "QEMU has marked it as damaged (qemu-img check)"
    return ""


class Record(t.NamedTuple):
    """disk.json: the image that the disk was made under, and a change of the disk that is not proven yet.

    identity: store path of the guest's system; None where it is not known. kept: file name, in the disk's directory, of the
    disk from before the change; None when no change is under way. discard: whether that one goes once the new one is proven.
    pending: identity of the image that the change was made for. proven: the new one is proven, and `kept` only still has to go.
    """

    identity: str | None = None
    kept: str | None = None
    discard: bool = False
    pending: str | None = None
    proven: bool = False

    def content(self) -> bytes:
        """The record as a file."""
        return (json.dumps({"version": RECORD_VERSION, **self._asdict()}, indent=2, sort_keys=True) + "\n").encode()


def read_record(path: str) -> Record:
    """The record of the disk; an empty one when there is none, or it is another version's or damaged.

    A damaged record at worst makes a disk count as made under an unknown image, which changes nothing by itself.
    """
    content = _files.read(path, limit=_RECORD_LIMIT).content
    try:
        data = json.loads(content) if content else {}
    except ValueError:
        data = {}
    if not isinstance(data, dict) or data.get("version") != RECORD_VERSION:
        return Record()
    kept = _word(data.get("kept"))
    # A name only: nothing that the record says may lead out of the disk's directory.
    safe = kept is not None and os.path.basename(kept) == kept and kept not in (".", "..")
    return Record(
        identity=_word(data.get("identity")),
        kept=kept if safe else None,
        discard=data.get("discard") is True,
        pending=_word(data.get("pending")),
        proven=data.get("proven") is True,
    )


def _word(value: t.Any) -> str | None:
    return value if isinstance(value, str) and value else None


def identity(store_path: str | None) -> str | None:
    """The store path of the guest's system behind the VM `store_path` (its link `system`); without one the VM's own.

    Host-side options (port, size of a new disk, processors of vz) change the VM but not its system, so a disk stays
    its image's disk under all of them.
    """
    if not store_path:
        return None
    match = _STORE_NAME.match(os.path.realpath(os.path.join(store_path, "system")))
    return match.group(0) if match else store_path
