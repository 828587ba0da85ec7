# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The builder's launchd job: stopped in order, started from a definition."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job_look import JobLook
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout


class Job(JobLook):
    """The job of one layout in the system domain, and what brings it to another state."""

    def __init__(self, layout: Layout, host: _launchd_service.Host) -> None:
        super().__init__(layout, host.runner, host.roots, host.launchctl)
        self._host = host

    def stop(self, timeout: float) -> None:
        """Take the job out and wait until launchd has forgotten it, which is after its VM. timeout: where it sets none."""
        self._execute(state="stopped", timeout=timeout)

    def start(self, definition: dict[str, t.Any], address: str, port: int, timeout: float) -> None:
        """Write the property list, load it and wait until `port` is open. StateError when it does not hold.

        The override that keeps a job from being loaded is lifted.
        """
        ready = {"tcp": f"{address}:{port}"}
        self._execute(state="started", definition=definition, ready_when=ready, timeout=timeout, manifest=True)

    def _execute(self, **options: t.Any) -> _launchd_service.Result:
        params = {"label": self._label, "domain": "system", "path": None, "definition": None, "enabled": None}
        return _launchd_service.execute({**params, **options}, False, self._host)
