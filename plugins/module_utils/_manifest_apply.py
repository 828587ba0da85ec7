# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""builder_manifest: files of this collection's own, the begin of a teardown, and putting back what was there before."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_disk, _adopt_mark, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _manifest_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import ALREADY, Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import (
    FOLDER,
    LINK,
    PARTS,
    Contents,
    Entry,
    Manifest,
    look,
    of_older_version,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome

_DAEMONS = "/Library/LaunchDaemons"


def execute(params: dict[str, t.Any], check_mode: bool, manifest: Manifest | None = None) -> Outcome:
    """Carry out one task of builder_manifest. Raises the collection's errors."""
    if os.geteuid() != 0:
        raise StateError("builder_manifest: needs root, because the manifest is root's. Set become: true.")
    manifest = manifest or Manifest()
    if params["state"] == "present":
        return _write(params, check_mode, manifest)
    if params["state"] == "leaving":
        return _leave(params, check_mode, manifest)
    return Return(params, manifest).run(check_mode)


# --- a file of this collection's own ------------------------------------------------------------------------------


def _write(params: t.Mapping[str, t.Any], check_mode: bool, manifest: Manifest) -> Outcome:
    path, content = params["path"], params["content"].encode()
    if not os.path.isabs(path):
        raise ConfigError(f"path: {path!r} is not absolute.", path=path)
    found = _files.read(path)
    wanted = _root(0o644)
    changed = found.content != content or found.status is None or wanted.differs(found.status)
    if not check_mode:
        # Also where nothing changes: that the file was there before is what teardown has to know.
        manifest.claim(params["part"], {path: content})
        if changed:
            _files.write(path, content, wanted, expected=found)
    before = _text(found.content, _files.describe(found.status))
    after = _text(content, {"owner": wanted.owner, "group": wanted.group, "mode": f"{wanted.mode:04o}"})
    return Outcome(changed, {"path": path}, before, after if changed else before, path)


def _text(content: bytes | None, access: t.Mapping[str, t.Any]) -> str:
    if content is None:
        return ""
    return f"# {access['owner']}:{access['group']} {access['mode']}\n{content.decode(errors='replace')}"


def _root(mode: int) -> _files.Ownership:
    names = _files.describe(os.stat("/"))
    return _files.Ownership(names["owner"], names["group"], mode)


# --- the begin of a teardown --------------------------------------------------------------------------------------


def _leave(params: t.Mapping[str, t.Any], check_mode: bool, manifest: Manifest) -> Outcome:
    """What there is to remove. An older version's Mac gets a manifest now, so that a second attempt knows it too."""
    contents = manifest.read()
    warnings = _broken(contents, manifest)
    if not contents.there and (manifest.marks_of_older_version() or _builder_of_older_version(params)):
        contents = of_older_version(params["working_directory"])
        if not check_mode:
            manifest.begin_legacy(params["working_directory"])
    key, disk = params["client_key"], contents.adoption.get("disk")
    result = {
        "owned": {part: contents.owns(part) for part in PARTS},
        "legacy": bool(contents.legacy),
        "adopted": bool(contents.adoption),
        "remove_key": all(_may(contents, "credentials", path) for path in (key, f"{key}.pub")),
        "service": _service(contents, os.path.join(_DAEMONS, f"{params['label']}.plist")),
        # Aside there is another one in its place, which is the builder's own.
        "keep_disk": disk is not None and _adopt_mark.original(disk) in (None, disk["to"]),
    }
    return Outcome(False, result, warnings=warnings)


def _service(contents: Contents, plist: str) -> str:
    """What becomes of the launchd job: absent, stopped where somebody else has changed its property list, or keep."""
    if _may(contents, "builder", plist):
        return "absent"
    return "stopped" if plist in contents.entries and os.path.exists(plist) else "keep"


def _may(contents: Contents, part: str, path: str) -> bool:
    return planning.may_remove(contents, part, path, look(path)[0])


def _broken(contents: Contents, manifest: Manifest) -> list[str]:
    if not contents.broken:
        return []
    return [
        f"{manifest.path}: cannot be read ({contents.broken}), so what was on this Mac before is not known. What bears this "
        "collection's names is removed; the unreadable manifest and the originals beside it stay. Look at them by hand."
    ]


def _builder_of_older_version(params: t.Mapping[str, t.Any]) -> bool:
    """Whether the builder's own files say that this collection made them."""
    directory = params["working_directory"]
    marks = {
        os.path.join(directory, "builder.json"): b'"store_path"',
        os.path.join(directory, "run-builder"): b"nixmac.linux_builder",
        os.path.join(_DAEMONS, f"{params['label']}.plist"): b"LINUX_BUILDER_DIGEST",
    }
    return any(mark in (_content(path) or b"") for path, mark in marks.items())


def _content(path: str) -> bytes | None:
    try:
        return _files.read(path).content
    except FileError:
        return None


# --- putting back -------------------------------------------------------------------------------------------------


class Return:
    """Puts back what was there before the first run, for the parts asked for (state=absent)."""

    def __init__(self, params: t.Mapping[str, t.Any], manifest: Manifest, launchctl: Launchctl | None = None) -> None:
        self.parts = tuple(params.get("parts") or PARTS)
        self.path: str | None = params.get("path")
        self.keep_data = bool(params["keep_data"])
        self.directory = str(params["working_directory"])
        self.manifest = manifest
        self.launchctl = launchctl or Launchctl(Runner())
        self._stays: list[dict[str, str]] = []  # of an adopted disk

    def run(self, check_mode: bool) -> Outcome:
        """Read, plan, and unless `check_mode` apply."""
        contents = self.manifest.read()
        if not contents.there and check_mode and self.path is None and self.manifest.marks_of_older_version():
            # What state=leaving would have written by now.
            contents = of_older_version(self.directory)
        if not contents.there:
            return self._outcome(planning.Plan(()), False)
        if check_mode:
            plan, disk = self._plan(contents, leaving=not self.keep_data)
            return self._outcome(plan, disk, _broken(contents, self.manifest))
        with self.manifest.locked():
            contents = self.manifest.read()
            plan, disk = self._plan(contents)
            if disk:
                _adopt_disk.give_back(contents.adoption["disk"])
            left = [step for step in map(self._apply, plan.steps) if step is not None]
            if self._gives_adopted_back:
                self._load_again(contents.adoption)
            self._forget(contents)
        shown = planning.Plan((*(step for step in plan.steps if step.path not in {lost.path for lost in left}), *left))
        return self._outcome(shown, disk, _broken(contents, self.manifest))

    @property
    def _gives_adopted_back(self) -> bool:
        return self.path is None and "adopt" in self.parts

    def _plan(self, contents: Contents, leaving: bool = False) -> tuple[planning.Plan, bool]:
        """(steps, whether the adopted disk goes back to where it was). leaving: the builder's own will be gone by then."""
        if self.path is not None:
            contents = dataclasses.replace(contents, entries={p: e for p, e in contents.entries.items() if p == self.path})
        kept = {path for path, entry in contents.entries.items() if self._kept(path, entry)}
        contents = dataclasses.replace(contents, entries={p: e for p, e in contents.entries.items() if p not in kept})
        plan = planning.make_plan(contents, {path: look(path)[0] for path in contents.entries}, self.parts)
        adopted = contents.adoption.get("disk") if self._gives_adopted_back else None
        stays = _adopt_disk.why_not(adopted, leaving)
        self._stays = [] if stays is None else [{"path": stays[0], "reason": stays[1]}]
        return plan, _adopt_disk.can_give_back(adopted, leaving)

    def _apply(self, step: planning.Step) -> planning.Step | None:
        """Carry out a step; returns it as one that left its path where that was not possible."""
        if step.action == planning.REMOVE:
            return self._remove(step)
        if step.action == planning.RESTORE:
            return self._restore(step)
        if step.action == planning.ACCESS:
            _set_access(step.path, step.entry)
        return None

    @staticmethod
    def _remove(step: planning.Step) -> planning.Step | None:
        if not os.path.isdir(step.path) or os.path.islink(step.path):
            _files.remove(step.path)
            return None
        try:
            os.rmdir(step.path)
        except OSError:
            names = ", ".join(sorted(os.listdir(step.path)))
            return step._replace(action=planning.LEFT, reason=f"holds what is not this collection's: {names}")
        return None

    def _restore(self, step: planning.Step) -> planning.Step | None:
        before = step.entry.before
        if before.state == LINK:
            _files.remove(step.path)
            os.symlink(before.target, step.path)
            return None
        if before.state == FOLDER:
            os.mkdir(step.path, 0o700)
            _set_access(step.path, step.entry)
            return None
        content = self.manifest.original(before.sha256)
        if content is None:
            return step._replace(action=planning.LEFT, reason="the copy of what was there before is lost")
        _files.write(step.path, content, _files.Ownership(mode=before.mode))
        _set_access(step.path, step.entry)
        return None

    def _load_again(self, adoption: t.Mapping[str, t.Any]) -> None:
        """A job that was loaded before the adoption is loaded again, from its own property list."""
        if not adoption.get("loaded") or not os.path.exists(adoption["plist"]):
            return
        if self.launchctl.print_service(f"system/{adoption['label']}") is None:
            self.launchctl.checked(self.launchctl.bootstrap("system", adoption["plist"]), accept=(0, ALREADY))

    def _forget(self, contents: Contents) -> None:
        """Drop what is done from the manifest, and the manifest when nothing is left in it."""
        entries = {path: entry for path, entry in contents.entries.items() if not self._done(path, entry)}
        legacy = tuple(part for part in contents.legacy if self.path is not None or part not in self.parts)
        adoption = {} if self._gives_adopted_back else contents.adoption
        if entries or legacy or adoption:
            self.manifest.save(dataclasses.replace(contents, entries=entries, legacy=legacy, adoption=adoption))
        elif contents.broken:
            self.manifest.set_aside()
        else:
            self.manifest.drop()

    def _done(self, path: str, entry: Entry) -> bool:
        if self.path is not None:
            return path == self.path
        return entry.part in self.parts and not self._kept(path, entry)

    def _kept(self, path: str, entry: Entry) -> bool:
        """Whether this is the directory of a disk that stays, or one above: a later teardown has to know whose they are."""
        holds = self.keep_data and f"{self.directory}/".startswith(f"{path}/")
        return holds and not entry.foreign and os.path.isdir(self.directory) and bool(os.listdir(self.directory))

    def _outcome(self, plan: planning.Plan, disk: bool, warnings: t.Sequence[str] = ()) -> Outcome:
        result = {
            "removed": plan.of(planning.REMOVE),
            "restored": plan.of(planning.RESTORE) + plan.of(planning.ACCESS),
            "left": plan.left + self._stays,
            "disk_given_back": disk,
        }
        words = [f"{item['path']}: stays, {item['reason']}." for item in plan.left + self._stays]
        before, after = plan.before, plan.after
        if disk:
            before, after = before + "disk: in the builder's directory\n", after + "disk: where it was before the adoption\n"
        return Outcome(plan.changed or disk, result, before, after, self.manifest.path, [*warnings, *words])


def _set_access(path: str, entry: Entry) -> None:
    try:
        os.chown(path, entry.before.uid, entry.before.gid, follow_symlinks=False)
        os.chmod(path, entry.before.mode)
    except OSError as exc:
        raise FileError(f"{path}: owner or mode cannot be set: {exc.strerror}. Run as root.", path=path) from exc
