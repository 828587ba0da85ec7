# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report that status.yml wrote about Macs or stand-ins, in a browser: NIXMAC_FLEET_REPORT names its directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import webdriver

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "fleet-report.schema.json").read_text())
NAMES = "return Array.from(document.querySelectorAll('#fleet tbody tr')).map(r => r.cells[0].textContent)"


def test_it_keeps_to_its_schema_and_opens(chromium: webdriver.Browser) -> None:
    directory = Path(os.environ["NIXMAC_FLEET_REPORT"])
    report = json.loads((directory / "fleet.json").read_text())
    jsonschema.validate(report, SCHEMA)
    chromium.resize(1500, 1000)
    chromium.open(directory / "fleet.html")
    assert chromium.run(NAMES) == [mac["name"] for mac in report["macs"]]
    assert chromium.run("return JSON.parse(document.getElementById('data').textContent)") == report
    assert chromium.console() == []
    assert chromium.run("return performance.getEntriesByType('resource').map(r => r.name)") == []
    chromium.picture(ROOT / ".cache" / "fleet-report" / "real.png")
