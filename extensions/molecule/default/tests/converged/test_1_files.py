# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a converged Mac has on its disk, where all of that disk is ours to read."""

from __future__ import annotations

import macs


def test_nobody_was_made_a_trusted_user(mac: macs.Mac) -> None:
    assert "admin" not in mac.nix_setting("trusted-users").split()


def test_the_vm_sees_the_public_half_only(mac: macs.Mac) -> None:
    found = mac.shell(f"find {macs.WORKING_DIRECTORY} -name '*ed25519*'").splitlines()
    assert found, "no key in the keys directory"
    assert [path for path in found if not path.endswith(".pub")] == []


def test_the_private_key_is_nowhere_else(mac: macs.Mac) -> None:
    # The last line of base64 holds the secret's end; the first ones are alike in all keys.
    places = f"/nix/store /nix/var/log {macs.WORKING_DIRECTORY} /Library /var/log /tmp /etc"
    found = mac.shell(f"line=$(grep -v '^-' {macs.KEY} | tail -n 1); grep -rslF -e \"$line\" {places} || true")
    assert found.split() == [macs.KEY]
