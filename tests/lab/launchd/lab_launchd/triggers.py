# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a job run: KeepAlive conditions, calendar times, watched paths."""

from __future__ import annotations

import os
import time
import typing as t

from lab_launchd.facts import CRASH_SIGNALS

if t.TYPE_CHECKING:
    from lab_launchd.job import Job


def keeps_alive(job: Job) -> bool:
    """Whether KeepAlive (or a filled queue directory) wants the job to run now."""
    if any(_filled(path) for path in job.definition.queue_directories):
        return True
    if job.definition.keep_alive is True:
        return True
    conditions = job.definition.conditions
    if conditions.get("AfterInitialDemand") is True and not job.demanded:
        return False
    # Several conditions are OR-ed.
    return any(check(job, conditions[key]) for key, check in _CHECKS.items() if key in conditions)


def _filled(path: str) -> bool:
    try:
        return bool(os.listdir(path))
    except OSError:
        return False


def _successful_exit(job: Job, wanted: t.Any) -> bool:
    if job.status is None:
        return False
    return (job.exit_code == 0) is (wanted is True)


def _crashed(job: Job, wanted: t.Any) -> bool:
    if job.status is None:
        return wanted is False
    return (job.exit_signal in CRASH_SIGNALS) is (wanted is True)


def _path_state(job: Job, dummy: t.Any) -> bool:
    return any(os.path.exists(path) is wanted for path, wanted in job.definition.path_state.items())


def _other_enabled(job: Job, wanted: t.Any) -> bool:
    return isinstance(wanted, dict) and any((label in job.domain.jobs) is value for label, value in wanted.items())


def _other_active(job: Job, wanted: t.Any) -> bool:
    jobs = job.domain.jobs
    return isinstance(wanted, dict) and any(bool(label in jobs and jobs[label].pid) is value for label, value in wanted.items())


# NetworkState is not here: no longer implemented by launchd.
_CHECKS: dict[str, t.Callable[[Job, t.Any], bool]] = {
    "SuccessfulExit": _successful_exit,
    "Crashed": _crashed,
    "PathState": _path_state,
    "OtherJobEnabled": _other_enabled,
    "OtherJobActive": _other_active,
}


def needs_poll(job: Job) -> bool:
    """Whether the job waits for something that no event announces."""
    return job.definition.polls or any(key in job.definition.conditions for key in ("OtherJobEnabled", "OtherJobActive"))


def snapshot(paths: list[str]) -> list[t.Any]:
    """Comparable state of watched paths."""
    result: list[t.Any] = []
    for path in paths:
        try:
            status = os.stat(path)
            result.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except OSError:
            result.append(None)
    return result


def next_minute(now: float) -> float:
    """Monotonic time of the next full minute of the wall clock."""
    return now + 60.0 - time.time() % 60.0 + 0.01


def calendar_matches(entries: list[dict[str, int]], moment: time.struct_time) -> bool:
    """StartCalendarInterval: a missing key matches always; Day and Weekday both given means either."""
    return any(_entry_matches(entry, moment) for entry in entries)


def _entry_matches(entry: dict[str, int], moment: time.struct_time) -> bool:
    for key, value in (("Minute", moment.tm_min), ("Hour", moment.tm_hour), ("Month", moment.tm_mon)):
        if key in entry and entry[key] != value:
            return False
    days = []
    if "Day" in entry:
        days.append(entry["Day"] == moment.tm_mday)
    if "Weekday" in entry:
        # launchd: 0 and 7 are Sunday; Python: Monday is 0.
        days.append(entry["Weekday"] % 7 == (moment.tm_wday + 1) % 7)
    return any(days) if days else True
