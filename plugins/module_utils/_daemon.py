# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Restarting the Nix daemon when, and only when, it runs with another configuration than the one on disk.

The daemon reads nix.conf once, at its start, and nothing tells what it read. So a record is kept: the settings
(as digests) that one process of the daemon started with. Where there is no record of the running process, the
times of the files decide. Nothing depends on what an earlier task of the play did, so an interrupted run is
picked up by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _mac, _nix_note, _nixconf_table
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import Process, look, processes
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import (
    RECORD,
    Decision,
    Facts,
    Record,
    changed_at,
    decide,
    digests,
    living,
    parse_record,
    read_files,
    socket_made,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_nix import Layout, daemon_label
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl, explain
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix

_AGE = 3.0  # seconds: the margin of the decision, and a second each for the rounding of ps and of the boot time
RESTART_TIMEOUT = 60.0  # seconds until a restarted daemon has to answer
_POLL = 0.5  # seconds between two looks
_ANSWERS = ("version", "bare", "table")


class Options(t.NamedTuple):
    """What is asked for.

    label: None finds it. drain_timeout: seconds. forget: restart if needed and keep no record. pending: the play
    is about to change the configuration; only check mode, in which that has not happened, looks at it.
    """

    label: str | None = None
    drain_timeout: float = 600
    force: bool = False
    record: str = RECORD
    forget: bool = False
    pending: bool = False


@dataclasses.dataclass
class Report:
    """What was found and done. running: the work that a restart would have ended, as `name (pid N)` or a lock's name.

    alive: whether there was a process of the daemon. noted: whether the record told what that one started with.
    """

    label: str
    decision: Decision
    restarted: bool = False
    deferred: bool = False
    forgotten: bool = False
    running: list[str] = dataclasses.field(default_factory=list)
    alive: bool = False
    noted: bool = False


class Daemon:
    """The Nix daemon of this host: its launchd job, configuration and record."""

    def __init__(self, options: Options, runner: Runner | None = None) -> None:
        self.options = options
        self.runner = runner or Runner()
        self.launchctl = Launchctl(self.runner)
        self.nix: Nix = find_nix(self.runner)
        self.label = options.label or self._find_label()
        self.target = f"system/{self.label}"

    @staticmethod
    def _find_label() -> str:
        label = daemon_label(Layout())
        if label is None:
            raise StateError(
                "No Nix daemon in /Library/LaunchDaemons (org.nixos.nix-daemon or systems.determinate.nix-daemon). "
                "Install Nix for several users, or name the daemon's label."
            )
        return label

    def service(self) -> Service:
        """The daemon's loaded job. StateError when launchd does not know it."""
        service = self.launchctl.print_service(self.target)
        if service is None:
            raise StateError(
                f"{self.label}: the Nix daemon is not loaded. Load it: sudo launchctl bootstrap system "
                f"/Library/LaunchDaemons/{self.label}.plist",
                label=self.label,
            )
        return service

    def facts(self) -> Facts:
        """Everything that the decision is made of. CommandError, with Nix' words, when the configuration is broken."""
        known = living(self.label, self.options.record)
        pid = known.pid if known else self.service().pid
        # Settings first, times of the files second: a change between the two shows as a file that is too new.
        settings = digests(self.nix.settings(), self.nix.bare())
        files = {path: changed_at(path) for path in read_files("/etc/nix/nix.conf")}
        if known:
            return Facts(self.label, pid, known.started, settings, files, known)
        mine = self._process(pid)
        record = parse_record(_files.read(self.options.record).content)
        return Facts(self.label, pid, mine.started if mine else None, settings, files, record)

    def _process(self, pid: int | None) -> Process | None:
        return None if pid is None else processes(self.runner).get(pid)

    def run(self, check_mode: bool) -> Report:
        """Bring the daemon to its configuration; see the module's description."""
        facts = self.facts()
        report = Report(self.label, decide(facts), alive=facts.started is not None, noted=facts.noted and self._answers_noted())
        had_record = _files.lstat(self.options.record) is not None
        report.forgotten = self.options.forget and had_record
        if check_mode:
            if self.options.pending and facts.pid is not None and not report.decision.required:
                report.decision = Decision(True, "its configuration would be changed by this play")
            return report
        if report.decision.required:
            self._restart_when_idle(facts, report)
        if self.options.forget:
            self._forget()
        else:
            self._note_answers()
            if not report.deferred:
                self._remember(facts, report.restarted)
        return report

    def _answers_noted(self) -> bool:
        return self.nix.noted(_ANSWERS) and bool(_nix_note.read("mac", _mac.subject(*_mac.macos_version())))

    def _note_answers(self) -> None:
        """Once for each Nix and each macOS: what later runs need not ask any more. They can without."""
        if self._answers_noted():
            return
        with contextlib.suppress(LinuxBuilderError, OSError):
            self.nix.version()
            self.nix.bare()
            _nixconf_table.ask(self.nix)
            self.nix.note()
            _mac.note(self.runner)

    def _restart_when_idle(self, facts: Facts, report: Report) -> None:
        report.running = self._drain(facts.pid)
        if report.running and not self.options.force:
            report.deferred = True
            return
        if self.options.forget:
            _let_age(facts.files.values())
        self._restart(facts.pid)
        report.restarted = True

    def _drain(self, pid: int | None) -> list[str]:
        """Wait until nothing is being built; the work that was still going on when the time was over."""
        deadline = time.monotonic() + (0 if self.options.force else self.options.drain_timeout)
        idle = False
        while True:
            now = look(self.runner, pid)
            # Between two builds of one client nothing runs for a moment: while one is there, look twice.
            if not now.running and (idle or not now.clients):
                return []
            idle = not now.running
            if time.monotonic() >= deadline:
                return now.running
            time.sleep(_POLL if idle else 2 * _POLL)

    def _restart(self, old: int | None) -> None:
        """Start the daemon anew and wait until the new process answers. StateError past the deadline."""
        deadline = time.monotonic() + RESTART_TIMEOUT
        words = ""
        asked = False
        while time.monotonic() < deadline:
            if not asked:
                done = self.launchctl.kickstart(self.target, kill=True)
                # launchctl fails now and then without a reason; the process decides whether to ask again.
                words = "" if done.rc == 0 else f" launchctl kickstart: exit {explain(done)}"
            service = self.service()
            asked = service.pid not in (None, old)
            if asked and service.running and self.nix.store_ping("daemon", timeout=10).ok:
                return
            time.sleep(_POLL)
        raise StateError(
            f"{self.label}: the Nix daemon does not answer {RESTART_TIMEOUT:g} s after its restart.{words} "
            f"See sudo launchctl print {self.target} and /var/log/nix-daemon.log.",
            label=self.label,
        )

    def _remember(self, facts: Facts, restarted: bool) -> None:
        """Note what the process that runs now has read, unless that is noted already."""
        pid, started = facts.pid, facts.started
        if restarted:
            mine = self._process(self.service().pid)
            pid, started = (mine.pid, mine.started) if mine else (None, None)
        if pid is None or started is None:
            return
        made = socket_made(since=started)
        if facts.record and facts.record.describes(self.label, pid, started) and facts.record.socket == made:
            return
        # The settings from before the restart: had they changed since, the next run sees a difference and restarts.
        record = Record(self.label, pid, started, facts.settings, made)
        os.makedirs(os.path.dirname(self.options.record), mode=0o755, exist_ok=True)
        _files.write(self.options.record, record.dump(), _files.Ownership(mode=0o600))

    def _forget(self) -> None:
        _files.remove(self.options.record)
        _nix_note.forget()
        try:
            os.rmdir(os.path.dirname(self.options.record))
        except OSError:
            pass  # others keep something there, or it is gone


def _let_age(changed: t.Iterable[float]) -> None:
    """Wait until no file is so new that the daemon started after it looks older, _AGE seconds at most.

    Without a record a later run has only these times to tell by, and would restart the daemon once more.
    """
    newest = max(changed, default=0.0)
    deadline = time.monotonic() + _AGE
    while time.time() < newest + _AGE and time.monotonic() < deadline:
        time.sleep(_POLL)
