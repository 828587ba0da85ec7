# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Four modules' work in one execution: in which order, under which locks, with which options, and what is told of it."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _daemon_apply,
    _delegation,
    _lock,
    _machines_apply,
    _manifest_apply,
    _nixconf,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.delegation_sample import SAMPLE

PARAMS: dict[str, t.Any] = {**SAMPLE, "public_host_key": "cGlu"}
DAEMON = {"required": False, "restarted": False, "deferred": False, "reason": "all is well", "running": []}
FILE = "@/etc/nix/machines"


class Steps:
    """What each step was asked for, in order; which locks were held meanwhile; and what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, t.Any], bool]] = []
        self.held: list[str] = []
        self.locked: dict[str, list[str]] = {}
        self.changing: set[str] = set()
        self.entry: dict[str, t.Any] = {"entry": "the entry", "builders_needed": False, "builders_reaching": FILE}

    def step(self, name: str, result: t.Callable[[], dict[str, t.Any]]) -> t.Callable[[dict[str, t.Any], bool], Outcome]:
        def run(params: dict[str, t.Any], check_mode: bool) -> Outcome:
            self.asked.append((name, params, check_mode))
            self.locked[name] = list(self.held)
            changed = name in self.changing
            return Outcome(
                changed, result(), f"{name} before\n", f"{name} after\n", f"/{name}", [f"{name} warns"] if changed else []
            )

        return run

    def options(self, name: str) -> dict[str, t.Any]:
        return next(params for asked, params, _check_mode in self.asked if asked == name)

    @contextlib.contextmanager
    def lock(self, directory: str, _wait: float) -> t.Iterator[None]:
        self.held.append(directory)
        yield
        self.held.remove(directory)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps()
    monkeypatch.setattr(_machines_apply, "run", made.step("machines", lambda: made.entry))
    monkeypatch.setattr(_manifest_apply, "execute", made.step("ssh_alias", dict))
    monkeypatch.setattr(_nixconf, "run", made.step("nix_conf", lambda: {"path": "/etc/nix/nix.conf"}))
    monkeypatch.setattr(_daemon_apply, "execute", made.step("nix_daemon", lambda: DAEMON))
    monkeypatch.setattr(_lock, "held", made.lock)
    return made


def test_the_steps_come_in_order_each_under_the_lock_of_its_module(steps: Steps) -> None:
    done = _delegation.execute(PARAMS, False)
    assert [name for name, _params, _check_mode in steps.asked] == ["machines", "ssh_alias", "nix_conf", "nix_daemon"]
    assert steps.locked == {"machines": ["/etc/nix"], "ssh_alias": [], "nix_conf": ["/etc/nix"], "nix_daemon": ["/nix/var/nix"]}
    assert (done.changed, done.result["changes"], done.before, done.after) == (False, [], "", "")
    assert (done.result["entry"], done.result["path"], done.result["reason"]) == ("the entry", "/etc/nix/nix.conf", "all is well")


def test_check_mode_locks_nothing_and_reaches_every_step(steps: Steps) -> None:
    _delegation.execute(PARAMS, True)
    assert [check_mode for _name, _params, check_mode in steps.asked] == [True] * 4
    assert not any(steps.locked.values())


def test_each_step_gets_its_options(steps: Steps) -> None:
    _delegation.execute(PARAMS, False)
    machine = steps.options("machines")
    assert {name: machine[name] for name in ("uri", "max_jobs", "public_host_key")} == {
        name: PARAMS[name] for name in ("uri", "max_jobs", "public_host_key")
    }
    assert (machine["state"], machine["manifest"], machine["owner"]) == ("present", True, "nixmac.linux_builder")
    alias = steps.options("ssh_alias")
    assert (alias["path"], alias["content"], alias["part"]) == (
        "/etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf",
        "Host linux-builder\n",
        "delegation",
    )
    daemon = steps.options("nix_daemon")
    assert (daemon["drain_timeout"], daemon["force"], daemon["state"], daemon["label"]) == (5, False, "current", None)
    assert daemon["record"] == "/var/db/nixmac.linux_builder/daemon.json"


@pytest.mark.parametrize(
    ("needed", "settings", "absent"),
    [
        (False, {"build-poll-interval": 1}, ["ssl-cert-file", "builders"]),
        (True, {"build-poll-interval": 1, "builders": f"ssh-ng://other;{FILE}"}, ["ssl-cert-file"]),
    ],
)
def test_builders_is_set_only_where_the_machines_file_is_not_reached(
    steps: Steps, needed: bool, settings: dict[str, t.Any], absent: list[str]
) -> None:
    steps.entry.update(builders_needed=needed, builders_reaching=f"ssh-ng://other;{FILE}")
    _delegation.execute(PARAMS, False)
    conf = steps.options("nix_conf")
    assert (conf["settings"], conf["absent"], conf["validate"]) == (settings, absent, True)
    assert PARAMS["settings"] == {"build-poll-interval": 1}


@pytest.mark.parametrize(
    ("changing", "pending", "told"),
    [(set(), False, False), ({"nix_conf"}, False, True), (set(), True, True), ({"machines"}, False, False)],
)
def test_the_daemon_is_told_of_a_change_of_its_configuration(steps: Steps, changing: set[str], pending: bool, told: bool) -> None:
    steps.changing = changing
    _delegation.execute({**PARAMS, "pending": pending}, True)
    assert steps.options("nix_daemon")["pending"] is told


def test_the_difference_is_that_of_what_changed(steps: Steps) -> None:
    steps.changing = {"machines", "nix_daemon"}
    done = _delegation.execute(PARAMS, False)
    assert (done.changed, done.result["changes"]) == (True, ["machines", "nix_daemon"])
    assert done.before == "# /machines\nmachines before\n# /nix_daemon\nnix_daemon before\n"
    assert done.after == "# /machines\nmachines after\n# /nix_daemon\nnix_daemon after\n"
    assert done.warnings == ["machines warns", "nix_daemon warns"]


def test_after_a_step_that_fails_there_is_none(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: t.Any) -> t.NoReturn:
        raise ConfigError("no")

    monkeypatch.setattr(_nixconf, "run", fail)
    with pytest.raises(ConfigError, match="no"):
        _delegation.execute(PARAMS, False)
    assert [name for name, _params, _check_mode in steps.asked] == ["machines", "ssh_alias"]
