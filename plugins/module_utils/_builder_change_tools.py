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
    _builder_disk_apply,
    _builder_drain,
    _builder_proof,
    _builder_ready,
    _launchd_service,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import identity
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job import Job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_look import DiskLook, PlansDisk, Sight
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_ready import Ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix


class DiskStep(PlansDisk, t.Protocol):
    """What happens to the data disk in a change."""

    def apply(self) -> None:
        """Do what was planned while the VM is stopped. Killed at any point, the next run's plan and apply complete it."""

    def settle(self, store_path: str) -> None:
        """The VM of `store_path` serves with it: the disk of before is not needed any more."""

    def roll_back(self) -> None:
        """Put the disk of before back while the VM is stopped."""


class DataDisk(DiskLook):
    """The DiskStep of a Mac."""

    def apply(self) -> None:
        """See DiskStep."""
        if self._plan is not None:
            _builder_disk_apply.apply(self._plan, self._layout, self._runner)

    def settle(self, store_path: str) -> None:
        """See DiskStep."""
        _builder_disk_apply.settle(self._layout, identity(store_path))

    def roll_back(self) -> None:
        """See DiskStep."""
        _builder_disk_apply.roll_back(self._layout, self._runner)


@dataclasses.dataclass
class Tools(Sight):
    """What a change works with beside what it looks with. around: entered with the first phase that takes time."""

    job: t.Callable[[Layout, Runner], Job] = lambda layout, runner: Job(layout, _launchd_service.Host(runner=runner))
    disk: t.Callable[[Layout, Runner], DiskStep] = DataDisk
    find_nix: t.Callable[[Runner], Nix] = find_nix
    drain: t.Callable[[str, float, bool], _builder_drain.Hold] = _builder_drain.drain
    ready: t.Callable[[Guest, Runner, float], Ready] = _builder_ready.wait_until_ready
    prove: t.Callable[[Nix, Spec, t.Mapping[str, str], str], float] = _builder_proof.prove
    around: t.Callable[[Runner], t.ContextManager[t.Any]] = _awake.awake
    clock: t.Callable[[], float] = time.monotonic
