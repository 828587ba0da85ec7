# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same builder with the stock image's host key."""

from __future__ import annotations

import keys
import macs


def test_the_stock_key_is_pinned_and_builds(mac: macs.Mac) -> None:
    keys.check_stock(mac)
    done = keys.build(mac)
    assert done.rc == 0, done.stderr
