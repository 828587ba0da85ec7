# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Answers that cannot change while a program or a Mac is the same one, noted down so that they are asked for once.

Of Nix: its version, and its settings without any configuration; they hold for that very executable. Of the Mac: what
sysctl(8) says of the hardware; it holds for that macOS on as many cores and as much memory. Whoever changes something here
(nix_daemon) writes the note; everybody else reads it, and asks where it does not hold.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError

PATH = "/var/db/nixmac.linux_builder/answers.json"
_FORMAT = 1
_LIMIT = 4 * 1024 * 1024  # bytes; a note has about 50 kB


def identity(program: str) -> list[t.Any] | None:
    """What tells one executable from another: where it really lies, inode, size and time; None without one."""
    try:
        path = os.path.realpath(program)
        found = os.stat(path)
    except OSError:
        return None
    return [path, found.st_ino, found.st_size, found.st_mtime_ns]


def read(about: str, subject: t.Any) -> dict[str, t.Any]:
    """The answers about `subject` (see `identity`) that are noted under `about`; none for another subject."""
    found = _all().get(about)
    if subject is None or not isinstance(found, dict) or found.get("subject") != subject:
        return {}
    answers = found.get("answers")
    return answers if isinstance(answers, dict) else {}


def write(about: str, subject: t.Any, answers: t.Mapping[str, t.Any]) -> None:
    """Note the answers, in place of those about another subject. Only root can; the directory is made."""
    if subject is None or read(about, subject) == json.loads(json.dumps(answers)):
        return
    everything = {**_all(), "format": _FORMAT, about: {"subject": subject, "answers": answers}}
    os.makedirs(os.path.dirname(PATH), mode=0o755, exist_ok=True)
    _files.write(PATH, (json.dumps(everything, sort_keys=True) + "\n").encode(), _files.Ownership(mode=0o600))


def forget() -> None:
    """Remove the note."""
    _files.remove(PATH)


def _all() -> dict[str, t.Any]:
    """The whole note; a damaged one counts as none."""
    try:
        data = json.loads(_files.read(PATH, limit=_LIMIT).content or b"null")
    except (ValueError, LinuxBuilderError):
        return {}
    return data if isinstance(data, dict) and data.get("format") == _FORMAT else {}
