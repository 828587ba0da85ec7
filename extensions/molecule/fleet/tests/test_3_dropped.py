# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that takes long outlives its connection and its controller; what Ansible offers besides keeps working.

The work is a wait for a VM that is stopped, and is started when the test wants the work to end well.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import typing as t

import fleet
import macs
import pytest

PLAY = (
    """
- hosts: "{{ linux_builder_hosts | default('all') }}"
  gather_facts: false
  tasks:
    - name: Wait for the builder
      nixmac.linux_builder.builder_vm:
        state: ready
        timeout: 280
        port: "{{ %d if inventory_hostname == '%s' else %d }}"
      become: true
      register: waited
    - ansible.builtin.debug:
        msg: "boot id {{ waited.boot_id }}, work {{ waited.work | default({}) | to_json }}"
""".replace("%d if", f"{fleet.OTHER_PORT} if")
    .replace("%s", fleet.SECOND)
    .replace("%d", str(macs.PORT))
)


@pytest.fixture(scope="module")
def wait(published: macs.Played, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The playbook that waits."""
    assert published.rc == 0
    playbook = tmp_path_factory.mktemp("dropped") / "wait.yml"
    playbook.write_text(PLAY)
    return str(playbook)


@contextlib.contextmanager
def stopped(stand_in: macs.StandIn) -> t.Iterator[t.Callable[[], str]]:
    """A Mac whose VM does not run; gives what starts it. It runs again in the end."""
    # launchctl may say that it is still at it; what counts is that job and VM are gone.
    stand_in.root("/bin/sh", "-c", f"/bin/launchctl bootout system/{macs.LABEL} || true")
    loaded = f"/bin/launchctl print system/{macs.LABEL} >/dev/null 2>&1"
    gone = f"if {loaded} || pgrep -f '[q]emu-system' >/dev/null; then echo there; else echo gone; fi"
    macs.poll("the VM is gone", lambda: "gone" in stand_in.root("/bin/sh", "-c", gone), 120)

    def start() -> str:
        return stand_in.root("/bin/sh", "-c", f"/bin/launchctl bootstrap system {macs.PLIST} || true")

    try:
        yield start
    finally:
        start()


def at_work(stand_in: macs.StandIn) -> dict[str, t.Any]:
    """The one job of that Mac, once its process has begun to wait."""
    return t.cast(
        "dict[str, t.Any]",
        macs.poll("a job", lambda: next((job for job in fleet.jobs(stand_in) if job["phase"] == "ready"), None), 90),
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a run says until a line has these words."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if words in line:
            return "".join(said)
    raise AssertionError(f"ended without {words!r}:\n{''.join(said)}")


def rest(process: subprocess.Popen[str]) -> str:
    """What a run says to its end."""
    return process.communicate(timeout=600)[0]


def work(said: str) -> dict[str, t.Any]:
    """What the playbook shows of the work."""
    plain = said.replace('\\"', '"')  # debug shows a string in quotes
    match = re.search(r'"polls": (\d+).*?"picked_up": (true|false)|"picked_up": (true|false).*?"polls": (\d+)', plain)
    assert match, said[-4000:]
    return {"polls": int(match[1] or match[4]), "picked_up": (match[2] or match[3]) == "true"}


def test_a_cut_connection_is_borne_by_the_run(wait: str, first: macs.StandIn) -> None:
    with stopped(first) as start, fleet.playing(wait, fleet.FIRST) as process:
        said = read_until(process, "linux_builder: boot: 1 Mac")
        job = at_work(first)
        fleet.cut(first)
        assert at_work(first)["began"] == job["began"]
        start()
        said += rest(process)
    assert process.returncode == 0, said[-4000:]
    # The one that was cut is not counted, and the VM may be ready before another is asked than the last.
    assert work(said)["polls"] >= 1
    assert fleet.jobs(first) == []


def test_work_whose_controller_died_is_picked_up_by_the_next_run(wait: str, first: macs.StandIn) -> None:
    with stopped(first) as start:
        with fleet.playing(wait, fleet.FIRST) as process:
            job = at_work(first)
            os.killpg(process.pid, signal.SIGKILL)
        fleet.cut(first)
        assert at_work(first) == {**at_work(first), "began": job["began"], "path": job["path"]}
        with fleet.playing(wait, fleet.FIRST) as process:
            said = read_until(process, "linux_builder: boot: 1 Mac")
            assert at_work(first)["began"] == job["began"]
            start()
            said += rest(process)
    assert process.returncode == 0, said[-4000:]
    assert work(said)["picked_up"]
    assert fleet.jobs(first) == []


def test_killed_work_is_told_and_the_next_run_begins_anew(wait: str, first: macs.StandIn) -> None:
    with stopped(first), fleet.playing(wait, fleet.FIRST) as process:
        at_work(first)
        first.root("/bin/sh", "-c", f"pkill -KILL -f '[_]job_start import.*{fleet.JOBS}'")
        said = rest(process)
        assert process.returncode != 0
        assert "the work was killed in phase ready" in said
    played = fleet.play(wait, fleet.FIRST)
    assert played.rc == 0, played.output[-4000:]
    assert not work(played.output)["picked_up"]


def test_two_macs_are_told_in_one_line(wait: str, first: macs.StandIn, second: macs.StandIn) -> None:
    both = f"{fleet.FIRST},{fleet.SECOND}"
    with stopped(first) as start_first, stopped(second) as start_second, fleet.playing(wait, both) as process:
        said = read_until(process, "linux_builder: boot: ")
        at_work(first)
        at_work(second)
        start_first()
        start_second()
        said += rest(process)
    assert process.returncode == 0, said[-4000:]
    # Not on a terminal: a line for the phase, whatever it lasts.
    assert len(re.findall(r"^linux_builder: boot", said, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"ANSIBLE_PIPELINING": "false"},
        {"ANSIBLE_PIPELINING": "true", "ANSIBLE_REMOTE_TMP": "/var/tmp/of a test"},
        {"ANSIBLE_PIPELINING": "false", "ANSIBLE_REMOTE_TMP": "/var/tmp/of-a-test"},
    ],
)
def test_ansibles_ways_to_run_a_module(wait: str, first: macs.StandIn, settings: dict[str, str]) -> None:
    played = fleet.play(wait, fleet.FIRST, **settings)
    assert played.rc == 0, played.output[-4000:]
    assert fleet.jobs(first) == []


def test_a_task_with_async_is_ansibles_own(wait: str, first: macs.StandIn, tmp_path: t.Any) -> None:
    playbook = tmp_path / "async.yml"
    playbook.write_text(PLAY.replace("      register:", "      async: 200\n      poll: 2\n      register:"))
    played = fleet.play(str(playbook), fleet.FIRST)
    assert played.rc == 0, played.output[-4000:]
    assert re.search(r"boot id [0-9a-f-]{36}, work \{\}", played.output)


def test_check_mode_waits_for_nothing(wait: str, first: macs.StandIn, tmp_path: t.Any) -> None:
    playbook = tmp_path / "check.yml"
    playbook.write_text(PLAY.partition("    - ansible.builtin.debug")[0])
    with stopped(first):
        played = fleet.play(str(playbook), fleet.FIRST, "--check")
    assert (played.rc, played.changed()) == (0, 0), played.output[-4000:]
