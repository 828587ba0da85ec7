# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin between Ansible and the work: what it asks Ansible to run, and what becomes of a lost connection."""

from __future__ import annotations

import typing as t
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.nixmac.linux_builder.plugins.action import builder_image, builder_vm
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _long_action, _long_work

RUNNING = {
    "still_at_it": {"state": "running", "token": "t", "phase": "fetch", "done": 1, "total": 2, "unit": "bytes", "seconds": 8}
}
DONE = {"changed": True}
GIVEN = {"state": "running", "package": "x"}


class Ansible:
    """Runs the module: answers from a list, and keeps how it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any, *answers: t.Any, **task: t.Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, t.Any]] = []
        self.said: list[str] = []
        monkeypatch.setattr(ActionBase, "run", lambda *_args: {})
        monkeypatch.setattr(_long_action.C, "DEFAULT_LOCAL_TMP", str(tmp_path))
        monkeypatch.setattr(_long_action.display, "display", self.said.append)
        monkeypatch.setattr(_long_work.LongWork.__init__, "__defaults__", (lambda _seconds: None, lambda: 0.0))
        settings = {"args": dict(GIVEN), "async_val": 0, "check_mode": False, "no_log": False, "_uuid": "u", **task}
        self.connection = MagicMock(has_native_async=False)
        self.action = builder_vm.ActionModule(MagicMock(**settings), self.connection, *[MagicMock() for _argument in range(4)])
        monkeypatch.setattr(self.action, "_execute_module", self.execute)
        monkeypatch.setattr(self.action, "_remove_tmp_path", lambda _path: None)

    def execute(self, **asked: t.Any) -> t.Any:
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def run(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.action.run(task_vars={"inventory_hostname": "mac-a"}))


def test_work_is_handed_in_and_asked_after(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    ansible = Ansible(monkeypatch, tmp_path, RUNNING, DONE)
    result = ansible.run()
    assert (result["changed"], result["work"]["polls"]) == (True, 1)
    assert [asked["module_args"] for asked in ansible.asked] == [
        {**GIVEN, "_job": {"wait": _long_work.FIRST_WAIT}},
        {**GIVEN, "_job": {"wait": _long_work.POLL_WAIT, "token": "t"}},
    ]
    assert ansible.said == ["linux_builder: fetch: 1 Mac (1.0/2.0 B), 8 s"]


@pytest.mark.parametrize("task", [{"check_mode": True}, {"async_val": 60}])
def test_check_mode_and_async_know_no_job(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any, task: dict[str, t.Any]) -> None:
    ansible = Ansible(monkeypatch, tmp_path, DONE, args={**GIVEN, "_job": {"wait": 1}}, **task)
    assert ansible.run() == DONE
    assert ansible.asked[0]["module_args"] == GIVEN
    assert ansible.asked[0]["wrap_async"] == ("async_val" in task)


def test_a_task_with_no_log_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    ansible = Ansible(monkeypatch, tmp_path, RUNNING, DONE, no_log=True)
    assert ansible.run()["changed"] is True
    assert ansible.said == []
    assert list(tmp_path.iterdir()) == []


def test_a_mac_that_cannot_be_reached_is_ansibles_unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    ansible = Ansible(monkeypatch, tmp_path, AnsibleConnectionFailure("ssh: no route"))
    with pytest.raises(AnsibleConnectionFailure, match="ssh: no route$"):
        ansible.run()


def test_a_mac_that_stays_away_is_too_and_is_told_what_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    ansible = Ansible(monkeypatch, tmp_path, RUNNING, *[AnsibleConnectionFailure("ssh: gone")] * 7)
    with pytest.raises(AnsibleConnectionFailure, match="ssh: gone The work goes on on mac-a by itself"):
        ansible.run()


def test_a_connection_made_anew_gets_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    ansible = Ansible(monkeypatch, tmp_path, RUNNING, AnsibleConnectionFailure("ssh: gone"), DONE)
    ansible.connection._shell.tmpdir = "/var/tmp/old"
    assert ansible.run()["changed"] is True
    assert ansible.connection._shell.tmpdir is None


def test_both_modules_have_it() -> None:
    assert issubclass(builder_image.ActionModule, _long_action.LongAction)
    assert issubclass(builder_vm.ActionModule, _long_action.LongAction)
