# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a change works with: the parts that start processes, wait, or touch the disk. The tests bring their own."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _awake,
    _builder_disk,
    _builder_drain,
    _builder_plan,
    _builder_proof,
    _builder_ready,
    _clock,
    _launchd_service,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_config import guest_grows
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import identity
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job import Job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_ready import Guest, Ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Layout, Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix


class DiskStep(t.Protocol):
    """What happens to the data disk in a change."""

    def plan(self, spec: Spec, old: str | None, new: str | None) -> str:
        """What `apply` would do, in words; empty for nothing. old, new: store paths of the VM, None where not known."""

    def apply(self) -> None:
        """Do it while the VM is stopped. Killed at any point, the next run's plan and apply complete it."""

    def settle(self, store_path: str) -> None:
        """The VM of `store_path` serves with it: the disk of before is not needed any more."""

    def roll_back(self) -> None:
        """Put the disk of before back while the VM is stopped."""


class DataDisk:
    """The DiskStep of a Mac."""

    def __init__(self, layout: Layout, runner: Runner) -> None:
        self._layout = layout
        self._runner = runner
        self._plan: _builder_disk.DiskPlan | None = None

    def plan(self, spec: Spec, old: str | None, new: str | None) -> str:
        """See DiskStep. StateError for what was asked for and is not allowed, or for which there is no space."""
        disk = _builder_disk.read(self._layout)
        if disk.image is None:
            return ""
        free = _builder_disk.free_bytes(disk.path)
        self._plan = _builder_disk.plan(spec, disk, identity(old), identity(new), guest_grows(spec), free)
        return self._plan.reason

    def apply(self) -> None:
        """See DiskStep."""
        if self._plan is not None:
            _builder_disk.apply(self._plan, self._layout, self._runner)

    def settle(self, store_path: str) -> None:
        """See DiskStep."""
        _builder_disk.settle(self._layout, identity(store_path))

    def roll_back(self) -> None:
        """See DiskStep."""
        _builder_disk.roll_back(self._layout, self._runner)


def clock_reasons(spec: Spec, current: Current, runner: Runner) -> tuple[str, ...]:
    """Why a VM that runs should be restarted for its clock. Not while it builds: that can wait for a later run."""
    if not spec.max_clock_skew or _builder_drain.busy(spec.uri):
        return ()
    guest = Guest(spec.layout, *_builder_plan.recorded_where(current.record, spec), spec.client_key)
    reason = _clock.restart_reason(_clock.measure(guest, runner), spec.max_clock_skew)
    return () if reason is None else (reason,)


@dataclasses.dataclass
class Tools:
    """reasons: further reasons to restart a VM that runs, in words. around: entered with the first phase that takes time."""

    runner: Runner = dataclasses.field(default_factory=Runner)
    job: t.Callable[[Layout, Runner], Job] = lambda layout, runner: Job(layout, _launchd_service.Host(runner=runner))
    find_nix: t.Callable[[Runner], Nix] = find_nix
    drain: t.Callable[[str, float, bool], _builder_drain.Hold] = _builder_drain.drain
    disk: t.Callable[[Layout, Runner], DiskStep] = DataDisk
    ready: t.Callable[[Guest, Runner, float], Ready] = _builder_ready.wait_until_ready
    prove: t.Callable[[Nix, Spec, t.Mapping[str, str], str], float] = _builder_proof.prove
    reasons: t.Callable[[Spec, Current, Runner], t.Sequence[str]] = clock_reasons
    around: t.Callable[[Runner], t.ContextManager[t.Any]] = _awake.awake
    clock: t.Callable[[], float] = time.monotonic
