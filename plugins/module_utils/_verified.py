# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The record of the last verified build: `verified.json` in the builder's working directory.

Only builder_verify writes it, after a build that was proven. It is a note, not a part of the builder: that it is
missing or damaged is never an error, and writing it is never a change.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files

NAME = "verified.json"
_FORMAT = 1
_LIMIT = 256 * 1024  # bytes


class HasWorkingDirectory(t.Protocol):
    """What the record needs of a layout."""

    @property
    def working_directory(self) -> str:
        """Where the record lies."""


class Record(t.NamedTuple):
    """One verification that passed.

    time: seconds since 1970, of the Mac's clock. seconds: system -> wall time of its build. store_path: of the VM that
    ran, None where no profile told. versions: `mac` and `guest` -> version of Nix there. features: those proven.
    """

    time: float
    seconds: t.Mapping[str, float]
    store_path: str | None
    versions: t.Mapping[str, str]
    features: tuple[str, ...] = ()
    boot_id: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        """As it stands in the file; `time` in UTC as ISO 8601 has it, which sorts and which people can read."""
        return {
            "format": _FORMAT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.time)),
            "seconds": {system: round(seconds, 3) for system, seconds in sorted(self.seconds.items())},
            "store_path": self.store_path,
            "versions": dict(self.versions),
            "features": list(self.features),
            "boot_id": self.boot_id,
        }


def path(layout: HasWorkingDirectory) -> str:
    """Where the record lies."""
    return os.path.join(layout.working_directory, NAME)


def write(layout: HasWorkingDirectory, record: Record) -> bool:
    """Write the record; False where there is no working directory, as with a builder that was set up by hand.

    FileError where there is one and it cannot be written.
    """
    if not os.path.isdir(layout.working_directory):
        return False
    content = (json.dumps(record.as_dict(), indent=2, sort_keys=True) + "\n").encode()
    _files.write(path(layout), content, _files.Ownership(mode=0o644))
    return True


def read(layout: HasWorkingDirectory) -> dict[str, t.Any] | None:
    """The record as `Record.as_dict` made it; None when there is none, or anything else in its place."""
    try:
        with open(path(layout), "rb") as stream:
            found = json.loads(stream.read(_LIMIT))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("format") != _FORMAT or not isinstance(found.get("time"), str):
        return None
    shapes = (("seconds", dict), ("versions", dict), ("features", list))
    return found if all(isinstance(found.get(name), shape) for name, shape in shapes) else None
