# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The journal of a change: which builder served before it, and how far it has come.

Written before each phase, so that whatever killed a run, the next one knows what to go back to. What is left to do it
reads from the Mac itself; the journal alone knows what was there before.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout

VERSION = 1
ROLL_BACK = "roll back"


@dataclasses.dataclass(frozen=True)
class Origin:
    """The builder before the change. Everything None or empty: there was none.

    files: path -> content of what a change overwrites, None where it was absent. plist: the launchd job's property
    list. loaded: whether launchd had the job. Nothing here is secret: of keys only public halves.
    """

    store_path: str | None = None
    generation: int | None = None
    files: dict[str, bytes | None] = dataclasses.field(default_factory=dict)
    plist: bytes | None = None
    loaded: bool = False


class Journal(t.NamedTuple):
    """A change under way. phase: the one that has begun. request: digest of what was asked for.

    reason: why it is undone (phase V(roll back)), in words. parents: directories that were made for it.
    """

    phase: str
    request: str
    origin: Origin
    reason: str = ""
    parents: tuple[str, ...] = ()


def read(layout: Layout) -> Journal | None:
    """The journal of a change that did not end; None without one, or when it is damaged and of no use."""
    content = _files.read(layout.journal).content
    try:
        return _parse(json.loads(content)) if content else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def write(layout: Layout, journal: Journal) -> None:
    """Put it on the disk before the phase begins that it names."""
    origin = journal.origin
    document = {
        "version": VERSION,
        "phase": journal.phase,
        "request": journal.request,
        "reason": journal.reason,
        "parents": list(journal.parents),
        "origin": {
            "store_path": origin.store_path,
            "generation": origin.generation,
            "files": {path: _encode(content) for path, content in origin.files.items()},
            "plist": _encode(origin.plist),
            "loaded": origin.loaded,
        },
    }
    _files.write(layout.journal, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(), _files.Ownership(mode=0o600))


def remove(layout: Layout) -> None:
    """The change has ended, one way or the other."""
    _files.remove(layout.journal)


def _encode(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode("ascii")


def _decode(text: t.Any) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("no base64") from exc


def _parse(document: t.Any) -> Journal | None:
    if document["version"] != VERSION:
        return None
    origin = document["origin"]
    return Journal(
        phase=str(document["phase"]),
        request=str(document["request"]),
        reason=str(document["reason"]),
        parents=tuple(str(path) for path in document["parents"]),
        origin=Origin(
            store_path=origin["store_path"],
            generation=origin["generation"],
            files={path: _decode(content) for path, content in origin["files"].items()},
            plist=_decode(origin["plist"]),
            loaded=bool(origin["loaded"]),
        ),
    )
