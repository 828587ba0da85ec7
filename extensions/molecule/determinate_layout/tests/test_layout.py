# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daemon on a Mac with Determinate's files."""

from __future__ import annotations

import macs


def test_the_daemon_is_determinates(launchd: macs.Launchd) -> None:
    assert launchd.job("systems.determinate.nix-daemon") is not None
    assert launchd.job("org.nixos.nix-daemon") is None
