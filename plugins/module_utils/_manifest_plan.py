# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What teardown does with each path of the manifest. Pure: works on what was recorded and what is there now."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import (
    ABSENT,
    FILE,
    FOLDER,
    GONE,
    LINK,
    UNKNOWN,
    Before,
    Contents,
    Entry,
)

NOTHING, REMOVE, RESTORE, ACCESS, LEFT = "nothing", "remove", "restore", "access", "left"


class Step(t.NamedTuple):
    """What happens to one path. reason: why it is left, for the user."""

    path: str
    action: str
    entry: Entry
    reason: str = ""


class Plan(t.NamedTuple):
    """All steps, in the order in which they are safe: removals from the inside out, then restorations from the outside in."""

    steps: tuple[Step, ...]

    def of(self, action: str) -> list[str]:
        """The paths with this action."""
        return [step.path for step in self.steps if step.action == action]

    @property
    def changed(self) -> bool:
        """Whether anything on the Mac changes."""
        return any(step.action in (REMOVE, RESTORE, ACCESS) for step in self.steps)

    @property
    def left(self) -> list[dict[str, str]]:
        """What stays, with the reason, for a result."""
        return [{"path": step.path, "reason": step.reason} for step in self.steps if step.action == LEFT]

    @property
    def before(self) -> str:
        """Text for --diff."""
        return "".join(f"{step.path}: as this collection left it\n" for step in self._changing())

    @property
    def after(self) -> str:
        """Text for --diff."""
        words = {REMOVE: "absent", RESTORE: "as before the first run", ACCESS: "with owner and mode from before"}
        return "".join(f"{step.path}: {words[step.action]}\n" for step in self._changing())

    def _changing(self) -> t.Iterator[Step]:
        return (step for step in self.steps if step.action not in (NOTHING, LEFT))


def make_plan(contents: Contents, now: t.Mapping[str, Before], parts: t.Container[str]) -> Plan:
    """The steps for the paths of `parts`. now: what lies at each path of the manifest."""
    steps = [decide(path, entry, now[path]) for path, entry in contents.entries.items() if entry.part in parts]
    away = sorted((step for step in steps if step.action == REMOVE), key=lambda step: step.path, reverse=True)
    others = sorted((step for step in steps if step.action != REMOVE), key=lambda step: step.path)
    return Plan((*away, *others))


def decide(path: str, entry: Entry, now: Before) -> Step:
    """What to do with one path."""
    action, reason = _decide(entry, now)
    return Step(path, action, entry, reason)


def _decide(entry: Entry, now: Before) -> tuple[str, str]:
    before = entry.before
    if before.state == UNKNOWN:
        return _of_older_version(entry, now)
    if (before.state, before.sha256, before.target) == (now.state, now.sha256, now.target):
        access = (before.uid, before.gid, before.mode) == (now.uid, now.gid, now.mode)
        return (NOTHING, "") if access or before.state in (ABSENT, LINK) else (ACCESS, "")
    if now.state == ABSENT:
        return _vanished(entry)
    if before.state == ABSENT and now.state == FOLDER:
        return REMOVE, ""  # rmdir(2), which takes an empty one only
    if now.state == FILE and now.sha256 in entry.ours:
        return (REMOVE if before.state == ABSENT else RESTORE), ""
    # What this collection only looked at, or shares with others (the machines file), is not its business.
    return (LEFT, "changed by somebody else since this collection wrote it") if entry.ours else (NOTHING, "")


def _of_older_version(entry: Entry, now: Before) -> tuple[str, str]:
    if now.state == ABSENT:
        return NOTHING, ""
    if now.state == FOLDER or not entry.ours or now.sha256 in entry.ours:
        return REMOVE, ""
    return LEFT, "changed by somebody else since this collection wrote it"


def _vanished(entry: Entry) -> tuple[str, str]:
    if GONE in entry.ours:
        return RESTORE, ""
    return (LEFT, "was there before the first run, and somebody else has removed it since") if entry.ours else (NOTHING, "")


def may_remove(contents: Contents, part: str, path: str, now: Before) -> bool:
    """Whether a module's own removal (state=absent) of what lies at `path` takes only what this collection made."""
    entry = contents.entries.get(path)
    if entry is None:
        return part in contents.legacy
    return decide(path, entry, now).action in (REMOVE, NOTHING) and not entry.foreign
