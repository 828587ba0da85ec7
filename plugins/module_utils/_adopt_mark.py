# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""How the disk that was adopted is known again, wherever it lies now."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files


def mark(path: str) -> dict[str, t.Any]:
    """What tells this disk from every other in its directory, whatever it is renamed to and however it grows."""
    status = os.stat(path)
    # A file system may use a number again, of a file that is gone; when a file was made, not every system says.
    return {"inode": status.st_ino, "born": getattr(status, "st_birthtime", None)}


def original(disk: t.Mapping[str, t.Any] | None) -> str | None:
    """Where an adopted disk lies now: in its place, or aside since the builder has another. None where it is not there.

    Without a mark (the adoption was not finished) it is what lies in its place.
    """
    if not disk:
        return None
    target = str(disk["to"])
    if "inode" not in disk:
        return target if os.path.lexists(target) else None
    directory, name = os.path.split(target)
    for path in (
        target,
        *(os.path.join(directory, other) for other in _files.names_in(directory) if other.startswith(f"{name}.")),
    ):
        with contextlib.suppress(OSError):
            if {key: disk[key] for key in ("inode", "born")} == mark(path):
                return path
    return None
