# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file: its arguments, how it leaves, and what Ansible gets to see."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose, _info
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Result
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import BoundedRunner, Question
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table import LINKS
from ansible_collections.nixmac.linux_builder.plugins.modules import builder_info
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation


def run(_self: Runner, argv: t.Sequence[str], **_options: t.Any) -> Completed:
    """A machine on which nothing answers."""
    return Completed(tuple(argv), 113 if "print" in argv else 1, "", "")


def call(capsys: pytest.CaptureFixture[str], **params: t.Any) -> tuple[int, dict[str, t.Any]]:
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        builder_info.main()
    return int(caught.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check", [False, True])
def test_a_machine_that_has_nothing_is_read_and_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: t.Any, check: bool
) -> None:
    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(_info.Host.__init__, "__defaults__", (None, str(tmp_path)))
    code, result = call(capsys, _ansible_check_mode=check, package="path:/x#y")
    assert code == 0
    assert result["changed"] is False
    assert {"not_macos", "nix_missing"} <= {problem["code"] for problem in result["problems"]}
    assert all(problem["message"] for problem in result["problems"])
    assert result["defaults"]["cores"] >= 2
    assert result["info"]["builder"]["package"] == "path:/x#y"


def test_deep_asks_for_what_the_options_say_and_returns_every_link(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: t.Any
) -> None:
    asked = []

    def diagnose(question: Question, runner: BoundedRunner) -> list[Result]:
        asked.append((question, runner.left))
        job = next(link for link in LINKS if link.name == "job")
        return [Result(LINKS[0], "ok"), Result(job, "broken", job.cause("not_loaded"), "launchd does not know it", "`load`")]

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(_info.Host.__init__, "__defaults__", (None, str(tmp_path)))
    monkeypatch.setattr(_diagnose, "run", diagnose)
    assert "links" not in call(capsys)[1]
    code, result = call(capsys, deep=True, deep_timeout=7, alias="vm", systems=["x86_64-linux"], features=["kvm"], port=22)
    assert (code, result["changed"], result["broken"]) == (0, False, "job")
    assert [(link["name"], link["state"], link["cause"]) for link in result["links"]] == [
        ("macos", "ok", None),
        ("job", "broken", "not_loaded"),
    ]
    assert result["report"][-1].startswith(
        "Begin with job: The job is not loaded into launchd (launchd does not know it). `load`"
    )
    ((question, left),) = asked
    assert (question.uri, question.port, question.systems, question.features) == (
        "ssh-ng://builder@vm",
        22,
        ("x86_64-linux",),
        ("kvm",),
    )
    assert left <= 7


def test_the_alias_makes_the_uri(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def read(question: _info.Question, _host: _info.Host) -> dict[str, t.Any]:
        asked.append(question.uri)
        raise _info.CommandError("enough")

    monkeypatch.setattr(_info, "read", read)
    assert call(capsys, alias="vm")[0] == 1
    assert call(capsys, uri="ssh-ng://other")[0] == 1
    assert asked == ["ssh-ng://builder@vm", "ssh-ng://other"]


def test_defaults_and_documentation_agree() -> None:
    options = documentation.options(builder_info)
    question = _info.Question()
    for name in ("label", "host_address", "port", "working_directory", "profile"):
        assert options[name]["default"] == getattr(question, name)


def test_examples_name_the_module() -> None:
    assert any("nixmac.linux_builder.builder_info" in task for task in yaml.safe_load(builder_info.EXAMPLES))
