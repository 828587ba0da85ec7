# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: the two Macs, the binary cache that serves both, and the first Mac's image in it."""

from __future__ import annotations

import sys
import typing as t

import fleet
import macs
import pytest

sys.path.insert(0, str(macs.ROOT / "tests" / "real"))
import cache_server


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[fleet.Cache]:
    """An empty binary cache over http on the controller, at an address that the stand-ins reach."""
    directory = tmp_path_factory.mktemp("cache")
    with cache_server.serving(str(directory), fleet.gateway()) as url:
        # To compress what every stand-in could have at once takes longer than all else.
        yield fleet.Cache(f"{url}?compression=none", directory)


@pytest.fixture(scope="session")
def first() -> macs.StandIn:
    """The Mac that publishes."""
    return macs.StandIn(fleet.FIRST)


@pytest.fixture(scope="session")
def second() -> macs.StandIn:
    """The Mac that takes."""
    return macs.StandIn(fleet.SECOND)


@pytest.fixture(scope="session")
def published(cache: fleet.Cache, first: macs.StandIn) -> macs.Played:
    """One run of publish_image.yml: the first Mac gets a builder, builds its configured guest and publishes it."""
    cache.public_key = fleet.make_key(first)
    return fleet.play("publish_image", fleet.FIRST, *cache.options)
