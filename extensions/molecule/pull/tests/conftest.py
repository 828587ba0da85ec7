# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: the fleet's git repository, served; the server that takes reports; a Mac that was told once to pull."""

from __future__ import annotations

import sys
import typing as t

import fleet
import macs
import pull
import pytest

sys.path.insert(0, str(macs.ROOT / "tests" / "real"))
import cache_server


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pull.Reports]:
    """An HTTP server that takes PUT and gives back what it has, at an address that the stand-ins reach."""
    directory = tmp_path_factory.mktemp("reports")
    with cache_server.serving(str(directory), fleet.gateway()) as url:
        yield pull.Reports(f"{url}/macs/", directory / "macs")


@pytest.fixture(scope="session")
def repository(reports: pull.Reports, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pull.Repository]:
    """The example's folder, with this Mac's inventory and the installed collection, in a git repository that is served."""
    repository = pull.Repository(tmp_path_factory.mktemp("git"), reports.url)
    with repository.served(fleet.gateway()):
        yield repository


@pytest.fixture(scope="session")
def scheduled(repository: pull.Repository) -> macs.Played:
    """One run of schedule.yml."""
    return pull.schedule(repository)
