# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the role builder needs one execution of its module, rendered from its own variable."""

from __future__ import annotations

import pathlib
import typing as t

import jinja2
import pytest
import yaml

ROLE = pathlib.Path(__file__).parents[3] / "roles" / "builder"
NONE: dict[str, t.Any] = {"host_key": None, "loaded": False}
STOCK = {"host_key": "stock", "loaded": True}
STOPPED = {"host_key": "stock", "loaded": False}
PER_MAC = {"host_key": "per_mac", "loaded": True}


@pytest.mark.parametrize(
    ("there", "given", "at_once"),
    [
        pytest.param(NONE, {}, True, id="a first builder"),
        pytest.param(STOCK, {}, True, id="any change of the stock builder"),
        pytest.param(STOPPED, {}, True, id="a stopped one that needs nothing built"),
        pytest.param(NONE, {"linux_builder_host_key": "per_mac"}, False, id="a host key of its own"),
        pytest.param(PER_MAC, {}, False, id="back to the stock host key"),
        pytest.param(NONE, {"_linux_builder_configured": True}, False, id="configured, with nobody to build it"),
        pytest.param(STOCK, {"_linux_builder_configured": True}, True, id="configured, built by the one that runs"),
        pytest.param(STOPPED, {"_linux_builder_configured": True}, False, id="configured, and the one there is stopped"),
        pytest.param(STOPPED, {"_linux_builder_configured": True, "ansible_check_mode": True}, True, id="the same in check mode"),
        pytest.param(NONE, {"_linux_builder_configured": True, "linux_builder_cache": "https://x"}, True, id="from the cache"),
        pytest.param(
            NONE,
            {"_linux_builder_configured": True, "linux_builder_cache": "https://x", "_linux_builder_publishes": True},
            False,
            id="for the cache",
        ),
    ],
)
def test_one_step_is_enough(there: dict[str, t.Any], given: dict[str, t.Any], at_once: bool) -> None:
    template = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["_linux_builder_at_once"]
    known = {
        "linux_builder_host_key": "stock",
        "linux_builder_cache": "",
        "ansible_check_mode": False,
        "_linux_builder_configured": False,
        "_linux_builder_probe": {"info": {"builder": there}},
        **given,
    }
    assert jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(known) == str(at_once)


def test_the_ways_exclude_each_other() -> None:
    """Whatever is found, one of the two is gone and the other is not."""
    tasks = yaml.safe_load((ROLE / "tasks" / "known.yml").read_text(encoding="utf-8"))
    assert [task["when"] for task in tasks] == ["_linux_builder_at_once", "not _linux_builder_at_once"]
