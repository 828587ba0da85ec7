# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of the roles, which `-e name=value` makes texts of."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.filter.as_list import FilterModule
from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import plain


@pytest.mark.parametrize(
    ("given", "value"),
    [("31022", 31022), ("yes", True), ("False", False), ("path:/x#y", "path:/x#y"), ("", ""), ([1], [1]), (0, 0), (True, True)],
)
def test_variables_of_the_command_line(given: t.Any, value: t.Any) -> None:
    found = plain(given)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("x86_64-linux", ["x86_64-linux"]),
        ("x86_64-linux,aarch64-linux", ["x86_64-linux", "aarch64-linux"]),
        (" kvm , big-parallel,", ["kvm", "big-parallel"]),
        ("", []),
        (None, []),
        ([], []),
        (["a,b", "c"], ["a,b", "c"]),
        (("a",), ["a"]),
        (5, ["5"]),
    ],
)
def test_lists(given: t.Any, value: list[str]) -> None:
    assert FilterModule().filters()["as_list"](given) == value
