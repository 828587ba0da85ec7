# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A stop or a removal beside work that goes on by itself: whose it is, waiting for it, or ending it.

Such work may be that of a play that has lost its connection, so nobody but the Mac knows of it any more.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_apply import exclusive
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import Job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

AREA = "builder"  # of the work of builder_vm
_POLL = 0.5  # seconds
_END = 120.0  # seconds that work has to end what it had started


class Turn:
    """Gets a stop or a removal of a builder its turn. wait: seconds for other runs' work; force: it is ended instead.

    progress: told what is waited for. root: another place of the jobs, for tests only. warnings: what there was to wait for.
    """

    def __init__(self, layout: Layout, *, wait: float, force: bool, progress: Progress = SILENT, root: str | None = None) -> None:
        self._layout = layout
        self._wait = wait
        self._force = force
        self._progress = progress
        self._root = root or _job.ROOT
        self.warnings: list[str] = []

    @contextlib.contextmanager
    def taken(self) -> t.Iterator[None]:
        """Alone with the builder. StateError, which names the work, when it goes on for too long."""
        self._clear_the_way()
        with exclusive(self._layout.profile):
            yield

    def _others(self) -> list[Job]:
        """Work on this builder that is older than this run's own: of two that waited for each other none would go on."""
        jobs = _job.running(self._root, AREA)
        mine = next((job for job in jobs if job.process == os.getpid()), None)
        return [job for job in jobs if job != mine and self._of_this_builder(job) and (mine is None or _older(job, mine))]

    def _of_this_builder(self, job: Job) -> bool:
        params = job.record().get("params")
        profile = params.get("profile") if isinstance(params, dict) else None
        return isinstance(profile, str) and os.path.normpath(profile) == self._layout.profile

    def _clear_the_way(self) -> None:
        began = time.monotonic()
        others = self._others()
        while others:
            words = "; ".join(map(_described, others))
            self._progress.phase(f"waiting for {words}")
            if self._force:
                self._end(others)
                self.warnings.append(f"force: ended {words}. The next run with state: running goes on from what it had done.")
            elif time.monotonic() - began >= self._wait:
                raise StateError(
                    f"{self._layout.profile}: another run's work goes on, {words}, and has not ended within {self._wait:g} s. "
                    "Nothing was changed. Run again when it has ended, raise drain_timeout to wait longer, or set force: true "
                    "to end it.",
                    working=[job.directory for job in others],
                )
            else:
                others[0].wait(_POLL)
            others = self._others()
            if not others and not self._force:
                self.warnings.append(f"Waited {time.monotonic() - began:.0f} s for {words}.")

    @staticmethod
    def _end(jobs: t.Sequence[Job]) -> None:
        for job in jobs:
            if not job.end(_END):
                raise StateError(
                    f"{job.directory}: {_described(job)} was asked to end and still runs after {_END:g} s. Look at what process "
                    f"{job.process or '(not known)'} waits for, or end it with SIGKILL; then run again."
                )


def _older(job: Job, other: Job) -> bool:
    return (_began(job), job.directory) < (_began(other), other.directory)


def _began(job: Job) -> float:
    began = job.record().get("began")
    return began if isinstance(began, (int, float)) else 0.0


def _described(job: Job) -> str:
    """One piece of work in words: state, phase, since when."""
    record, status = job.record(), job.status()
    params = record.get("params")
    state = params.get("state") if isinstance(params, dict) else None
    words = f"builder_vm state: {state}"
    words += f" in phase {status.phase}" if status.phase else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(_began(job)))
    return f"{words} (since {since}, process {job.process or 'not known'})"
