# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the delegation role writes as `builders`, rendered from its own task."""

from __future__ import annotations

import pathlib
import typing as t

import jinja2
import pytest
import yaml

ROLE = pathlib.Path(__file__).parents[3] / "roles" / "delegation"
LINE = "ssh-ng://builder@localhost x86_64-linux /k 2 1 kvm - cGlu"
FILE = "@/etc/nix/machines"


def line(form: str, reaching: str, exists: bool = False, needed: bool = False) -> t.Any:
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text(encoding="utf-8"))
    block = next(task["block"] for task in tasks if "block" in task)
    templates = next(task["vars"] for task in block if "_linux_builder_line" in task.get("vars", {}))
    known = {
        "linux_builder_form": form,
        "linux_builder_systems": ["x86_64-linux"],
        "linux_builder_key_path": "/k",
        "linux_builder_max_jobs": 2,
        "linux_builder_speed_factor": 1,
        "linux_builder_supported_features": ["kvm"],
        "linux_builder_mandatory_features": [],
        "_linux_builder_pin": "cGlu",
        "_linux_builder_probe": {"defaults": {"systems": ["aarch64-linux"], "features": ["kvm"]}},
        "_linux_builder_entry": {"builders_reaching": reaching, "builders_needed": needed},
        "_linux_builder_machines": {"stat": {"exists": exists}},
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    for name in ("_linux_builder_others", "_linux_builder_line"):
        text = environment.from_string(templates[name]).render(known).strip()
        known[name] = yaml.safe_load(text) if name.endswith("line") else text
    return known["_linux_builder_line"]


@pytest.mark.parametrize(
    ("reaching", "exists", "value"),
    [
        (FILE, False, LINE),
        (FILE, True, f"{FILE};{LINE}"),
        (f"ssh-ng://other;{FILE}", False, f"ssh-ng://other;{FILE};{LINE}"),
    ],
)
def test_the_manuals_line_keeps_the_builders_of_others(reaching: str, exists: bool, value: str) -> None:
    assert line("manual", reaching, exists) == {"builders": value}


def test_the_alias_form_needs_a_line_only_where_the_machines_file_is_not_reached() -> None:
    assert line("alias", FILE) == {}
    assert line("alias", f"ssh-ng://other;{FILE}", needed=True) == {"builders": f"ssh-ng://other;{FILE}"}
