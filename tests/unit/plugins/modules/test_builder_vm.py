# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder, _builder_look, _module, _time_machine
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job_look import JobLook
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import STOCK_KEY
from ansible_collections.nixmac.linux_builder.plugins.modules import builder_vm
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation


@pytest.fixture
def params(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """The documented defaults, with every path below the test's directory."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    options = documentation.options(builder_vm)
    defaults = {name: option.get("default") for name, option in options.items()}
    moved = {"working_directory": "wd", "profile": "profile", "log_path": "log", "client_key": "key"}
    return {
        **defaults,
        **{name: f"{tmp_path}/x/{path}" for name, path in moved.items()},
        "package": "github:NixOS/nixpkgs/nixos-26.05#darwin.linux-builder",
    }


def test_check_mode_on_a_fresh_mac_returns_the_job_and_changes_nothing(params: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    outcome = builder_vm.execute(params, True)
    assert outcome.changed
    assert outcome.result["store_path"] is None
    assert outcome.result["generation"] is None
    assert outcome.result["definition"]["Label"] == "org.nixmac.linux-builder"
    assert outcome.result["cores"] >= 2
    assert outcome.result["memory_mib"] >= 3072
    assert outcome.before is not None
    assert "will be realised" in str(outcome.after)
    assert list(tmp_path.iterdir()) == []


def test_what_builder_info_foretells_is_what_check_mode_says(params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobLook, "look", lambda _job: None)
    monkeypatch.setattr(_time_machine, "hold", lambda *_asked: _time_machine.Exclusion("Time Machine: x\n", "no rights"))
    params["state"] = "running"
    told, done = _builder_look.running(params, Runner()), builder_vm.execute(params, True)
    assert "VM: running" in str(told.after)
    for name in ("changed", "before", "after", "header", "warnings"):
        assert getattr(told, name) == getattr(done, name), name
    params["package"] = "nixpkgs#a:b"
    for foretell in (lambda: _builder_look.running(params, Runner()), lambda: builder_vm.execute(params, True)):
        with pytest.raises(ConfigError, match="attribute path"):
            foretell()


def test_ready_in_check_mode_waits_for_nothing(params: dict[str, t.Any]) -> None:
    outcome = builder_vm.execute({**params, "state": "ready"}, True)
    assert (outcome.changed, outcome.result["ready"]) == (False, False)


def test_ready_without_a_builder_says_what_to_run_first(params: dict[str, t.Any]) -> None:
    with pytest.raises(StateError, match="state: present"):
        builder_vm.execute({**params, "state": "ready"}, False)


def test_absent_on_a_fresh_mac_changes_nothing_and_asks_nobody(params: dict[str, t.Any]) -> None:
    outcome = builder_vm.execute({**params, "state": "absent"}, False)
    assert (outcome.changed, outcome.result["removed"]) == (False, [])


def test_without_root_the_fix_is_named(params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with pytest.raises(StateError, match="become: true"):
        builder_vm.execute(params, True)


def test_a_disk_of_another_size_is_warned_about_and_not_hidden(params: dict[str, t.Any]) -> None:
    directory = pathlib.Path(params["working_directory"])
    directory.mkdir(parents=True)
    (directory / "nixos.qcow2").write_bytes(b"QFI\xfb" + bytes(20) + (4096 * 1024 * 1024).to_bytes(8, "big") + bytes(70))
    outcome = builder_vm.execute({**params, "disk_mib": 8192}, True)
    assert outcome.result["disk_mib"] == 4096
    assert "has 4096 MiB, not the 8192" in outcome.warnings[0]


def test_the_default_host_key_is_that_of_the_stock_image(params: dict[str, t.Any]) -> None:
    assert params["public_host_key"] == STOCK_KEY
    assert builder_vm.execute(params, True).after is not None
    assert "linux-builder ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb" in str(
        builder_vm.execute(params, True).after
    )


def test_the_report_is_an_outcome() -> None:
    assert _builder.Outcome is _module.Outcome


def test_time_machine_is_told_and_its_refusal_is_a_warning(params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def hold(path: str, excluded: bool, _runner: t.Any, _check_mode: bool) -> _time_machine.Exclusion:
        seen.append((path, excluded))
        return _time_machine.Exclusion(line="Time Machine: x\n", warning="no rights")

    monkeypatch.setattr(_time_machine, "hold", hold)
    outcome = builder_vm.execute(params, True)
    assert seen == [(params["working_directory"], True)]
    assert str(outcome.after).endswith("Time Machine: x\n")
    assert outcome.warnings == ["no rights"]
    # A teardown that leaves the directory leaves no mark of ours on it.
    pathlib.Path(params["working_directory"]).mkdir(parents=True)
    pathlib.Path(params["working_directory"], "diary").write_text("")
    builder_vm.execute({**params, "state": "absent"}, True)
    assert seen[1:] == [(params["working_directory"], False)]
    pathlib.Path(params["working_directory"], "diary").unlink()
    builder_vm.execute({**params, "state": "absent"}, True)
    assert len(seen) == 2
