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


def test_it_is_verified_as_it_is(mac: macs.Mac) -> None:
    result = mac.module("nixmac.linux_builder.builder_verify", {})
    assert result.get("verified") is True, result
    assert [(build["system"], build["features"]) for build in result["builds"]] == [("x86_64-linux", [])]
    assert result["recorded"] is False


def test_it_is_diagnosed_as_it_is(mac: macs.Mac, stand_in: macs.StandIn) -> None:
    before = stand_in.snapshot()
    found = mac.module("nixmac.linux_builder.builder_info", {"deep": True})
    # Builds go through, but this daemon names no NIX_SSL_CERT_FILE, so its guest got no certificates.
    assert [link["name"] for link in found["links"] if link["state"] == "broken"] == ["guest_ca"], "\n".join(found["report"])
    # The line of the manual offers no features.
    asked = mac.module("nixmac.linux_builder.builder_info", {"deep": True, "features": ["big-parallel"]})
    assert asked["broken"] == "entry", "\n".join(asked["report"])
    differences = [line for line in macs.differences(before, stand_in.snapshot()) if "nixos.qcow2" not in line]
    assert not differences, "\n".join(differences)
