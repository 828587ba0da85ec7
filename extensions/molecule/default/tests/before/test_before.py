# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac as it comes, for the scenarios that compare with it in the end."""

from __future__ import annotations

import typing as t

import macs


def test_nothing_of_ours_is_there(stand_in: macs.StandIn, kept: t.Any) -> None:
    found = kept("before", stand_in.snapshot())
    ours = {macs.KEY, macs.PLIST, macs.PROFILE, macs.WORKING_DIRECTORY, macs.MACHINES, macs.SSH_ALIAS}
    assert ours & set(found["files"]) == set()
    assert macs.LABEL not in found["jobs"]
