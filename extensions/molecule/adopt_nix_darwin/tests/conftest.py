# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: those of the scenario `default`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_DEFAULT = Path(__file__).parents[2] / "default" / "tests"
sys.path.insert(0, str(_DEFAULT))
_shared = runpy.run_path(str(_DEFAULT / "conftest.py"))

mac, launchd, stand_in, kept = _shared["mac"], _shared["launchd"], _shared["stand_in"], _shared["kept"]
