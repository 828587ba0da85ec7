# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The builder's launchd job as it is. Nothing here changes anything."""

from __future__ import annotations

import os

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import LAUNCHCTL, Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Roots, resolve_domain


class JobLook:
    """The job of one layout in the system domain. roots, launchctl: other ones serve the tests."""

    def __init__(self, layout: Layout, runner: Runner, roots: Roots | None = None, launchctl: str = LAUNCHCTL) -> None:
        self._launchctl = Launchctl(runner, launchctl)
        self._label = layout.label
        self._domain = resolve_domain("system", roots or Roots())
        self.path = os.path.join(self._domain.directories[0], f"{layout.label}.plist")

    def look(self) -> Service | None:
        """The loaded job; None when launchd does not have it. Starts one process."""
        return self._launchctl.print_service(self._domain.service(self._label))

    def read(self) -> _files.Snapshot:
        """The job's property list."""
        return _files.read(self.path)

    def misowned(self, snapshot: _files.Snapshot) -> bool:
        """Whether launchd would not load that file again, for whose it is."""
        return snapshot.status is not None and self._domain.ownership.differs(snapshot.status)
