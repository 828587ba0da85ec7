# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac that converges itself from git, on launchd's timer, and tells how it is."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import macs
import pull


def seen(stand_in: macs.StandIn, what: str, probe: t.Callable[[], t.Any]) -> t.Any:
    """Wait for it; what the Mac's last run said belongs to the failure."""
    try:
        return macs.poll(what, probe, pull.PATIENCE)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{stand_in.root('/bin/cat', pull.LOG)[-6000:]}") from exc


def test_one_run_from_a_controller_makes_the_mac_pull(scheduled: macs.Played, repository: pull.Repository) -> None:
    assert scheduled.rc == 0, scheduled.output[-6000:]
    assert scheduled.changed() > 0
    again = pull.schedule(repository)
    assert (again.rc, again.changed()) == (0, 0), again.output[-6000:]


def test_the_mac_gets_its_builder_and_reports_it(scheduled: macs.Played, reports: pull.Reports, stand_in: macs.StandIn) -> None:
    mac = seen(stand_in, "a report over HTTP", reports.mine)
    assert mac["state"] == "ready", mac
    assert mac["verified"]["current"] is True
    assert mac["attention"] == []
    assert "path" in stand_in.root("/bin/launchctl", "print", f"system/{macs.LABEL}")


def status(tmp_path: Path, *merge: str, **more: t.Any) -> tuple[macs.Played, dict[str, t.Any]]:
    """The fleet report of what the Macs left; nothing is asked of them."""
    settings = {"linux_builder_status_ask": False, "linux_builder_report_merge": list(merge), **more}
    settings["linux_builder_report_path"] = str(tmp_path)
    played = macs.play("status", f"--limit={macs.NAME}", f"--extra-vars={json.dumps(settings)}")
    macs_found = {mac["name"]: mac for mac in json.loads((tmp_path / "fleet.json").read_text())["macs"]}
    return played, macs_found


def test_the_fleet_report_is_made_of_what_was_left(scheduled: macs.Played, reports: pull.Reports, tmp_path: Path) -> None:
    for source in (reports.url, str(reports.directory)):
        played, found = status(tmp_path, source)
        assert played.rc == 0, played.output[-3000:]
        assert [(name, mac["state"]) for name, mac in found.items()] == [(macs.NAME, "ready")]
    # No connection was needed: there is none with this port.
    played, found = status(tmp_path, reports.url, ansible_port=1)
    assert (played.rc, found[macs.NAME]["state"]) == (0, "ready")


def test_what_was_changed_by_hand_is_put_right(scheduled: macs.Played, stand_in: macs.StandIn) -> None:
    before = stand_in.root("/bin/cat", macs.MACHINES)
    stand_in.root("/bin/rm", macs.MACHINES)
    there = ("/bin/sh", "-c", f"cat {macs.MACHINES} 2>/dev/null || true")
    seen(stand_in, "the machines file is back", lambda: stand_in.root(*there) == before)


def test_a_commit_reaches_the_mac_and_the_report_can_go_to_a_share(
    scheduled: macs.Played, repository: pull.Repository, stand_in: macs.StandIn
) -> None:
    stand_in.root("/bin/mkdir", "-p", pull.SHARE)
    assert " 3 " not in stand_in.root("/bin/cat", macs.MACHINES)
    repository.commit(linux_builder_max_jobs=3, fleet_reports=pull.SHARE)
    seen(stand_in, "the new machines file", lambda: " 3 " in stand_in.root("/bin/cat", macs.MACHINES))
    path = f"{pull.SHARE}/{macs.NAME}.json"
    there = ("/bin/sh", "-c", f"cat {path} 2>/dev/null || true")
    assert pull.row(seen(stand_in, "a report on the share", lambda: stand_in.root(*there)))["state"] == "ready"


def test_a_run_that_fails_is_reported_too(
    scheduled: macs.Played, repository: pull.Repository, reports: pull.Reports, stand_in: macs.StandIn
) -> None:
    old = reports.mine()
    assert old is not None
    repository.commit(linux_builder_minimum_macos="99.0", fleet_reports=reports.url)
    mac = seen(stand_in, "the problem is reported", lambda: "problem" in (reports.mine() or old)["attention"] and reports.mine())
    assert mac["seen"] > old["seen"]
    assert any("99" in problem["message"] for problem in mac["problems"]), mac["problems"]
    # What the Mac had is untouched.
    assert mac["state"] == "ready"
