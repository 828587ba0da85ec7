# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One browser for all tests."""

from __future__ import annotations

import typing as t

import pytest
import webdriver


@pytest.fixture(scope="session")
def chromium() -> t.Iterator[webdriver.Browser]:
    """A headless Chromium."""
    with webdriver.browser() as browser:
        yield browser
