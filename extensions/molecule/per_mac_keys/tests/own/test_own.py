# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The builder has a host key of the Mac's own, and the Nix daemon takes no other."""

from __future__ import annotations

import keys
import macs


def test_the_guest_shows_the_macs_own_key_and_only_that_is_pinned(mac: macs.Mac) -> None:
    keys.check_own(mac)


def test_the_daemon_builds_with_it(mac: macs.Mac) -> None:
    done = keys.build(mac)
    assert done.rc == 0, done.stderr
