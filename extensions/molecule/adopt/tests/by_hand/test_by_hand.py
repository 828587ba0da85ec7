# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac whose builder was set up by hand, before this collection adopts it."""

from __future__ import annotations

import typing as t

import macs


def test_what_is_there_is_remembered(stand_in: macs.StandIn, kept: t.Any) -> None:
    kept("by_hand", stand_in.snapshot())


def test_a_run_without_consent_stops_and_names_the_variable() -> None:
    played = macs.play("site")
    assert played.rc != 0
    assert played.says("linux_builder_adopt"), played.output
    assert played.changed() == 0


def test_a_dry_run_says_what_adoption_would_do_and_does_nothing(stand_in: macs.StandIn, kept: t.Any) -> None:
    played = macs.play("site", "--extra-vars=linux_builder_adopt=true", "--check", "--diff", "--tags=adopt")
    assert played.rc == 0, played.output
    for words in ("shut down the VM", "move /Users/admin/linux-builder/nixos.qcow2", "retire /Library/LaunchDaemons/com.example"):
        assert played.says(words), played.output
    files = stand_in.snapshot()["files"]
    assert {path for path in kept("by_hand")["files"] if path not in files} == set()
