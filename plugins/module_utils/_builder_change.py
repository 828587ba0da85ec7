# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""From the builder that runs to the one that was asked for, and back again when the new one does not serve.

The old VM serves until the new closure is built and rooted. From then on each phase is noted in the journal before it
begins. What a phase does is read off the Mac, so a run that finds a journal goes on where the last one was killed; only
what to go back to it takes from the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_drain,
    _builder_journal,
    _builder_look,
    _files,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_apply import Deployment, exclusive
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import (
    DISK,
    DRAIN,
    PROVE,
    READY,
    START,
    STOP,
    SWITCH,
    Change,
    Found,
    can_go_back,
    definition_in,
    nobody_serves,
    origin_of,
    request_key,
    to_be_undone,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_tools import Tools
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_config import guest_modules
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import ROLL_BACK, Journal, Origin
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import PUBLIC_KEY_NAME, Layout, connect_address
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_ready import Ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation, read_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_turn import Turn
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

_LEAST = 10.0  # seconds that a guest gets for its first answer, however long its port took


@dataclasses.dataclass
class Report:
    """What was found, planned and done. taken: the phases that were gone through. ready: None in check mode.

    warnings: what was put off, in words.
    """

    change: Change
    current: Current
    realised: Realised | None
    taken: list[str]
    ready: Ready | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)


class Changer:
    """state=running."""

    def __init__(self, spec: Spec, tools: Tools | None = None, progress: Progress = SILENT) -> None:
        self.spec = spec
        self.tools = tools or Tools()
        self.deployment = Deployment(spec, self.tools.runner, self.tools.find_nix, progress)
        self.job = self.tools.job(spec.layout, self.tools.runner)
        self.disk = self.tools.disk(spec.layout, self.tools.runner)
        self._progress = progress
        self._around = contextlib.ExitStack()
        self._taken: list[str] = []
        self._hold = _builder_drain.Hold()
        self._started = 0.0  # by the clock, when the VM was
        self._ready: Ready | None = None
        self._without: Change | None = None  # the change without a restart that can wait

    def run(self, check_mode: bool) -> Report:
        """Read, plan, and unless `check_mode` change. Raises the collection's errors; `rolled_back` is in their details."""
        if check_mode:
            return self._run(check_mode)
        # As long as the other run may need for a start; what it fetches meanwhile is no work for this one.
        wait = self.spec.timeout + self.spec.stop_timeout
        with exclusive(self.spec.layout.profile, wait):
            return self._run(check_mode)

    def _run(self, check_mode: bool) -> Report:
        try:
            found = _builder_look.read(self.spec, self.job)
            if not check_mode and found.journal is not None and to_be_undone(found, self.spec):
                raise self._complete_undo(found.journal)
            realised = self._stage(found, check_mode)
            report = self._plan(found, realised)
            if not check_mode and realised is not None:
                self._carry_out(report, found, realised)
                report.ready = self._ready
        finally:
            self._hold.release()
            self.deployment.session.close()
            self._around.close()
        return report

    # --- reading and planning ------------------------------------------------------------------------------------

    def _plan(self, found: Found, realised: Realised | None) -> Report:
        try:
            change, self._without = _builder_look.plan(self.spec, found, realised, self.disk, self.tools)
        except LinuxBuilderError:
            if found.journal is None and self._taken:  # of staging; nothing else has been done
                _builder_journal.remove(self.spec.layout)
            raise
        return Report(change, found.current, realised, self._taken)

    def _stage(self, found: Found, check_mode: bool) -> Realised | None:
        """Realise and root; the running VM goes on and builds what is for Linux."""
        current = found.current
        known = _builder_look.known(self.spec, current)
        if known is not None or check_mode:
            return known or self.deployment.realise(current, check_mode)
        _home = self.deployment.session.environment  # makes the working directory, where the journal goes
        phase = "build" if guest_modules(self.spec) else "fetch"
        journal = Journal(
            phase, request_key(self.spec), origin_of(found, self.spec.layout), "", (*found.parents, *current.missing_parents)
        )
        if found.journal is None:
            _builder_journal.write(self.spec.layout, journal)
        self._enter(phase)
        try:
            realised = self.deployment.realise(current, check_mode)
            if realised is not None and current.generation.store_path != realised.store_path:
                self.deployment.root_next(realised.store_path)
        except LinuxBuilderError as exc:
            if found.journal is None:
                _builder_journal.remove(self.spec.layout)
            elif nobody_serves(found, self.spec):
                # What an earlier run left stopped may be the very builder that this one builds through.
                raise self._undo(found.journal._replace(reason=exc.message), {**exc.details, "phase": phase}) from exc
            raise
        return realised

    def _enter(self, phase: str) -> None:
        if not self._taken:
            self._around.enter_context(self.tools.around(self.tools.runner))
        self._taken.append(phase)
        self._progress.phase(phase)

    # --- forward -------------------------------------------------------------------------------------------------

    def _carry_out(self, report: Report, found: Found, realised: Realised) -> None:
        change = report.change
        if not change.changed and found.journal is None:
            self._tidy()
            self._wait()
            return
        self.deployment.prepare(change.files.parents)
        origin = origin_of(found, self.spec.layout)
        journal = Journal("", request_key(self.spec), origin, "", change.files.parents)
        steps: dict[str, t.Callable[[], None]] = {
            DRAIN: self._drain,
            STOP: self._stop,
            DISK: self.disk.apply,
            SWITCH: lambda: self._switch(change, origin, realised),
            START: lambda: self._start(change.files.definition, self.spec.host_address, self.spec.port),
            READY: self._wait,
            PROVE: self._prove,
        }
        for phase in change.phases:
            try:
                # An earlier run has changed something: a journal that says `drain` would make that forgotten, and what to go
                # back to.
                if phase != DRAIN or found.journal is None:
                    _builder_journal.write(self.spec.layout, journal._replace(phase=phase))
                self._enter(phase)
                steps[phase]()
            except (LinuxBuilderError, OSError) as exc:
                error = self._failed(phase, in_words(exc), journal, change, found.journal is not None)
                if phase == DRAIN and self._without is not None:
                    self._put_off(report, found, realised, error)
                    return
                raise error from exc
        self._finish(origin, realised.store_path)

    def _put_off(self, report: Report, found: Found, realised: Realised, error: LinuxBuilderError) -> None:
        """Do what remains without the restart, which a later run sees the need for too."""
        report.warnings.append(
            f"{self.spec.layout.label}: not restarted now ({'; '.join(report.change.why)}); the next run tries again. "
            f"{error.message}"
        )
        report.change, self._without = t.cast(Change, self._without), None
        self._carry_out(report, found, realised)

    def _drain(self) -> None:
        self._hold = self.tools.drain(self.spec.uri, self.spec.drain_timeout, self.spec.force)

    def _stop(self) -> None:
        self.job.stop(self.spec.stop_timeout)

    def _switch(self, change: Change, origin: Origin, realised: Realised) -> None:
        if origin.store_path is not None and origin.store_path != realised.store_path:
            # Old generations fall to `nix-collect-garbage -d`, this does not.
            point(self.spec.layout.previous, origin.store_path)
        self.deployment.switch(change.files, realised)

    def _start(self, definition: dict[str, t.Any], address: str, port: int) -> None:
        self._started = self.tools.clock()
        self.job.start(definition, connect_address(address), port, self.spec.timeout)

    def _wait(self) -> None:
        spec = self.spec
        self._ready = self._ask(Guest(spec.layout, spec.host_address, spec.port, spec.client_key))

    def _ask(self, guest: Guest) -> Ready:
        spent = self.tools.clock() - self._started if self._started else 0.0
        return self.tools.ready(guest, self.tools.runner, max(_LEAST, self.spec.timeout - spent))

    def _prove(self) -> None:
        self._hold.release()
        session = self.deployment.session
        self.tools.prove(session.nix, self.spec, session.environment, self._ready.boot_id if self._ready else "")

    def _finish(self, origin: Origin, store_path: str) -> None:
        layout = self.spec.layout
        self.disk.settle(store_path)
        self._tidy()
        for link in superfluous(layout.profile, self.spec.keep_generations, origin.generation):
            _files.remove(link)

    def _tidy(self) -> None:
        """Nothing is under way any more."""
        _builder_journal.remove(self.spec.layout)
        if os.path.islink(self.spec.layout.staged):
            _files.remove(self.spec.layout.staged)

    # --- back ----------------------------------------------------------------------------------------------------

    def _failed(self, phase: str, exc: LinuxBuilderError, journal: Journal, change: Change, resumed: bool) -> LinuxBuilderError:
        """The error to raise: what happened, and what runs now."""
        layout = self.spec.layout
        if phase == DRAIN:
            if not resumed:
                _builder_journal.remove(layout)
            return exc
        if not can_go_back(journal.origin, self.spec, change):
            return StateError(
                f"{exc.message} There is no other builder to go back to, so this one stays; the next run goes on with it.",
                **{**exc.details, "rolled_back": False, "phase": phase},
            )
        return self._undo(journal._replace(reason=exc.message), {**exc.details, "phase": phase})

    def _complete_undo(self, journal: Journal) -> LinuxBuilderError:
        return self._undo(journal, {}, "An earlier run was killed while it put the previous builder back. Its reason: ")

    def _undo(self, journal: Journal, details: dict[str, t.Any], preface: str = "") -> LinuxBuilderError:
        """Put the builder of `journal.origin` back and return the error that says so."""
        words = preface + journal.reason
        number = journal.origin.generation
        try:
            self._back(journal)
        except (LinuxBuilderError, OSError) as exc:
            return StateError(
                f"{words} The builder from before could not be put back either: {in_words(exc).message} The next run "
                "tries again.",
                **{**details, "rolled_back": False},
            )
        return StateError(
            f"{words} The builder from before (generation {number}, {journal.origin.store_path}) was put back and answers.",
            **{**details, "rolled_back": True, "store_path": journal.origin.store_path},
        )

    def _back(self, journal: Journal) -> None:
        layout, origin = self.spec.layout, journal.origin
        _builder_journal.write(layout, journal._replace(phase=ROLL_BACK))
        self._enter(ROLL_BACK)
        definition = definition_in(origin.plist)
        if definition is None:
            raise StateError(f"{layout.journal}: names no launchd job to go back to.")
        if self.job.look() is not None:
            self.job.stop(self.spec.stop_timeout)
        self.disk.roll_back()
        self._restore_profile(origin)
        for path, content in origin.files.items():
            restore_file(path, content, 0o755 if path == layout.runner else 0o644)
        # The client's key is not a part of the image: the guest has to take the one that the Mac has now.
        client = _files.read(self.spec.client_key + ".pub", limit=65536).content
        if client is not None:
            restore_file(os.path.join(layout.keys, PUBLIC_KEY_NAME), client, 0o644)
        record = read_record(layout)
        address, port = planning.recorded_where(record, self.spec)
        self._start(definition, address, port)
        options = record.get("host_options")
        client_key = options.get("client_key") if isinstance(options, dict) else None
        self._ready = self._ask(Guest(layout, address, port, str(client_key or self.spec.client_key)))
        _builder_journal.remove(layout)
        for path in (layout.previous, layout.staged):
            if os.path.islink(path):
                _files.remove(path)

    def _restore_profile(self, origin: Origin) -> None:
        if read_generation(self.spec.layout.profile).store_path == origin.store_path or origin.store_path is None:
            return
        link = f"{self.spec.layout.profile}-{origin.generation}-link"
        try:
            there = os.readlink(link) == origin.store_path
        except OSError:
            there = False
        if there:
            point(self.spec.layout.profile, os.path.basename(link))
        else:  # garbage was collected meanwhile
            self.deployment.set_profile(origin.store_path)


def in_words(error: LinuxBuilderError | OSError) -> LinuxBuilderError:
    """The error as one of ours: what the system refuses (a full disk) leads back as all else does."""
    if isinstance(error, LinuxBuilderError):
        return error
    return FileError(f"{error.filename or 'the system'}: {error.strerror or error}.")


def point(link: str, target: str) -> None:
    """Make the symbolic link `link` name `target`, in one step, as Nix itself switches a profile."""
    temporary = f"{link}.{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    _files.sync_directory(os.path.dirname(link))


def restore_file(path: str, content: bytes | None, mode: int) -> None:
    """Give a file of the builder its old content back; None removes it."""
    if content is None:
        _files.remove(path)
    elif _files.read(path).content != content:
        _files.write(path, content, planning.root_owned(mode))


def superfluous(profile: str, keep: int, target: int | None) -> list[str]:
    """Links of generations beyond the newest `keep`; neither the present one nor `target`, to which one may go back."""
    links = generation_links(profile)
    present = read_generation(profile).number
    needed = {f"{profile}-{number}-link" for number in (present, target) if number is not None}
    room = max(0, keep - len(needed))
    others = [link for link in links if link not in needed]
    return others[: len(others) - room] if room < len(others) else []


def stop(
    layout: Layout,
    tools: Tools,
    turn: Turn | None,
    *,
    uri: str,
    force: bool,
    drain_timeout: float,
    stop_timeout: float,
    progress: Progress = SILENT,
) -> bool:
    """state=stopped: drain, then take the job out. turn: None in check mode. Returns whether it was loaded."""
    if turn is None:
        return tools.job(layout, tools.runner).look() is not None
    with turn.taken():
        job = tools.job(layout, tools.runner)
        if job.look() is None:
            return False
        progress.phase(DRAIN)
        hold = tools.drain(uri, drain_timeout, force)
        try:
            progress.phase(STOP)
            job.stop(stop_timeout)
        finally:
            hold.release()
    return True
