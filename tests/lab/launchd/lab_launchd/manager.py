# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All domains and jobs of one stand-in, and the rules for loading into them."""

from __future__ import annotations

import os
import plistlib
import pwd
import signal
import time
import typing as t

from lab_launchd import triggers
from lab_launchd.config import Config, Places
from lab_launchd.definition import PLIST_ERRORS, Definition, check_file, read_definition
from lab_launchd.facts import (
    BAD_ACTION,
    BAD_SESSION,
    DISABLED,
    EALREADY,
    NO_DOMAIN,
    NO_GROUP,
    NO_USER,
    LaunchError,
)
from lab_launchd.faults import Faults
from lab_launchd.job import Job
from lab_launchd.spawn import Identity

POLL_SECONDS = 0.5
SHUTDOWN_SECONDS = 65.0  # even for jobs with ExitTimeOut 0


class Domain:
    """system, gui/<uid> or user/<uid>."""

    def __init__(self, kind: str, uid: int | None, asid: int) -> None:
        self.kind = kind
        self.uid = uid
        self.asid = asid
        self.jobs: dict[str, Job] = {}
        self.environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """As in a target: `gui/501`."""
        return self.kind if self.uid is None else f"{self.kind}/{self.uid}"


class Overrides:
    """The override database: label -> disabled. There is no way to delete a record, as on a Mac."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> dict[str, bool]:
        """All records, in file order; an unreadable file counts as empty."""
        try:
            with open(self.path, "rb") as handle:
                data = plistlib.load(handle)
        except (OSError, *PLIST_ERRORS):
            return {}
        return {label: value for label, value in data.items() if isinstance(value, bool)} if isinstance(data, dict) else {}

    def write(self, label: str, disabled: bool) -> None:
        """Record one label, replacing the file in one step."""
        records = self.read()
        records[label] = disabled
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        temporary = self.path + ".new"
        with open(temporary, "wb") as handle:
            plistlib.dump(records, handle, sort_keys=False)
        os.replace(temporary, self.path)


class Manager:
    """The state of the daemon. No input and output here besides files, processes and the log."""

    def __init__(self, places: Places, config: Config, log: t.Callable[[str], None]) -> None:
        self.places = places
        self.config = config
        self.log = log
        self.faults = Faults([])
        self.by_pid: dict[int, Job] = {}
        self.stopping = False
        self.system = Domain("system", None, 0)
        self.domains: dict[str, Domain] = {"system": self.system}
        self.closing: list[Domain] = []  # logged out, jobs still ending
        self.timers: list[tuple[float, t.Callable[[], None]]] = []
        self._asid = 100000
        self._next_poll: float | None = None
        for item in config.faults:
            try:
                self.faults.add(item)
            except (ValueError, TypeError, AttributeError) as error:
                log(f"fault ignored: {error}")

    # Domains

    def domain(self, kind: str, uid: int | None) -> Domain:
        """The domain; LaunchError 112 when it does not exist (125 when a login is still under way)."""
        name = kind if uid is None else f"{kind}/{uid}"
        if name in self.domains:
            return self.domains[name]
        if kind == "gui" and uid in self.config.gui_not_ready:
            raise LaunchError(BAD_ACTION, name)
        if uid is None or kind not in ("gui", "user") or (kind == "gui" and uid not in self.config.gui_sessions):
            raise LaunchError(NO_DOMAIN, name)
        try:
            pwd.getpwuid(uid)
        except KeyError:
            raise LaunchError(NO_DOMAIN, name) from None
        self._asid += 1
        domain = self.domains[name] = Domain(kind, uid, self._asid)
        if kind == "gui":
            domain.environment["SSH_AUTH_SOCK"] = f"/private/tmp/com.apple.launchd.Lab{uid}/Listeners"
        return domain

    def overrides(self, uid: int | None) -> Overrides:
        """The database of the system or of a user."""
        return Overrides(self.places.overrides(uid))

    def is_disabled(self, domain: Domain, definition: Definition) -> bool:
        """The override wins over the property list's Disabled."""
        return self.overrides(domain.uid).read().get(definition.label, definition.disabled)

    # Loading

    def load(self, domain: Domain, path: str, force: bool = False) -> Job:
        """Load one property list and start what starts at load. LaunchError says why not."""
        check_file(path, domain.uid)
        definition = read_definition(path)
        for key in definition.ignored:
            self.log(f"({definition.label}) {key}: key of the wrong type ignored")
        if definition.label in domain.jobs:
            state = domain.jobs[definition.label].state
            raise LaunchError(EALREADY, f"{definition.label} is {state}")
        if not force and self.is_disabled(domain, definition):
            raise LaunchError(DISABLED, definition.label)
        self._check_session(domain, definition)
        self._check_identity(domain, definition)
        job = Job(self, domain, path, definition)
        domain.jobs[job.label] = job
        job.start_up()
        return job

    def _check_session(self, domain: Domain, definition: Definition) -> None:
        # Recorded on 15.7.5 (134 in the log, 5 at the client), not on 26.5.2.
        if domain.kind == "user" and self.config.era < 26 and "Background" not in definition.sessions:
            raise LaunchError(BAD_SESSION, definition.label)

    @staticmethod
    def _check_identity(domain: Domain, definition: Definition) -> None:
        try:
            Identity(definition, domain.uid)
        except KeyError as error:
            number = NO_USER if "getpwnam" in str(error) else NO_GROUP
            raise LaunchError(number, str(error)) from None

    def load_directory(self, domain: Domain, directory: str) -> None:
        """Everything in it, as at boot: failures only in the log."""
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            return
        for name in names:
            if name.endswith(".plist"):
                path = os.path.join(directory, name)
                try:
                    self.load(domain, path)
                except LaunchError as error:
                    self.log(f"{path}: not loaded ({error.number}: {error.detail})")

    def boot(self) -> None:
        """Load all daemons, then the agents of everybody who is logged in at the screen."""
        self.load_directory(self.system, self.places.system_daemons)
        self.load_directory(self.system, self.places.daemons)
        for uid in self.config.gui_sessions:
            self.login(uid)

    def login(self, uid: int) -> None:
        """A GUI session begins."""
        try:
            domain = self.domain("gui", uid)
            home = pwd.getpwuid(uid).pw_dir
        except (LaunchError, KeyError):
            self.log(f"gui/{uid}: no such user")
            return
        self.load_directory(domain, self.places.agents)
        self.load_directory(domain, os.path.join(home, "Library/LaunchAgents"))

    def logout(self, uid: int) -> None:
        """A GUI session ends with all its jobs."""
        domain = self.domains.pop(f"gui/{uid}", None)
        if domain:
            self.closing.append(domain)
            for job in list(domain.jobs.values()):
                job.remove()

    # Time and processes

    def jobs(self) -> list[Job]:
        """All jobs of all domains."""
        domains = list(self.domains.values()) + self.closing
        return [job for domain in domains for job in domain.jobs.values()]

    def after(self, seconds: float, action: t.Callable[[], None]) -> None:
        """Call `action` once, later."""
        self.timers.append((time.monotonic() + seconds, action))

    def next_deadline(self) -> float | None:
        """When tick() must be called at the latest (monotonic), None: no need."""
        moments = [moment for job in self.jobs() for moment in job.deadlines()]
        moments.extend(moment for moment, dummy in self.timers)
        if any(triggers.needs_poll(job) for job in self.jobs()) and not self.stopping:
            if self._next_poll is None:
                self._next_poll = time.monotonic() + POLL_SECONDS
            moments.append(self._next_poll)
        return min(moments) if moments else None

    def tick(self) -> None:
        """Do everything that is due."""
        now = time.monotonic()
        due = [timer for timer in self.timers if timer[0] <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        for _dummy, action in due:
            action()
        for job in self.jobs():
            job.tick(now)
        if self._next_poll is not None and now >= self._next_poll:
            self._next_poll = None
            for job in self.jobs():
                if triggers.needs_poll(job):
                    job.poll()

    def reap(self) -> None:
        """Collect all ended children, ours and adopted ones."""
        while True:
            try:
                # Look first: while the main process is a zombie its process group id cannot be taken by another.
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if seen is None:
                return
            job = self.by_pid.pop(seen.si_pid, None)
            if job is not None and not job.definition.abandon_group:
                self._kill_group(seen.si_pid)
            dummy, status = os.waitpid(seen.si_pid, 0)
            if job is not None:
                job.reaped(status)

    @staticmethod
    def _kill_group(group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def stop(self) -> None:
        """Shut down: SIGTERM to every job; each is killed after its own exit timeout, or when time is up."""
        self.stopping = True
        last = time.monotonic() + SHUTDOWN_SECONDS
        for job in self.jobs():
            job.spawn_at = job.next_interval = job.next_minute = None
            job.terminate()
            if job.pid:
                job.kill_at = min(job.kill_at or last, last)
