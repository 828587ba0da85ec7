# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the lab's own tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import typing as t

import pytest

LAB = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))
sys.path[:0] = [os.path.join(LAB, "launchd"), LAB]


@pytest.fixture
def new_launchd() -> t.Iterator[t.Callable[..., t.Any]]:
    """Makes stand-ins that are not started yet; stops and removes them afterwards."""
    from harness import Launchd

    made = []

    def make(**config: t.Any) -> t.Any:
        # Not pytest's tmp_path: jobs of other users must be able to enter it.
        made.append(Launchd(tempfile.mkdtemp(prefix="launchd-"), **config))
        return made[-1]

    yield make
    for launchd in made:
        try:
            launchd.stop_quickly()
        finally:
            shutil.rmtree(launchd.root, ignore_errors=True)


@pytest.fixture
def launchd(new_launchd: t.Callable[..., t.Any]) -> t.Any:
    """A running stand-in of era 15."""
    return new_launchd(era=15).start()
