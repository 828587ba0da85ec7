# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One Mac builds the image and publishes it, signed; the other takes it and builds nothing for Linux."""

from __future__ import annotations

import re

import fleet
import macs
import pytest


def linux_outputs(stand_in: macs.StandIn) -> list[str]:
    """What of the builder's closure only Linux can have made."""
    paths = stand_in.root("/bin/sh", "-c", f"/nix/var/nix/profiles/default/bin/nix-store -qR {macs.PROFILE}").split()
    return [path for path in paths if path.endswith("-guest-configuration")]


def build_logs(stand_in: macs.StandIn) -> list[str]:
    """Names of the derivations of which Nix on this Mac has a build log: it built them, or had them built."""
    found = stand_in.root("/bin/sh", "-c", "find /nix/var/log/nix/drvs -type f 2>/dev/null || true").split()
    return [re.sub(r"\.drv(\.bz2)?$", "", path.rpartition("/")[2].partition("-")[2]) for path in found]


@pytest.fixture(scope="module")
def taken(published: macs.Played, cache: fleet.Cache, second: macs.StandIn) -> macs.Played:
    """site.yml on the second Mac with the same settings."""
    return fleet.play("site", fleet.SECOND, *cache.options, "-v")


def test_the_image_is_built_through_the_builder_and_published(
    published: macs.Played, cache: fleet.Cache, first: macs.StandIn
) -> None:
    assert published.rc == 0, published.output[-6000:]
    assert published.says(f"linux_builder_cache_public_key: {cache.public_key}")
    (script,) = linux_outputs(first)
    assert any(f"StorePath: {script}\n" in narinfo for narinfo in cache.narinfos())
    assert all("\nSig: fleet-1:" in narinfo for narinfo in cache.narinfos())
    assert "guest-configuration" in build_logs(first)


def test_publishing_again_changes_nothing(published: macs.Played, cache: fleet.Cache) -> None:
    again = fleet.play("publish_image", fleet.FIRST, *cache.options)
    assert (again.rc, again.changed()) == (0, 0), again.output[-6000:]


def test_the_private_key_is_nowhere_but_in_its_file(published: macs.Played, cache: fleet.Cache, first: macs.StandIn) -> None:
    secret = first.root("/bin/cat", fleet.KEY).strip().partition(":")[2]
    assert secret not in published.output
    assert not any(secret in narinfo for narinfo in cache.narinfos())
    search = "cat > /var/tmp/p; grep -rlaF -f /var/tmp/p /nix/store /var/log /var/run /tmp; rm /var/tmp/p"
    found = first.root("/bin/sh", "-c", search, stdin=secret)
    assert not found


def test_the_second_mac_builds_nothing_for_linux(taken: macs.Played, cache: fleet.Cache, second: macs.StandIn) -> None:
    assert taken.rc == 0, taken.output[-6000:]
    assert linux_outputs(second)
    logs = build_logs(second)
    assert "guest-configuration" not in logs
    assert any(name.startswith("linux-builder-proof") for name in logs)  # such a log would be there


def test_both_macs_have_one_image_and_keys_of_their_own(taken: macs.Played, first: macs.StandIn, second: macs.StandIn) -> None:
    assert linux_outputs(first) == linux_outputs(second)
    keys = [mac.root("/bin/cat", f"{macs.WORKING_DIRECTORY}/keys/ssh_host_ed25519_key.pub") for mac in (first, second)]
    assert keys[0] != keys[1]


def test_the_daemon_does_not_trust_the_fleets_key(taken: macs.Played, cache: fleet.Cache, second: macs.StandIn) -> None:
    settings = second.root("/bin/sh", "-c", f"{fleet.NIX} config show")
    assert cache.public_key not in settings
    assert cache.url not in settings


def test_a_second_run_changes_nothing(taken: macs.Played, cache: fleet.Cache) -> None:
    again = fleet.play("site", fleet.SECOND, *cache.options, "-v")
    assert (again.rc, again.changed()) == (0, 0), again.output[-6000:]
    # Nothing to do is no long work either, after which the controller would have to ask.
    assert '"polls"' not in again.output


def test_another_port_costs_no_build_for_linux(taken: macs.Played, cache: fleet.Cache, second: macs.StandIn) -> None:
    other = fleet.play("site", fleet.SECOND, *cache.options, f"--extra-vars=linux_builder_port={fleet.OTHER_PORT}")
    assert other.rc == 0, other.output[-6000:]
    assert "guest-configuration" not in build_logs(second)
