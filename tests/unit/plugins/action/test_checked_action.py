# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action before a role's first look: the variables are checked; where no role asks, it is the module alone."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable
from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.nixmac.linux_builder.plugins.action import builder_info, builder_manifest, builder_verify
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _checked_action

ANSWER = {"changed": False, "problems": []}


class Role:
    def __init__(self, collection):
        self._role_collection = collection


class Task:
    def __init__(self, collection, ignore_errors):
        self._role = Role(collection) if collection else None
        self.ignore_errors = ignore_errors


class Templar:
    """Resolves one template, and knows no other."""

    def template(self, value):
        if value == "{{ the_port }}":
            return 99999
        if "{{" in str(value):
            raise AnsibleUndefinedVariable("is undefined")
        return value


class Screen:
    shown: list[str] = []

    def warning(self, text):
        self.shown.append(text)


@pytest.fixture(params=[builder_info, builder_manifest, builder_verify], ids=lambda plugin: plugin.__name__.rsplit(".", 1)[1])
def run(request, monkeypatch):
    monkeypatch.setattr(NormalAction, "run", lambda self, tmp, task_vars: ANSWER)
    monkeypatch.setattr(_checked_action, "Display", Screen)
    monkeypatch.setattr(Screen, "shown", [])

    def call(collection="nixmac.linux_builder", ignore_errors=False, **variables):
        task = Task(collection, ignore_errors)
        action = request.param.ActionModule(task, None, None, None, Templar(), None)
        return action.run(None, {"inventory_hostname": "mac-1", **variables})

    return call


def test_right_variables_change_nothing(run):
    assert run(linux_builder_port=31022) is ANSWER
    assert Screen.shown == []


def test_a_slip_stops_the_run_with_the_macs_name(run):
    with pytest.raises(AnsibleActionFail, match=r"^mac-1: linux_builder_prot: .* linux_builder_port\? Nothing was changed\.$"):
        run(linux_builder_prot=1)


def test_values_are_looked_at_as_they_come_out(run):
    with pytest.raises(AnsibleActionFail, match="99999 is no port"):
        run(linux_builder_port="{{ the_port }}")


def test_what_cannot_be_resolved_is_left_to_whoever_uses_it(run):
    assert run(linux_builder_port="{{ unknown }}", linux_builder_cache=None) is ANSWER


@pytest.mark.parametrize("collection", [None, "other.collection"])
def test_without_a_role_of_this_collection_nothing_is_checked(run, collection):
    assert run(collection, linux_builder_prot=1) is ANSWER


def test_the_fleet_report_gets_its_row_all_the_same(run):
    assert run(ignore_errors=True, linux_builder_prot=1, linux_builder_cost_centre=1) is ANSWER
    assert [text.split(":")[1].strip() for text in Screen.shown] == ["linux_builder_prot", "linux_builder_cost_centre"]
