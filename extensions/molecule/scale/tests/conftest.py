# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: the Mac that Mitogen sets up."""

from __future__ import annotations

import macs
import pytest
import scale


@pytest.fixture(scope="session")
def second() -> macs.StandIn:
    """The Mac that is set up through Mitogen."""
    return macs.StandIn(scale.SECOND)
