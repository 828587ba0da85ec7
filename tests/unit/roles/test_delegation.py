# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the delegation role writes as `builders` in the form of the manual, rendered from its own task."""

from __future__ import annotations

import pathlib
import typing as t

import jinja2
import pytest
import yaml

from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import as_list

ROLE = pathlib.Path(__file__).parents[3] / "roles" / "delegation"
LINE = "ssh-ng://builder@localhost x86_64-linux /k 2 1 kvm,nixos-test - cGlu"
FILE = "@/etc/nix/machines"


def line(reaching: str, exists: bool = False, **given: t.Any) -> t.Any:
    tasks = yaml.safe_load((ROLE / "tasks" / "manual.yml").read_text(encoding="utf-8"))
    block = next(task["block"] for task in tasks if "block" in task)
    templates = next(task["vars"] for task in block if "_linux_builder_line" in task.get("vars", {}))
    known = {
        "linux_builder_systems": ["x86_64-linux"],
        "linux_builder_key_path": "/k",
        "linux_builder_max_jobs": 2,
        "linux_builder_speed_factor": 1,
        "linux_builder_supported_features": ["kvm"],
        "linux_builder_mandatory_features": [],
        "_linux_builder_pin": "cGlu",
        "_linux_builder_probe": {"defaults": {"systems": ["aarch64-linux"], "features": ["nixos-test"]}},
        "_linux_builder_entry": {"builders_reaching": reaching},
        "_linux_builder_machines": {"stat": {"exists": exists}},
        **given,
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["nixmac.linux_builder.as_list"] = as_list
    environment.filters["unique"] = lambda values: list(dict.fromkeys(values))
    role = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    for name in ("_linux_builder_entry_systems", "_linux_builder_entry_features"):
        known[name] = yaml.safe_load(environment.from_string(role[name]).render(known))
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
    assert line(reaching, exists) == {"builders": value}


@pytest.mark.parametrize("words", ["x86_64-linux,i686-linux", "x86_64-linux, i686-linux", ["x86_64-linux", "i686-linux"]])
def test_the_manuals_line_from_texts(words: t.Any) -> None:
    """What `-e linux_builder_systems=x86_64-linux` gives is a text; it used to be joined letter by letter."""
    given = {
        "linux_builder_systems": words,
        "linux_builder_supported_features": "kvm,benchmark",
        "linux_builder_mandatory_features": "benchmark",
    }
    wanted = "ssh-ng://builder@localhost x86_64-linux,i686-linux /k 2 1 kvm,benchmark,nixos-test benchmark cGlu"
    assert line(FILE, **given) == {"builders": wanted}


def test_no_system_named_is_that_of_the_mac() -> None:
    for nothing in ("", []):
        assert " aarch64-linux /k " in line(FILE, linux_builder_systems=nothing)["builders"]
