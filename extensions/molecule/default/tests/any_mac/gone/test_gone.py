# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After teardown nothing of the builder's runs or is asked for."""

from __future__ import annotations

import macs


def test_launchd_has_no_job_of_the_builder(mac: macs.Mac, launchd: macs.Launchd) -> None:
    assert launchd.job(macs.LABEL) is None
    assert mac.listeners(macs.PORT) == []


def test_nix_has_no_builder(mac: macs.Mac) -> None:
    for path in (macs.PLIST, macs.PROFILE, macs.SSH_ALIAS):
        assert not mac.exists(path)
    assert "builder@linux-builder" not in mac.run("/bin/cat", macs.MACHINES).stdout


def test_a_second_teardown_finds_nothing_to_do() -> None:
    played = macs.play("teardown")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
