# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same examples in every run, so that a red test is red again; HYPOTHESIS_PROFILE=explore looks for new ones."""

from __future__ import annotations

import importlib
import os
import typing as t

import pytest
from hypothesis import settings

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _time_machine

try:
    _internal = importlib.import_module("ansible.module_utils._internal")
except ImportError:
    _internal = None

settings.register_profile("fixed", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(autouse=True)
def fixture_no_tmutil_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac the tests leave its Time Machine alone; those about it bring a tmutil of their own."""
    monkeypatch.setattr(_time_machine, "TMUTIL", "/nowhere/tmutil")


# Where the collection writes on a Mac. The tests have places of their own, and run as any user and on any machine.
PLACES = ("/etc/newsyslog.d", "/etc/nix", "/etc/ssh/ssh_config.d", "/var/db/nixmac.linux_builder", "/var/lib/linux-builder")


@pytest.fixture(autouse=True)
def fixture_nothing_of_this_host_is_touched() -> t.Iterator[None]:
    """A test that root runs may write anywhere; it would fail for whoever is not root, or leave something behind."""
    before = _names()
    yield
    assert _names() == before


def _names() -> dict[str, list[str]]:
    return {place: sorted(os.listdir(place)) for place in PLACES if os.path.isdir(place)}


@pytest.fixture(autouse=True)
def fixture_module_side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules run as on a Mac, though a test of the controller's side was in this process before.

    Whoever imports that makes ansible-core (from 2.19 on) show a module's warnings instead of returning them.
    """
    if "module" in request.path.parent.name and _internal is not None:
        monkeypatch.setattr(_internal, "is_controller", False)
