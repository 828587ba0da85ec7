# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two administrators run site.yml on the same fresh Mac at the same moment."""

from __future__ import annotations

import concurrent.futures

import keys
import macs


def test_two_runs_at_once_leave_one_builder_that_works(mac: macs.Mac, launchd: macs.Launchd) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [run.result() for run in [pool.submit(macs.play, "site"), pool.submit(macs.play, "site")]]
    assert any(run.rc == 0 for run in runs), "\n".join(run.output[-3000:] for run in runs)
    for run in runs:
        assert run.rc == 0 or run.says("Run again"), run.output[-3000:]
    job = launchd.job(macs.LABEL)
    assert job is not None
    assert job.state == "running"
    assert mac.shell(f"grep -c '^ssh-ng:' {macs.MACHINES}") == "1"
    assert mac.shell("pgrep -f '[q]emu-system' | wc -l").strip() == "1"
    assert keys.build(mac).rc == 0


def test_a_third_run_changes_nothing() -> None:
    played = macs.play("site")
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
