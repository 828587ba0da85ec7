# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables from `-e name=value` are texts: "false" is no empty one, 120 no number, and a,b no list."""

from __future__ import annotations

import pathlib
import typing as t

import jinja2
import pytest
import yaml
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import as_list

ROLES = pathlib.Path(__file__).parents[3] / "roles"
NOTHING = {
    "linux_builder_config": "",
    "linux_builder_min_free_mib": 0,
    "linux_builder_max_free_mib": 0,
    "linux_builder_proxy": "",
    "linux_builder_no_proxy": [],
    "linux_builder_substituters": [],
    "linux_builder_trusted_public_keys": [],
    "linux_builder_time_sync": False,
    "linux_builder_time_servers": [],
    "linux_builder_grow_file_system": False,
}


def rendered(template: str, **known: t.Any) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["bool"] = lambda value: boolean(value, strict=False)
    environment.filters["nixmac.linux_builder.as_list"] = as_list
    # Ansible makes a list of what jinja2 leaves a generator.
    environment.filters["select"] = lambda values: [value for value in values if value]
    return environment.from_string(template).render(known).strip()


def named(tasks: t.Any, name: str) -> t.Any:
    return next(task for task in tasks if task["name"] == name)


def read(path: str) -> t.Any:
    return yaml.safe_load((ROLES / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("given", "configured"),
    [
        ({}, "False"),
        ({"linux_builder_time_sync": "false", "linux_builder_grow_file_system": "no"}, "False"),
        ({"linux_builder_time_sync": "true"}, "True"),
        ({"linux_builder_grow_file_system": "yes"}, "True"),
    ],
)
def test_a_guest_is_configured_only_by_what_is_switched_on(given: dict[str, t.Any], configured: str) -> None:
    assert rendered(read("builder/vars/main.yml")["_linux_builder_configured"], **{**NOTHING, **given}) == configured


@pytest.mark.parametrize("stop_timeout", [120, "120"])
def test_the_time_to_stop_is_a_number(stop_timeout: t.Any) -> None:
    rotation = named(read("builder/tasks/rotate.yml"), "Keep the VM stopped")
    removal = named(named(read("teardown/tasks/main.yml"), "Remove the builder")["block"], "Remove the launchd daemon")
    for task, seconds in ((rotation, "150"), (removal, "180")):
        template = task["nixmac.linux_builder.launchd_service"]["timeout"]
        assert rendered(template, linux_builder_stop_timeout=stop_timeout) == seconds


@pytest.mark.parametrize(("given", "wanted"), [("false", "{}"), ("true", "all"), (False, "{}"), (True, "all")])
def test_the_report_looks_for_drift_only_where_it_is_asked_to(given: t.Any, wanted: str) -> None:
    template = read("status/tasks/main.yml")[0]["vars"]["_linux_builder_wanted"]
    assert rendered(template, linux_builder_status_drift=given, _linux_builder_site="all") == wanted


@pytest.mark.parametrize(
    ("path", "option"), [("preflight/tasks/probe.yml", "supported_features"), ("verify/tasks/diagnose.yml", "features")]
)
@pytest.mark.parametrize("words", ["kvm,benchmark", ["kvm", "benchmark"]])
def test_features_are_added_up_as_lists(path: str, option: str, words: t.Any) -> None:
    template = read(path)[0]["nixmac.linux_builder.builder_info"][option]
    known = {"linux_builder_supported_features": words, "linux_builder_mandatory_features": []}
    assert rendered(template, **known) == "['kvm', 'benchmark']"


@pytest.mark.parametrize(
    ("given", "users"), [("alice", ["alice"]), ("alice,bob", ["alice", "bob"]), ("", []), (["alice"], ["alice"])]
)
def test_trusted_users_are_names_and_no_letters(given: t.Any, users: list[str]) -> None:
    task = read("trusted_users/tasks/main.yml")[0]
    known = yaml.safe_load(rendered(task["vars"]["_linux_builder_users"], linux_builder_trusted_users=given))
    options = task["nixmac.linux_builder.nix_conf"]
    assert yaml.safe_load(rendered(options["append"], _linux_builder_users=known)) == ({"trusted-users": users} if users else {})
    assert yaml.safe_load(rendered(options["absent"], _linux_builder_users=known)) == ([] if users else ["trusted-users"])
