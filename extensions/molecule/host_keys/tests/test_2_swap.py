# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the stock host key to the Mac's own and back: interrupted between any two steps, and with a guest that cannot start."""

from __future__ import annotations

import keys
import macs
import pytest


@pytest.fixture(scope="module", autouse=True)
def stock() -> None:
    """Back to the stock key, which is a change of its own."""
    played = macs.play("site")
    assert played.rc == 0, played.output[-6000:]


def test_the_way_back_pins_the_stock_key(mac: macs.Mac) -> None:
    keys.check_stock(mac)
    assert keys.build(mac).rc == 0


def test_a_guest_that_cannot_start_is_replaced_by_the_one_before(mac: macs.Mac, stand_in: macs.StandIn) -> None:
    flake = "/opt/lab/broken"
    stand_in.root(
        "/bin/sh",
        "-c",
        f'rm -rf {flake}; cp -r /opt/lab/builder {flake}; sed -i \'s/"set -eu.n" + script/"exit 1"/\' {flake}/guest.nix',
    )
    played = macs.play(
        "site", *keys.OWN, f"--extra-vars=linux_builder_package=path:{flake}#darwin.linux-builder linux_builder_ready_timeout=60"
    )
    assert played.rc != 0
    assert played.says("The builder from before runs again")
    assert keys.pinned_key(mac) == keys.stock_key()
    assert keys.build(mac).rc == 0


def test_interrupted_after_each_step_the_next_run_completes_it(mac: macs.Mac) -> None:
    for task in ("builder : Stop the VM", "TASK [Pin the host key]", "builder : Start the VM"):
        macs.interrupt("site", task, *keys.OWN)
        if task != "builder : Stop the VM":
            # The VM is stopped; and from the pin on the published key is nothing to the daemon.
            assert keys.build(mac).rc != 0
    assert keys.pinned_key(mac) == keys.own_key(mac)
    played = macs.play("site", *keys.OWN)
    assert played.rc == 0, played.output[-6000:]
    assert keys.pinned_key(mac) == keys.own_key(mac)
    assert keys.build(mac).rc == 0


def test_stopped_for_the_stock_key_and_then_asked_for_another_guest(mac: macs.Mac) -> None:
    """The other guest is built by the very VM that is stopped: that one, and its key, come back first."""
    macs.interrupt("site", "builder : Start the VM")
    assert keys.build(mac).rc != 0
    played = macs.play("site", "--extra-vars=linux_builder_min_free_mib=512")
    assert played.rc == 0, played.output[-6000:]
    assert keys.pinned_key(mac) == keys.stock_key()
    assert keys.build(mac).rc == 0


def test_stopped_for_its_own_key_and_then_asked_for_another_guest(mac: macs.Mac) -> None:
    macs.interrupt("site", "builder : Start the VM", *keys.OWN, "--extra-vars=linux_builder_min_free_mib=512")
    assert keys.build(mac).rc != 0
    played = macs.play("site", *keys.OWN)
    assert played.rc == 0, played.output[-6000:]
    assert keys.pinned_key(mac) == keys.own_key(mac)
    assert keys.build(mac).rc == 0
