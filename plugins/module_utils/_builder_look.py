# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""state=running up to its plan: the builder as it is found, and what a change would do to it.

builder_info asks no more than that, and carries it to every Mac in every run. So nothing is imported here that changes a Mac.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_disk,
    _builder_journal,
    _builder_slots,
    _clock,
    _mac,
    _time_machine,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import (
    HARMLESS,
    Change,
    Found,
    make_change,
    origin_of,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_config import guest_grows
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import identity
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job_look import JobLook
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised, parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec, spec_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


class PlansDisk(t.Protocol):
    """What a plan asks of the data disk."""

    def plan(self, spec: Spec, old: str | None, new: str | None) -> str:
        """What a change would do to it, in words; empty for nothing. old, new: store paths of the VM, None where not known."""


class DiskLook:
    """The data disk of a Mac, and the plan that was made for it last."""

    def __init__(self, layout: Layout, runner: Runner) -> None:
        self._layout = layout
        self._runner = runner
        self._plan: _builder_disk.DiskPlan | None = None

    def plan(self, spec: Spec, old: str | None, new: str | None) -> str:
        """See PlansDisk. StateError for what was asked for and is not allowed, or for which there is no space."""
        disk = _builder_disk.read(self._layout)
        if disk.image is None:
            return ""
        free = _builder_disk.free_bytes(disk.path)
        self._plan = _builder_disk.plan(spec, disk, identity(old), identity(new), guest_grows(spec), free)
        return self._plan.reason


def clock_reasons(spec: Spec, current: Current, runner: Runner) -> tuple[str, ...]:
    """Why a VM that runs should be restarted for its clock. Not while it builds: that can wait for a later run."""
    if not spec.max_clock_skew or _builder_slots.busy(spec.uri):
        return ()
    guest = Guest(spec.layout, *planning.recorded_where(current.record, spec), spec.client_key)
    reason = _clock.restart_reason(_clock.measure(guest, runner), spec.max_clock_skew)
    return () if reason is None else (reason,)


@dataclasses.dataclass
class Sight:
    """What a look works with; the tests bring their own. reasons: further reasons to restart a VM that runs, in words."""

    runner: Runner = dataclasses.field(default_factory=Runner)
    job: t.Callable[[Layout, Runner], JobLook] = JobLook
    disk: t.Callable[[Layout, Runner], PlansDisk] = DiskLook
    reasons: t.Callable[[Spec, Current, Runner], t.Sequence[str]] = clock_reasons


def require_root() -> None:
    """StateError for everybody else."""
    if os.geteuid() != 0:
        raise StateError("builder_vm: needs root, because the profile and the keys are root's. Set become: true.")


def read_spec(params: t.Mapping[str, t.Any], runner: Runner) -> Spec:
    """The builder that the module's options ask for; starts sysctl(8) where the size of the VM was left out."""
    if params["cores"] and params["memory_mib"]:
        return spec_from(params, default_cores=0, default_memory_mib=0)
    mac = _mac.read(runner)
    return spec_from(
        params,
        default_cores=_mac.default_cores(mac.cores),
        default_memory_mib=_mac.default_memory_mib(mac.memory_mib),
    )


def read(spec: Spec, job: JobLook) -> Found:
    """The builder that is there."""
    layout = spec.layout
    service = job.look()
    plist = job.read()
    journal = _builder_journal.read(layout)
    path = None if service is None or service.path is None else os.path.realpath(service.path)
    return Found(
        current=planning.read_current(spec),
        service=service,
        plist=plist,
        misowned=job.misowned(plist),
        journal=journal if journal is None or journal.phase not in HARMLESS else None,
        parents=() if journal is None else journal.parents,
        service_path=None if path == os.path.realpath(plist.path) else path,
    )


def known(spec: Spec, current: Current) -> Realised | None:
    """What was asked for, where no Nix is needed to know it."""
    return planning.known_realisation(spec, current, planning.recorded_lock(spec, current))


def plan(spec: Spec, found: Found, realised: Realised | None, disk: PlansDisk, sight: Sight) -> tuple[Change, Change | None]:
    """(the change, the change without a restart that can wait, if it has one). StateError of the disk's plan."""
    files = planning.make_plan(spec, found.current, realised, found.parents)
    origin = origin_of(found, spec.layout)
    words = disk.plan(spec, origin.store_path, files.store_path)
    serves = found.service is not None and found.service.running
    reasons = sight.reasons(spec, found.current, sight.runner) if serves else ()
    change = make_change(spec, found, files, origin, words, reasons)
    return change, make_change(spec, found, files, origin, words) if change.deferrable else None


def hold_out(outcome: Outcome, directory: str, excluded: bool, runner: Runner, check_mode: bool) -> None:
    """Leave the working directory out of Time Machine's backups, or have it in them again."""
    exclusion = _time_machine.hold(directory, excluded, runner, check_mode)
    outcome.changed = outcome.changed or exclusion.changed
    outcome.after = (outcome.after or "") + exclusion.line
    outcome.warnings += [exclusion.warning] if exclusion.warning else []


def running(params: t.Mapping[str, t.Any], runner: Runner) -> Outcome:
    """What builder_vm with state=running would do, without its results. `update` is not followed: that takes a Nix."""
    require_root()
    spec = read_spec(params, runner)
    parse_reference(spec.package)
    sight = Sight(runner)
    found = read(spec, sight.job(spec.layout, runner))
    change, _later = plan(spec, found, known(spec, found.current), sight.disk(spec.layout, runner), sight)
    outcome = Outcome(change.changed, {}, change.before, change.after, spec.layout.working_directory)
    hold_out(outcome, spec.layout.working_directory, True, runner, True)
    return outcome
