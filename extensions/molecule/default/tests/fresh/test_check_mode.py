# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dry run on a Mac that has nothing of ours yet."""

from __future__ import annotations

import typing as t

import macs
import pytest


@pytest.fixture(scope="module")
def dry_run(stand_in: macs.StandIn, kept: t.Any) -> tuple[macs.Played, list[str]]:
    """The run, and in what the Mac differs after it. What the Mac was before is kept for the tests after teardown."""
    before = kept("before", stand_in.snapshot())
    played = macs.play("site", "--check", "--diff")
    return played, macs.differences(before, stand_in.snapshot())


def test_it_runs_to_its_end(dry_run: tuple[macs.Played, list[str]]) -> None:
    played, _differences = dry_run
    assert played.rc == 0, played.output


def test_it_changes_nothing(dry_run: tuple[macs.Played, list[str]]) -> None:
    _played, differences = dry_run
    assert not differences, "\n".join(differences)


def test_it_announces_changes(dry_run: tuple[macs.Played, list[str]]) -> None:
    played, _differences = dry_run
    # Credentials, VM, delegation.
    assert played.changed() == 3, played.output


@pytest.mark.parametrize(
    "word",
    [
        macs.KEY,
        macs.PROFILE,
        macs.WORKING_DIRECTORY,
        macs.PLIST,
        macs.LABEL,
        macs.MACHINES,
        "ssh-ng://builder@linux-builder",
        "Host linux-builder",  # the ssh alias; of a file that is not there yet, the diff of a template has no name
        "builders-use-substitutes",
        "build-poll-interval",
    ],
)
def test_its_diff_names_each_change(dry_run: tuple[macs.Played, list[str]], word: str) -> None:
    played, _differences = dry_run
    assert played.says(word), played.output


def test_it_shows_no_secret(dry_run: tuple[macs.Played, list[str]]) -> None:
    played, _differences = dry_run
    assert not played.says("PRIVATE KEY")
