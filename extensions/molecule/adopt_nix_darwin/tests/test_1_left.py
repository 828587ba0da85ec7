# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac on which nix-darwin's builder was left, before this collection adopts it."""

from __future__ import annotations

import typing as t

import macs


def test_what_is_there_is_remembered(stand_in: macs.StandIn, kept: t.Any) -> None:
    kept("left", stand_in.snapshot())


def test_a_run_without_consent_stops_and_names_owner_and_variable() -> None:
    played = macs.play("site")
    assert played.rc != 0
    assert played.says("nix-darwin (nix.linux-builder)"), played.output
    assert played.says("linux_builder_adopt"), played.output
    assert played.changed() == 0


def test_a_dry_run_keeps_the_disk_in_its_place_and_does_nothing(stand_in: macs.StandIn, kept: t.Any) -> None:
    played = macs.play("site", "--extra-vars=linux_builder_adopt=true", "--check", "--diff", "--tags=adopt")
    assert played.rc == 0, played.output
    for words in (
        "shut down the VM",
        "retire /Library/LaunchDaemons/org.nixos.linux-builder.plist",
        "keep /var/lib/linux-builder/nixos.qcow2",
        "put /var/lib/linux-builder/keys/builder_ed25519 aside",
        "take the old builder's entry out of /etc/nix/machines",
    ):
        assert played.says(words), played.output
    assert set(kept("left")["files"]) <= set(stand_in.snapshot()["files"])
