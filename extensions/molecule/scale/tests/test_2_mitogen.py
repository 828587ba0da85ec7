# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mitogen as an option: the same playbooks, the same results, long work included."""

from __future__ import annotations

import json
import re
from pathlib import Path

import macs
import pytest
import scale

LINEAR = {"ANSIBLE_STRATEGY_PLUGINS": str(scale.MITOGEN), "ANSIBLE_STRATEGY": "mitogen_linear"}
PINNED = {**LINEAR, "ANSIBLE_STRATEGY": "mitogen_host_pinned"}


def test_a_first_run_gives_the_mac_a_builder() -> None:
    played = scale.play("site", scale.SECOND, **LINEAR)
    assert played.rc == 0, played.output[-6000:]
    assert scale.proved(played) == [scale.SECOND]


@pytest.mark.parametrize("strategy", [LINEAR, PINNED], ids=["linear", "host_pinned"])
def test_a_second_run_changes_nothing(strategy: dict[str, str]) -> None:
    played = scale.play("site", scale.BOTH, **strategy)
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
    assert scale.proved(played) == [scale.FIRST, scale.SECOND]


WAIT = """
- hosts: macs
  gather_facts: false
  tasks:
    - name: Wait for the builder
      nixmac.linux_builder.builder_vm:
        state: ready
        timeout: 600
      become: true
      register: waited
    - ansible.builtin.debug:
        msg: "boot id {{ waited.boot_id }}, work {{ waited.work | to_json }}"
"""


def test_long_work_is_tied_to_its_connection_and_runs_to_its_end(second: macs.StandIn, tmp_path: Path) -> None:
    second.root("/bin/launchctl", "kickstart", "-k", f"system/{macs.LABEL}")
    playbook = tmp_path / "wait.yml"
    playbook.write_text(WAIT)
    argv = ["ansible-playbook", str(playbook), f"--inventory={macs.INVENTORY}", f"--limit={scale.SECOND}"]
    played = scale.run(argv, **LINEAR)
    assert played.rc == 0, played.output[-6000:]
    found = re.search(r'boot id [0-9a-f-]{36}, work (\{.*\})"', played.output)
    assert found, played.output[-2000:]
    work = json.loads(found[1].replace('\\"', '"'))
    # The VM needs longer to boot than a question may last, and there was no second one.
    assert (work["polls"], work["picked_up"]) == (0, False)
    assert work["seconds"] > 0


@pytest.mark.parametrize("strategy", [LINEAR, PINNED], ids=["linear", "host_pinned"])
def test_the_fleet_report_is_made_once(tmp_path: Path, strategy: dict[str, str]) -> None:
    played = scale.play("status", scale.BOTH, f"--extra-vars=linux_builder_report_path={tmp_path}", **strategy)
    assert played.rc == 0, played.output[-6000:]
    assert played.output.count("2 Macs: ") == 1
    rows = {row["name"]: row["state"] for row in json.loads((tmp_path / "fleet.json").read_text())["macs"]}
    assert rows == {scale.FIRST: "ready", scale.SECOND: "ready"}
