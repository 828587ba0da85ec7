# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The builder comes back without Ansible."""

from __future__ import annotations

import macs

# Seconds that the VM gets to answer again: it boots under software emulation here, on a machine busy with tests.
BOOT = 240


def _answers_again(mac: macs.Mac, old: str) -> str:
    def probe() -> str:
        boot_id = mac.guest_boot_id()
        return boot_id if boot_id != old else ""

    return str(macs.poll("the guest answers with a new boot id", probe, BOOT))


def test_a_killed_vm_is_restarted_by_launchd(mac: macs.Mac, launchd: macs.Launchd) -> None:
    before, old = launchd.job(macs.LABEL), mac.guest_boot_id()
    assert before is not None
    assert old
    mac.out("/bin/sh", "-c", "kill -9 $(pgrep -f '[q]emu-system')")
    _answers_again(mac, old)
    after = launchd.job(macs.LABEL)
    assert after is not None
    assert (after.state, after.runs > before.runs, after.pid != before.pid) == ("running", True, True), after.text
    played = macs.play("verify")
    assert played.rc == 0, played.output


def test_the_builder_survives_a_restart_of_the_mac(mac: macs.Mac, stand_in: macs.StandIn) -> None:
    old = mac.guest_boot_id()
    stand_in.root("/usr/bin/touch", "/tmp/from-before-the-restart")
    stand_in.restart()
    macs.poll("the Mac answers", lambda: mac.run("/bin/test", "-d", "/").rc == 0, BOOT)
    assert not mac.exists("/tmp/from-before-the-restart")
    _answers_again(mac, old)
    played = macs.play("verify")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output


def test_site_finds_nothing_to_do_after_all_that() -> None:
    played = macs.play("site")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
