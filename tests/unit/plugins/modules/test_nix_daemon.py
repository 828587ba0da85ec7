# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file: its arguments, how it leaves, and what Ansible gets to see."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _daemon_apply
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Options, Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import Decision
from ansible_collections.nixmac.linux_builder.plugins.modules import nix_daemon
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation

LABEL = "org.nixos.nix-daemon"


def call(capsys: pytest.CaptureFixture[str], **params: t.Any) -> dict[str, t.Any]:
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        nix_daemon.main()
    assert not caught.value.code
    return dict(json.loads(capsys.readouterr().out))


def daemon(monkeypatch: pytest.MonkeyPatch, report: Report) -> list[tuple[Options, bool]]:
    asked: list[tuple[Options, bool]] = []

    class Daemon:
        def __init__(self, options: Options) -> None:
            self.options = options

        def run(self, check_mode: bool) -> Report:
            asked.append((self.options, check_mode))
            return report

    monkeypatch.setattr(_daemon_apply, "Daemon", Daemon)
    return asked


def test_nothing_to_do_is_no_change(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = daemon(monkeypatch, Report(LABEL, Decision(False, "all is well")))
    result = call(capsys, _ansible_diff=True)
    assert (result["changed"], result["required"], result["reason"]) == (False, False, "all is well")
    assert result["diff"]["before"] == result["diff"]["after"] == ""
    assert asked == [(Options(), False)]


def test_a_restart_is_a_change_with_a_diff(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    daemon(monkeypatch, Report(LABEL, Decision(True, "settings changed: cores"), restarted=True))
    result = call(capsys, _ansible_diff=True)
    assert (result["changed"], result["restarted"]) == (True, True)
    assert "cores" in result["diff"]["before"]
    assert "restarted" in result["diff"]["after"]


def test_check_mode_reports_the_coming_restart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = daemon(monkeypatch, Report(LABEL, Decision(True, "settings changed: cores")))
    result = call(capsys, _ansible_check_mode=True)
    assert (result["changed"], result["restarted"]) == (True, False)
    assert asked[0][1] is True


def test_a_deferred_restart_is_a_warning_and_no_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(monkeypatch, Report(LABEL, Decision(True, "x"), deferred=True, running=["bash (pid 7)"]))
    result = call(capsys)
    assert (result["changed"], result["deferred"], result["running"]) == (False, True, ["bash (pid 7)"])
    assert "bash (pid 7)" in str(result["warnings"])


def test_a_removed_record_is_a_change(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = daemon(monkeypatch, Report(LABEL, Decision(False, "x"), forgotten=True))
    assert call(capsys, state="forgotten")["changed"] is True
    assert asked[0][0].forget is True


def test_defaults_and_documentation_agree() -> None:
    options = documentation.options(nix_daemon)
    for name in ("drain_timeout", "force", "record"):
        assert options[name]["default"] == getattr(Options(), name)
