# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place where errors of the collection become Ansible's failures, and outcomes its results."""

from __future__ import annotations

import errno
import json
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import (
    CommandError,
    ConfigError,
    FileError,
    LinuxBuilderError,
    StateError,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._module import Outcome, run_module


def call(
    capsys: pytest.CaptureFixture[str], execute: t.Callable[[dict[str, t.Any], bool], Outcome], **params: t.Any
) -> tuple[int, dict[str, t.Any]]:
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        run_module(AnsibleModule({"name": {"type": "str"}}, supports_check_mode=True), execute)
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    return int(caught.value.code or 0), json.loads(output.out)


@pytest.mark.parametrize("error", [LinuxBuilderError, CommandError, ConfigError, FileError, StateError])
def test_every_error_of_the_family_is_a_failure_with_message_and_details(
    capsys: pytest.CaptureFixture[str], error: type[LinuxBuilderError]
) -> None:
    def execute(_params: dict[str, t.Any], _check: bool) -> Outcome:
        raise error("/x: is wrong. Do that.", path="/x", rc=3)

    code, result = call(capsys, execute)
    assert code == 1
    assert (result["failed"], result["msg"], result["path"], result["rc"]) == (True, "/x: is wrong. Do that.", "/x", 3)


def test_error_of_the_system_that_slipped_through_names_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    def execute(_params: dict[str, t.Any], _check: bool) -> Outcome:
        raise OSError(errno.EIO, "Input/output error", "/x/y")

    code, result = call(capsys, execute)
    assert code == 1
    assert result["msg"].startswith("/x/y: Input/output error.")


def test_outcome_becomes_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[dict[str, t.Any], bool]] = []

    def execute(params: dict[str, t.Any], check: bool) -> Outcome:
        seen.append((params, check))
        return Outcome(True, {"value": [1]}, "a\n", "b\n", "/x", ["look here"])

    code, result = call(capsys, execute, name="n")
    assert code == 0
    assert (result["changed"], result["value"]) == (True, [1])
    assert "look here" in json.dumps(result["warnings"])
    assert "diff" not in result
    assert seen == [({"name": "n"}, False)]


def test_check_mode_and_diff_reach_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    checks: list[bool] = []

    def execute(_params: dict[str, t.Any], check: bool) -> Outcome:
        checks.append(check)
        return Outcome(True, {}, "a\n", "b\n", "/x")

    result = call(capsys, execute, _ansible_check_mode=True, _ansible_diff=True)[1]
    assert checks == [True]
    assert result["diff"] == {"before": "a\n", "after": "b\n", "before_header": "/x", "after_header": "/x"}


@pytest.mark.parametrize(("before", "after"), [(None, None), ("a", None), (None, "b")])
def test_outcome_without_texts_has_no_diff(capsys: pytest.CaptureFixture[str], before: str | None, after: str | None) -> None:
    result = call(capsys, lambda _params, _check: Outcome(False, {}, before, after), _ansible_diff=True)[1]
    assert "diff" not in result
    assert result["changed"] is False


def test_message_is_kept_beside_the_details() -> None:
    error = FileError("/x: no.", path="/x")
    assert (str(error), error.message, error.details) == ("/x: no.", "/x: no.", {"path": "/x"})
