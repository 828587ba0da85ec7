# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: the Mac that Mitogen sets up."""

from __future__ import annotations

import sys
from pathlib import Path

_MOLECULE = Path(__file__).parents[2]
sys.path.insert(0, str(_MOLECULE / "default" / "tests"))

import macs  # noqa: E402
import pytest  # noqa: E402
import scale  # noqa: E402


@pytest.fixture(scope="session")
def second() -> macs.StandIn:
    """The Mac that is set up through Mitogen."""
    return macs.StandIn(scale.SECOND)
