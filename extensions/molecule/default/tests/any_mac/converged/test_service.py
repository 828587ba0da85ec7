# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM as launchd runs it."""

from __future__ import annotations

import macs


def test_launchd_runs_the_job_from_its_plist(launchd: macs.Launchd) -> None:
    job = launchd.job(macs.LABEL)
    assert job is not None
    assert (job.state, job.path) == ("running", macs.PLIST), job.text
    assert job.pid


def test_the_vm_listens_on_loopback_only(mac: macs.Mac) -> None:
    assert mac.listeners(macs.PORT) == [f"127.0.0.1:{macs.PORT}"]


def test_the_guest_is_linux(mac: macs.Mac) -> None:
    assert mac.out("/usr/bin/uname", "-s") == "Darwin"
    assert mac.guest("uname", "-s").stdout.strip() == "Linux"


def test_the_runner_wrote_a_log(mac: macs.Mac) -> None:
    assert mac.exists(macs.LOG)
