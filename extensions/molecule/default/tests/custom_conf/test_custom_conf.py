# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the settings went on a Mac whose nix.conf is the installer's and includes a file of the user's."""

from __future__ import annotations

import macs


def test_the_installers_file_was_left_alone(mac: macs.Mac) -> None:
    assert "linux_builder" not in mac.read("/etc/nix/nix.conf")


def test_the_settings_are_in_the_users_file(mac: macs.Mac) -> None:
    assert "builders-use-substitutes = true" in mac.read("/etc/nix/nix.custom.conf")
