# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's shell: options, what reaches the core, what comes back, what is kept out of it."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_service import Result, secrets
from ansible_collections.nixmac.linux_builder.plugins.modules import launchd_service as module
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation

SERVICE = {"label": "org.example.x", "loaded": True, "program": "s3cret-value"}


class Shell:
    """Runs the module in this process, with the core replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.seen: list[tuple[dict[str, t.Any], bool]] = []
        self.error: Exception | None = None
        self.logged: list[str] = []
        monkeypatch.setattr(module, "execute", self.execute)
        monkeypatch.setattr(
            basic.AnsibleModule, "log", lambda found, text, log_args=None: self.logged.append(f"{text} {log_args}")
        )

    def execute(self, params: dict[str, t.Any], check_mode: bool) -> Result:
        self.seen.append((params, check_mode))
        if self.error is not None:
            raise self.error
        return Result(True, SERVICE, ["bootstrap"], False, "before\n", "after\n", "/x.plist", ["mind the gap"])

    def run(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        arguments = dict(options, _ansible_check_mode=check, _ansible_diff=True)
        payload = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", payload.encode())
        self.monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            module.main()
        return t.cast("dict[str, t.Any]", json.loads(self.capsys.readouterr().out.splitlines()[-1]))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_defaults_reach_the_core(shell: Shell) -> None:
    shell.run(label="org.example.x")
    params, check = shell.seen[0]
    assert params == {
        "label": "org.example.x",
        "domain": "system",
        "definition": None,
        "path": None,
        "state": "started",
        "enabled": None,
        "ready_when": None,
        "timeout": 60,
        "no_log_environment": [],
        "manifest": False,
    }
    assert not check


def test_check_mode_reaches_the_core(shell: Shell) -> None:
    shell.run(check=True, label="org.example.x")
    assert shell.seen[0][1]


def test_the_result_is_the_documented_one(shell: Shell) -> None:
    answer = shell.run(label="org.example.x")
    documented = yaml.safe_load(module.RETURN)
    assert {"service", "actions", "pending_login"} <= answer.keys()
    assert {"service", "actions", "pending_login"} <= documented.keys()
    assert answer["diff"] == {"before": "before\n", "after": "after\n", "before_header": "/x.plist", "after_header": "/x.plist"}
    assert "mind the gap" in json.dumps(answer["warnings"])


def test_an_error_is_one_message_with_its_details(shell: Shell) -> None:
    shell.error = StateError("it does not hold", failure={"exit_code": 3}, restored=True)
    answer = shell.run(label="org.example.x")
    assert (answer["failed"], answer["msg"]) == (True, "it does not hold")
    assert (answer["failure"], answer["restored"]) == ({"exit_code": 3}, True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label": "x", "state": "reloaded"},
        {"label": "x", "ready_when": {}},
        {"label": "x", "ready_when": {"tcp": "1", "command": ["/x"]}},
        {"label": "x", "timeout": "soon"},
    ],
)
def test_options_that_make_no_sense_are_refused(shell: Shell, options: dict[str, t.Any]) -> None:
    assert shell.run(**options)["failed"]
    assert shell.seen == []


def test_named_values_reach_neither_log_nor_result(shell: Shell) -> None:
    definition = {"EnvironmentVariables": {"TOKEN": "s3cret-value", "PLAIN": "plain-value"}}
    answer = shell.run(label="org.example.x", definition=definition, no_log_environment=["TOKEN", "MISSING"])
    assert "s3cret-value" not in json.dumps(answer)
    assert shell.logged
    assert "s3cret-value" not in "".join(shell.logged)
    assert "plain-value" in "".join(shell.logged)
    # The core itself works with the real value.
    assert shell.seen[0][0]["definition"]["EnvironmentVariables"]["TOKEN"] == "s3cret-value"


@pytest.mark.parametrize("definition", [None, {}, {"EnvironmentVariables": []}, {"EnvironmentVariables": {"TOKEN": ""}}])
def test_no_secret_where_there_is_none(definition: t.Any) -> None:
    assert secrets({"definition": definition, "no_log_environment": ["TOKEN"]}) == set()


def test_options_and_documentation_agree() -> None:
    options = documentation.options(module)
    assert options.keys() == {
        "label",
        "domain",
        "definition",
        "path",
        "state",
        "enabled",
        "ready_when",
        "timeout",
        "no_log_environment",
        "manifest",
    }
    examples = yaml.safe_load(module.EXAMPLES)
    assert all(task["nixmac.linux_builder.launchd_service"].keys() <= options.keys() for task in examples)
