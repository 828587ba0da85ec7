# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: those of the scenario `default`, and the hands of `host_keys`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_SCENARIOS = Path(__file__).parents[2]
for _name in ("default", "host_keys"):
    sys.path.insert(0, str(_SCENARIOS / _name / "tests"))
_shared = runpy.run_path(str(_SCENARIOS / "default" / "tests" / "conftest.py"))

mac, launchd, stand_in = _shared["mac"], _shared["launchd"], _shared["stand_in"]
