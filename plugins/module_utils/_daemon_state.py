# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Whether the running Nix daemon has read the configuration that is on disk: facts, record, decision."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import CLIENT_SETTINGS, Setting

# ps tells whole seconds, and the file system and launchd do not look at the same clock in the same instant.
_MARGIN = 1.0
# Two readings of one process' start may differ by rounding.
_SAME = 2.0
# Only the client fetches with these, and they are secret: they get into no record.
_SECRET = frozenset(("access-tokens",))
_FORMAT = 1
_INCLUDE_LIMIT = 64
RECORD = "/var/db/nixmac.linux_builder/daemon.json"
SOCKET = "/nix/var/nix/daemon-socket/socket"


class Record(t.NamedTuple):
    """What one process of the daemon started with. started: seconds since 1970. settings: name -> digest of its value.

    socket: (inode, time) of the socket that this process made; None where it is not known to have made it.
    """

    label: str
    pid: int
    started: float
    settings: t.Mapping[str, str]
    socket: tuple[int, int] | None = None

    def lives(self, label: str) -> bool:
        """Whether its process still serves: told without a process. False is also "not known"."""
        return self.label == label and self.socket is not None and self.socket == socket_made() and _runs(self.pid)

    def describes(self, label: str, pid: int | None, started: float | None) -> bool:
        """Whether it is about this very process."""
        return self.label == label and self.pid == pid and started is not None and abs(self.started - started) <= _SAME

    def dump(self) -> bytes:
        """As the JSON file that `parse_record` reads."""
        data = {"format": _FORMAT, **self._asdict()}
        return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


class Facts(t.NamedTuple):
    """The decision's ground. pid, started: of the running process, None for none. files: path -> time of its last change."""

    label: str
    pid: int | None
    started: float | None
    settings: t.Mapping[str, str]
    files: t.Mapping[str, float]
    record: Record | None

    @property
    def noted(self) -> bool:
        """Whether the record is about the process that runs."""
        return self.record is not None and self.record.describes(self.label, self.pid, self.started)


class Decision(t.NamedTuple):
    """Whether the daemon has to be restarted, and why or why not, in a sentence without a full stop."""

    required: bool
    reason: str


def decide(facts: Facts) -> Decision:
    """The plan, from the facts alone."""
    if facts.pid is None or facts.started is None:
        return Decision(False, "the daemon does not run now and reads its configuration when it starts")
    if facts.record is not None and facts.noted:
        names = sorted(
            name
            for name in {*facts.record.settings, *facts.settings}
            if facts.record.settings.get(name) != facts.settings.get(name)
        )
        if names:
            return Decision(True, f"settings changed since the daemon started: {', '.join(names)}")
        return Decision(False, "the daemon started with the settings that are in force")
    started = facts.started
    newer = sorted(path for path, changed in facts.files.items() if changed >= started - _MARGIN)
    if newer:
        return Decision(True, f"changed since the daemon started: {', '.join(newer)}")
    return Decision(False, "no configuration file changed since the daemon started")


def digests(settings: t.Mapping[str, Setting], bare: t.Mapping[str, Setting]) -> dict[str, str]:
    """A digest for each setting that the daemon looks at and that the configuration changes.

    settings: as the configuration makes them. bare: the same Nix without any configuration. What does not differ is
    left out, so that an update of Nix alone, which brings new defaults and paths, is no change.
    """
    return {
        name: hashlib.sha256(json.dumps(setting.value, sort_keys=True).encode()).hexdigest()[:16]
        for name, setting in settings.items()
        if name not in CLIENT_SETTINGS and name not in _SECRET and (name not in bare or setting.value != bare[name].value)
    }


def parse_record(content: bytes | None) -> Record | None:
    """Read a record; None for none, or for anything that is not exactly one: then the files' times decide."""
    try:
        data = json.loads(content or b"null")
        if data["format"] != _FORMAT:
            return None
        settings = {str(name): str(value) for name, value in data["settings"].items()}
        socket = data.get("socket")
        made = (int(socket[0]), int(socket[1])) if socket else None
        return Record(str(data["label"]), int(data["pid"]), float(data["started"]), settings, made)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None


def socket_made(since: float = 0.0) -> tuple[int, int] | None:
    """(inode, time in ns) of the daemon's socket. None without one, or where it is older than `since` (seconds since 1970).

    A daemon that opens its own socket makes a new one at each start; one that launchd holds for it stays.
    """
    try:
        found = os.stat(SOCKET)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns) if found.st_mtime >= since - _SAME else None


def _runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except OSError as exc:
        return isinstance(exc, PermissionError)
    return True


def living(label: str, path: str = RECORD) -> Record | None:
    """The record of the process that runs, where that can be told without a process."""
    try:
        record = parse_record(_files.read(path).content)
    except LinuxBuilderError:
        return None
    return record if record is not None and record.lives(label) else None


def changed_at(path: str) -> float:
    """When a file, or the link that it is, last changed, in seconds since 1970; 0 for none.

    The inode's time counts too: a backup that is moved back keeps its old time of modification.
    """
    times = [0.0]
    for status in (os.lstat, os.stat):
        try:
            found = status(path)
        except OSError:
            continue
        times += [found.st_mtime, found.st_ctime]
    return max(times)


def read_files(path: str) -> list[str]:
    """nix.conf and what it includes, whether it exists or not, each once.

    Includes are relative to the file that names them. Nix itself judges the grammar; here a line that is no
    include is passed over.
    """
    found: list[str] = []
    waiting = [path]
    while waiting and len(found) < _INCLUDE_LIMIT:
        here = waiting.pop(0)
        if here in found:
            continue
        found.append(here)
        waiting += [os.path.normpath(os.path.join(os.path.dirname(here), name)) for name in _included(here)]
    return found


def _included(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(4 * 1024 * 1024)
    except OSError:
        return []
    lines = (line.split("#", 1)[0].split() for line in text.split("\n"))
    return [words[1] for words in lines if len(words) == 2 and words[0] in ("include", "!include")]
