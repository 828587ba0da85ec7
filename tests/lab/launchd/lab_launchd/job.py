# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One loaded job: when it is started, stopped, started again, and what print may say about it."""

from __future__ import annotations

import os
import signal
import time
import typing as t

from lab_launchd import triggers
from lab_launchd.definition import Definition
from lab_launchd.facts import CRASH_SIGNALS, EX_CONFIG, signal_words
from lab_launchd.spawn import Identity, full_environment, spawn

if t.TYPE_CHECKING:
    from lab_launchd.manager import Domain, Manager

SPECULATIVE = "speculative"  # RunAtLoad, boot
INEFFICIENT = "inefficient"  # KeepAlive respawn
SEMAPHORE = "semaphore"  # a KeepAlive condition
DEMAND = "non-ipc demand"  # kickstart, interval, calendar, watched path


class Job:
    """A job and its (at most one) process. Times are time.monotonic() seconds."""

    def __init__(self, manager: Manager, domain: Domain, path: str, definition: Definition) -> None:
        self.manager = manager
        self.domain = domain
        self.path = path
        self.definition = definition
        self.label = definition.label
        self.pid = 0
        self.shown_pid = 0
        self.runs = 0
        self.status: int | None = None  # raw wait(2) status of the previous run
        self.setup_failed = False
        self.crashes = 0
        self.reason = ""
        self.next_reason = ""
        self.launched: float | None = None
        self.spawn_at: float | None = None
        self.kill_at: float | None = None
        self.gone_at: float | None = None  # a lingering label (fault) goes away then
        self.signalled = 0  # 15 or 9 once launchd itself is stopping the process
        self.removing = False
        self.restart = False
        self.held = False  # fault: does not start by itself
        self.demanded = False
        self.on_spawn: list[t.Callable[[], None]] = []
        self.on_gone: list[t.Callable[[], None]] = []
        self.next_interval: float | None = None
        self.next_minute: float | None = None
        self.snapshot: t.Any = None

    # What others ask

    @property
    def state(self) -> str:
        """The word of print's `state` line."""
        if self.pid or self.gone_at is not None:
            return {0: "running", signal.SIGTERM: "SIGTERMed", signal.SIGKILL: "SIGKILLed"}[self.signalled]
        return "spawn scheduled" if self.spawn_at is not None else "not running"

    @property
    def exit_code(self) -> int | None:
        """Decoded exit code of the previous run; None if it never exited or died by a signal."""
        return os.WEXITSTATUS(self.status) if self.status is not None and os.WIFEXITED(self.status) else None

    @property
    def exit_signal(self) -> int | None:
        """The (Linux) signal that ended the previous run."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None

    def deadlines(self) -> list[float]:
        """All times at which tick() has something to do."""
        times = (self.spawn_at, self.kill_at, self.gone_at, self.next_interval, self.next_minute)
        return [moment for moment in times if moment is not None]

    # What happens to it

    def start_up(self) -> None:
        """Called once, right after loading."""
        now = time.monotonic()
        if self.definition.interval:
            self.next_interval = now + self.definition.interval
        if self.definition.calendar:
            self.next_minute = triggers.next_minute(now)
        self.snapshot = triggers.snapshot(self.definition.watch_paths)
        if self.definition.starts_at_load and self.manager.faults.take("no-spawn", self.label):
            self.held = True
        elif self.definition.starts_at_load or triggers.keeps_alive(self):
            self._spawn(SPECULATIVE)

    def tick(self, now: float) -> None:
        """Do whatever is due."""
        if self.gone_at is not None and now >= self.gone_at:
            self._gone()
            return
        if self.kill_at is not None and now >= self.kill_at:
            self._kill()
        if self.next_interval is not None and now >= self.next_interval:
            self.next_interval = now + (self.definition.interval or 0)
            self.demand(DEMAND)
        if self.next_minute is not None and now >= self.next_minute:
            self.next_minute = triggers.next_minute(now)
            if triggers.calendar_matches(self.definition.calendar, time.localtime()):
                self.demand(DEMAND)
        if self.spawn_at is not None and now >= self.spawn_at and not self.pid:
            self._spawn(self.next_reason)

    def poll(self) -> None:
        """Look at watched paths and conditions of other jobs."""
        if self.definition.watch_paths:
            snapshot = triggers.snapshot(self.definition.watch_paths)
            if snapshot != self.snapshot:
                self.snapshot = snapshot
                self.demand(DEMAND)
        if not self.pid and self.spawn_at is None:
            self._evaluate()

    def demand(self, reason: str) -> None:
        """Something asks for a run: at once, or as soon as the throttle allows."""
        if self.pid or self.removing or self.spawn_at is not None:
            return
        self._schedule(reason)

    def kickstart(self, kill: bool, done: t.Callable[[], None]) -> None:
        """Run now. With `kill` a running process is ended first; `done` is called after the spawn."""
        self.held = False
        self.demanded = True
        self.on_spawn.append(done)
        if self.pid:
            if kill:
                self.restart = True
                self.terminate()
            return
        if self.spawn_at is not None and not self.manager.config.kickstart_beats_throttle:
            return
        if self.spawn_at is None and not self.manager.config.kickstart_beats_throttle:
            self._schedule(DEMAND)
            return
        self._spawn(DEMAND)

    def terminate(self) -> None:
        """SIGTERM now, SIGKILL after the exit timeout (0: never)."""
        if not self.pid or self.signalled:
            return
        self.signalled = signal.SIGTERM
        self._signal(signal.SIGTERM)
        if self.definition.exit_timeout:
            self.kill_at = time.monotonic() + self.definition.exit_timeout
            self.log(f"scheduling cleanup in {self.definition.exit_timeout} sec after sending Terminated: 15")

    def remove(self) -> None:
        """bootout: gone at once when not running, else when the process is."""
        self.removing = True
        self.spawn_at = None
        self.next_interval = self.next_minute = None
        if self.pid:
            self.terminate()
        elif self.gone_at is None:
            self._gone()

    def reaped(self, status: int) -> None:
        """The main process ended with this raw wait status."""
        ran = time.monotonic() - (self.launched or 0.0)
        self.pid = 0
        self.status = status
        stopped_by_us, self.signalled, self.kill_at = self.signalled, 0, None
        self.crashes = self.crashes + 1 if self.exit_signal in CRASH_SIGNALS else 0
        outcome = signal_words(self.exit_signal) if self.exit_signal else f"exit code {self.exit_code}"
        self.log(f"exited: {outcome}")
        if self.removing:
            fault = self.manager.faults.take("linger", self.label)
            if fault:
                self.signalled = stopped_by_us or signal.SIGTERM
                self.gone_at = time.monotonic() + fault["seconds"]
            else:
                self._gone()
        elif self.restart:
            self.restart = False
            if self.manager.config.kickstart_beats_throttle:
                self._spawn(DEMAND)
            else:
                self._schedule(DEMAND)
        elif self.setup_failed:
            # launchd goes on trying to set such a job up, whatever its KeepAlive says.
            self._schedule(INEFFICIENT, ran)
        else:
            self._evaluate(ran)

    def log(self, text: str) -> None:
        """One line in launchd's log."""
        self.manager.log(f"({self.domain.name}/{self.label}) {text}")

    # Inner workings

    def _evaluate(self, ran: float = 0.0) -> None:
        if self.manager.stopping or self.removing or self.held:
            return
        if self.definition.launch_only_once and self.runs:
            return
        if triggers.keeps_alive(self):
            self._schedule(INEFFICIENT if self.definition.keep_alive is True else SEMAPHORE, ran)

    def _schedule(self, reason: str, ran: float = 0.0) -> None:
        if self.manager.stopping:
            return
        now = time.monotonic()
        due = now if self.launched is None else max(now, self.launched + self.definition.throttle)
        if due > now:
            wait = due - now
            self.log(f"Service only ran for {int(ran)} seconds. Pushing respawn out by {round(wait)} seconds.")
        self.next_reason = reason
        self.spawn_at = due
        if due <= now:
            self._spawn(reason)

    def _spawn(self, reason: str) -> None:
        self.spawn_at = None
        self.launched = time.monotonic()
        self.runs += 1
        self.reason = reason
        problem = self._start_process()
        self.setup_failed = bool(problem)
        if problem:
            self.log(f"Service could not initialize: {problem}")
        waiting, self.on_spawn = self.on_spawn, []
        for done in waiting:
            done()

    def _start_process(self) -> str:
        try:
            identity = Identity(self.definition, self.domain.uid)
            environment = full_environment(self.definition, identity, self.manager.config.era, self.domain.environment)
            pid, problem = spawn(self.definition, identity, environment)
        except (KeyError, OSError) as error:
            # No process to reap: the outcome is the same as that of a failed set up.
            self.status = EX_CONFIG << 8
            self.next_reason = INEFFICIENT
            self.spawn_at = (self.launched or 0.0) + self.definition.throttle
            return str(error)
        self.pid = self.shown_pid = pid
        self.manager.by_pid[pid] = self
        return problem

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def _kill(self) -> None:
        self.kill_at = None
        self.signalled = signal.SIGKILL
        self.log("sending Killed: 9")
        self._signal(signal.SIGKILL)

    def _gone(self) -> None:
        self.gone_at = None
        self.domain.jobs.pop(self.label, None)
        self.log("removing service")
        waiting, self.on_gone = self.on_gone + self.on_spawn, []
        self.on_spawn = []
        for done in waiting:
            done()
