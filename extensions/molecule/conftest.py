# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of all scenarios' tests."""

from __future__ import annotations

import json
import typing as t

import macs
import pytest


@pytest.fixture(scope="session")
def mac() -> macs.Mac:
    """The Mac of this run."""
    return macs.reach(macs.NAME)


@pytest.fixture(scope="session")
def launchd(mac: macs.Mac) -> macs.Launchd:
    """launchd on that Mac."""
    return macs.Launchd(mac)


@pytest.fixture(scope="session")
def stand_in() -> macs.StandIn:
    """The container that plays the Mac."""
    return macs.StandIn(macs.NAME)


@pytest.fixture(scope="session")
def kept() -> t.Any:
    """Keeps a value from one run of pytest to the next: kept(name, value) writes, kept(name) reads."""

    def access(name: str, value: t.Any = None) -> t.Any:
        path = macs.STATE / f"{name}.json"
        if value is not None:
            path.write_text(json.dumps(value))
        return json.loads(path.read_text())

    return access
