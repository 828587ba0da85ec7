# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a fleet that is one converged Mac and one that nobody answers for."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import macs
import pytest

LOST = "lost.example.com"


def report(directory: Path, *arguments: str) -> tuple[macs.Played, dict[str, t.Any]]:
    """Run status.yml; its output and the rows by name."""
    inventory = directory / "lost.yml"
    # Nothing listens on port 1.
    inventory.write_text(json.dumps({"all": {"hosts": {LOST: {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    played = macs.play(
        "status",
        f"--inventory={inventory}",
        f"--extra-vars=linux_builder_hosts={macs.NAME},{LOST}",
        f"--extra-vars=linux_builder_report_path={directory}",
        # A stand-in that boots other VMs beside it takes its time.
        "--extra-vars=linux_builder_status_guest_timeout=120",
        *arguments,
    )
    return played, {mac["name"]: mac for mac in json.loads((directory / "fleet.json").read_text())["macs"]}


def test_a_converged_mac_is_well_and_a_lost_one_is_a_row(tmp_path: Path) -> None:
    played, found = report(tmp_path)
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
    mac = found[macs.NAME]
    assert (mac["state"], mac["attention"]) == ("ready", []), mac
    assert {area["area"]: area["changed"] for area in mac["drift"]} == dict.fromkeys(
        ("adopt", "credentials", "trusted_users", "builder", "delegation"), False
    )
    assert mac["image"]["generation"] >= 1
    assert mac["image"]["store_path"].startswith("/nix/store/")
    assert mac["verified"]["current"] is True
    assert mac["verified"]["seconds"] > 0
    guest = mac["guest"]
    assert 0 < guest["disk_free_mib"] < guest["disk_total_mib"]
    assert 0 < guest["memory_available_mib"] < guest["memory_total_mib"]
    assert guest["uptime_seconds"] > 0
    lost = found[LOST]
    assert (lost["state"], lost["reachable"]) == ("unreachable", False)
    assert "Connection refused" in lost["message"]
    assert played.says(f"{LOST}: unreachable")
    # The page, in a browser.
    opened = subprocess.run(
        [macs.ROOT / "tests" / "report" / "run.sh", macs.ROOT / "tests" / "report" / "real_report.py"],
        env=dict(os.environ, NIXMAC_FLEET_REPORT=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert opened.returncode == 0, opened.stdout


@pytest.mark.parametrize(
    ("variables", "area", "line"),
    [
        ({"linux_builder_cores": 3}, "builder", '+ "cores": 3,'),
        ({"linux_builder_speed_factor": 2}, "delegation", "+ "),
        ({"linux_builder_trusted_users": ["admin"]}, "trusted_users", "admin"),
        ({"linux_builder_key_path": "/etc/nix/another_ed25519"}, "credentials", "private"),
    ],
)
def test_what_is_wanted_otherwise_is_drift(tmp_path: Path, variables: dict[str, t.Any], area: str, line: str) -> None:
    wanted = f"--extra-vars={json.dumps(variables)}"
    played, found = report(tmp_path, wanted, "--extra-vars=linux_builder_status_fail_on=drift")
    assert played.rc != 0, played.output
    assert played.says(f"1 of 2 Macs need a look: {macs.NAME}: drift"), played.output
    (drift,) = [found_area for found_area in found[macs.NAME]["drift"] if found_area["area"] == area]
    assert drift["changed"] is True
    assert any(line in change for change in drift["changes"]), drift
