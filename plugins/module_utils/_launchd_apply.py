# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Carrying out a plan: boot out, wait, write, enable, bootstrap, watch, and back again when the new job does not hold.

A changed property list is put in place only while the label is not loaded. So whenever the file equals the
definition and the job is loaded, the loaded job is that file's, whatever killed an earlier run and when.
"""

from __future__ import annotations

import dataclasses
import os
import stat

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import (
    Ownership,
    read,
    remove,
    sync_directory,
    write,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import (
    ALREADY,
    IN_PROGRESS,
    NO_SERVICE,
    NO_SUCH_PROCESS,
    NOT_PERMITTED,
    PROTECTED,
    DomainMissing,
    Launchctl,
    explain,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import prepare_directory
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plan import Facts, Plan, Request, kind_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_report import Log, diagnosis, refusal
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_wait import (
    SPAWN_GRACE,
    THROTTLE,
    Clock,
    Failed,
    Life,
    Ready,
)

EXIT_TIMEOUT = 5  # seconds from SIGTERM to SIGKILL where the property list says nothing (measured on Macs)
MARGIN = 5.0  # seconds on top of that, for launchd to reap and forget the job
BOOTSTRAP_WINDOW = 10.0  # seconds in which a bootstrap that failed for no visible reason is tried again
KICKSTART_TRIES = 3
BOOTOUT_TRIES = 3
_BOOTED_OUT = (0, NO_SUCH_PROCESS, IN_PROGRESS, NO_SERVICE)


@dataclasses.dataclass
class Job:
    """One job under change: the tools, what was asked for, and what was found."""

    launchctl: Launchctl
    clock: Clock
    request: Request
    facts: Facts
    ready: Ready | None = None
    timeout: float = 60.0
    old: os.stat_result | None = None  # of the property list as it was found
    service: Service | None = None  # the last that was seen

    @property
    def target(self) -> str:
        """`<domain>/<label>`."""
        return self.request.target

    def look(self) -> Service | None:
        """Print the job; a domain that went away counts as not loaded."""
        try:
            self.service = self.launchctl.print_service(self.target)
        except DomainMissing:
            self.service = None
        return self.service


def apply(job: Job, plan: Plan) -> None:
    """Take the steps of `plan`. On failure the old property list and job are put back before the error is raised."""
    _refuse_stranger(job)
    log = Log(job.request.definition or job.facts.current, job.request.domain.uid)
    if plan.write is not None:
        prepare_directory(job.request.domain, job.request.path)
    if plan.unload:
        unload(job, job.facts.service)
    try:
        _place_file(job, plan)
        if plan.enable:
            job.launchctl.enable(job.target)
        if plan.load:
            load(job)
        if plan.kick:
            kick(job, kill=plan.kill)
        if plan.watch:
            watch(job, plan)
        if plan.override is not None:
            _override(job, plan.override)
    except LinuxBuilderError as exc:
        raise _failure(job, plan, log, exc) from exc


def _refuse_stranger(job: Job) -> None:
    # launchctl would answer 5 to somebody without the right, as it does to four other troubles.
    if os.geteuid() not in (0, job.request.domain.uid):
        raise StateError(
            f"{job.target}: only root may change jobs of this domain. Run as root (become: true). Nothing was changed."
        )


def _override(job: Job, enabled: bool) -> None:
    # The user's domain shares the database and is there without a login at the screen.
    target = f"{job.request.domain.overrides_target}/{job.request.label}"
    (job.launchctl.enable if enabled else job.launchctl.disable)(target)


def _place_file(job: Job, plan: Plan) -> None:
    request = job.request
    if plan.write is not None:
        write(request.path, plan.write, request.domain.ownership)
    if plan.own and job.facts.content is not None:
        # Replaced rather than chmod'ed: in a user's directory the name may meanwhile be a link to something else.
        write(request.path, job.facts.content, request.domain.ownership)
    if plan.remove:
        remove(request.path)


def exit_timeout(job: Job, service: Service | None) -> float:
    """Seconds after which launchd kills the job: its ExitTimeOut; the module's timeout where that is 0 (never)."""
    found = None if service is None else service.exit_timeout
    if found is None:
        named = (job.facts.current or {}).get("ExitTimeOut")
        found = named if isinstance(named, int) else EXIT_TIMEOUT
    return float(found) if found > 0 else job.timeout


def unload(job: Job, service: Service | None) -> None:
    """Boot the job out and poll until launchd has forgotten the label; StateError when it does not in time."""
    limit = exit_timeout(job, service) + MARGIN
    done, tries = job.launchctl.bootout(job.target), 1
    for _poll in job.clock.polls(limit, first=0.05, longest=0.5):
        found = job.look()
        if found is None:
            return
        if done.rc in _BOOTED_OUT or found.stopping:
            continue
        if tries == BOOTOUT_TRIES or done.rc in (NOT_PERMITTED, PROTECTED):
            raise Launchctl.error(done)
        done, tries = job.launchctl.bootout(job.target), tries + 1
    state = "unknown" if job.service is None else job.service.state
    raise StateError(
        f"{job.target}: still loaded (state {state!r}) {limit:g} s after bootout, so the job's file was left as it was. "
        "Find what keeps its process (launchctl print), or raise ExitTimeOut, and run again.",
        state=state,
    )


def load(job: Job) -> None:
    """Bootstrap, with further tries while the refusal has no lasting cause; StateError names the cause."""
    path, enabled = job.request.path, False
    why = ""
    for _poll in job.clock.polls(BOOTSTRAP_WINDOW, first=0.5, longest=2.0):
        done = job.launchctl.bootstrap(job.request.domain.target, path)
        if done.rc == 0:
            break
        found = job.look()
        if found is not None and not found.stopping:
            break  # "already loaded": by somebody else, and from this very file, for the label was free when it was written
        if found is not None:
            why = "the old job is still stopping"
            _wait_gone(job, found)
            continue
        why = _judge_refusal(job, done, enabled)
        enabled = True
    else:
        raise StateError(f"{job.target}: cannot be loaded: {why}.")
    if job.look() is None:
        raise StateError(
            f"{job.target}: launchctl bootstrap reported success, but launchd does not know the label. "
            "Background Task Management may refuse it: see System Settings, Login Items."
        )


def _judge_refusal(job: Job, done: Completed, enabled: bool) -> str:
    """Lift what can be lifted; StateError for a lasting cause; else the cause in words."""
    disabled = job.launchctl.print_disabled(job.request.domain.target).get(job.request.label, False)
    found = refusal(done, job.request.path, job.request.domain.uid, disabled=disabled)
    if found.lasting:
        raise StateError(f"{job.target}: cannot be loaded: {found.why}.")
    if disabled and not enabled:
        job.launchctl.enable(job.target)
    return found.why


def _wait_gone(job: Job, service: Service) -> None:
    for _poll in job.clock.polls(exit_timeout(job, service) + MARGIN, first=0.05, longest=0.5):
        found = job.look()
        if found is None or not found.stopping:
            return


def kick(job: Job, *, kill: bool = False) -> None:
    """Start the process of a loaded job. 1 and 5 come up now and then for no reason, so they are tried again."""
    for attempt, _poll in enumerate(job.clock.polls(5.0, first=0.5), 1):
        done = job.launchctl.kickstart(job.target, kill=kill)
        if done.rc in (0, ALREADY):
            return
        found = job.look()
        if found is None:
            raise StateError(f"{job.target}: launchctl kickstart: exit {explain(done)}. The job is no longer loaded; run again.")
        if found.running and not kill:
            return
        if done.rc == PROTECTED or attempt == KICKSTART_TRIES:
            raise Launchctl.error(done)


def watch(job: Job, plan: Plan) -> None:
    """Poll until the job holds: its readiness check, or a process that outlived the throttle window once. Failed if not."""
    definition = job.request.definition or job.facts.current
    before = None if plan.load or job.facts.service is None else job.facts.service.runs or 0
    life = Life(kind_of(definition, job.service), job.ready, before)
    throttle = (definition or {}).get("ThrottleInterval") or THROTTLE
    limit = job.timeout if job.ready is not None else max(job.timeout, throttle + MARGIN)
    start, kicked = job.clock.now(), plan.kick
    for _poll in job.clock.polls(limit, first=0.1, longest=1.0):
        found = job.look()
        if found is None:
            raise Failed("it was loaded, and is not any more", None)
        if life.see(found, job.clock.now()) and _is_ready(job, limit - (job.clock.now() - start)):
            return
        if not kicked and life.not_spawned(found) and job.clock.now() - start >= SPAWN_GRACE:
            kick(job)
            kicked = True
    wanted = "did not become ready" if job.ready is None else f"{job.ready} did not answer"
    raise Failed(f"{wanted} within {limit:g} s", job.service)


def _is_ready(job: Job, left: float) -> bool:
    return job.ready is None or job.ready.answers(job.launchctl.runner, min(10.0, max(1.0, left)))


def _failure(job: Job, plan: Plan, log: Log, exc: LinuxBuilderError) -> LinuxBuilderError:
    """The error to raise: what happened, why, and what was put back."""
    message, details = exc.message, dict(exc.details)
    if isinstance(exc, Failed):
        words, data = diagnosis(exc.service, job.request.definition or job.facts.current, log)
        message = f"{job.target}: {exc.message}: {words}."
        details["failure"] = data
    if plan.write is not None:
        restored = restore(job, plan)
        details["restored"] = restored is None
        message += f" {_restored_words(job)}" if restored is None else f" The old state could not be put back: {restored}"
    return StateError(message, **details)


def _restored_words(job: Job) -> str:
    if job.facts.content is None:
        return "The new property list was removed again."
    if job.facts.service is None:
        return "The old property list was put back."
    return "The old property list and job were put back."


def restore(job: Job, plan: Plan) -> str | None:
    """Put the old property list back, and its job if it was loaded; None, or why that failed."""
    try:
        found = job.look()
        if found is not None:
            unload(job, found)
        _restore_file(job)
        if job.facts.service is not None:
            load(job)
        if plan.enable:
            _restore_override(job)
    except (LinuxBuilderError, OSError) as exc:
        return str(exc)
    return None


def _restore_file(job: Job) -> None:
    path, content, old = job.request.path, job.facts.content, job.old
    if content is None or old is None:
        remove(path)
        return
    if read(path).content == content:
        return  # the new one was never written; on a full disk the old one could not be written either
    write(path, content, Ownership(mode=stat.S_IMODE(old.st_mode)))
    os.chown(path, old.st_uid, old.st_gid)
    sync_directory(os.path.dirname(path))


def _restore_override(job: Job) -> None:
    if (job.facts.overrides or {}).get(job.request.label):
        job.launchctl.disable(job.target)
