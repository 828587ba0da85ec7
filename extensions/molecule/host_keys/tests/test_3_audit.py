# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client key that nixpkgs' own script left in the Nix store is taken out of use and out of the store."""

from __future__ import annotations

import keys
import macs


def test_an_exposed_client_key_is_replaced_and_deleted(mac: macs.Mac) -> None:
    before = keys.key_of(mac.read(f"{macs.KEY}.pub"))
    left = mac.shell(f"mkdir /var/tmp/keys && cp {macs.KEY} {macs.KEY}.pub /var/tmp/keys && nix-store --add /var/tmp/keys")
    mac.shell("rm -r /var/tmp/keys")
    played = macs.play("site", *keys.OWN)
    assert played.rc == 0, played.output[-6000:]
    assert played.says(f"{left}/builder_ed25519: a private key of the builder (the one in use) lies in the Nix store")
    assert not mac.exists(left)
    assert keys.key_of(mac.read(f"{macs.KEY}.pub")) != before
    assert keys.build(mac).rc == 0


def test_with_a_key_of_its_own_the_builder_may_listen_for_others(mac: macs.Mac) -> None:
    played = macs.play("site", *keys.OWN, "--extra-vars=linux_builder_host_address=0.0.0.0")
    assert played.rc == 0, played.output[-6000:]
    assert "*:31022" in mac.out("/usr/sbin/lsof", "-nP", f"-iTCP:{macs.PORT}", "-sTCP:LISTEN")


def test_with_the_stock_key_it_may_not(mac: macs.Mac) -> None:
    played = macs.play("site", "--extra-vars=linux_builder_host_address=0.0.0.0")
    assert played.rc != 0
    assert played.says("linux_builder_host_key: per_mac")
    assert keys.build(mac).rc == 0
