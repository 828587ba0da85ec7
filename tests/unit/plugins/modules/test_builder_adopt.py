# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_apply, _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.modules import builder_adopt

ROLES = pathlib.Path(__file__).parents[4] / "roles"


def test_an_adoption_and_a_change_of_one_profile_exclude_each_other(tmp_path: pathlib.Path) -> None:
    profile = str(tmp_path / "mine" / "builder")
    (tmp_path / "mine").mkdir()
    directory, wait = builder_adopt.lock({"profile": profile, "drain_timeout": 600, "stop_timeout": 60})
    assert wait > 660
    with _builder_apply.exclusive(profile), pytest.raises(StateError, match="another run"), _lock.held(directory, 0):
        pass


@pytest.mark.parametrize("path", ["adopt/tasks/main.yml", "teardown/tasks/main.yml"])
def test_the_roles_name_their_profile(path: str) -> None:
    tasks = yaml.safe_load((ROLES / path).read_text(encoding="utf-8"))
    tasks += [task for outer in tasks for task in outer.get("block", ())]
    (options,) = [task["nixmac.linux_builder.builder_adopt"] for task in tasks if "nixmac.linux_builder.builder_adopt" in task]
    assert options["profile"] == "{{ linux_builder_profile }}"
