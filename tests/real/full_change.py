# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A builder's changes with real Nix, launchd's stand-in and real VMs: upgraded, rolled back, killed in each phase.

The tests of this file build on one another, in their order, because each boot takes a while under emulation. Run by name:
`tests/lab/lab pytest tests/real/full_change.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from builder_under_test import BOOT_TIMEOUT, NIX, Mac, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder, _builder_journal, _job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import PHASES
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import Desk

MUTE_TIMEOUT = 90  # seconds that a guest gets which never answers; the one it is replaced by has to boot in them too

# A run that is killed as soon as it tells of a phase, from outside as far as it can see.
KILLED = """
import json, os, signal, sys
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder

class Fuse:
    def phase(self, name):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    def detail(self, done, total, unit):
        pass

_builder.execute(json.loads(sys.argv[1]), False, Fuse())
"""


class Changed(Mac):
    """The builder of this file."""

    def killed_in(self, phase: str, **changes: t.Any) -> None:
        """One run that is killed (SIGKILL) when that phase begins."""
        argv = [sys.executable, "-c", KILLED, json.dumps({**self.params, **changes}), phase]
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
        assert done.returncode == -signal.SIGKILL, done.stdout.decode(errors="replace")[-3000:]

    def word(self) -> str:
        """Which variant's guest answers."""
        return next(word for word in self.guest("cat /proc/cmdline").split() if word.startswith("builder.variant="))[-1]


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Changed]:
    mac = Changed(tmp_path_factory.mktemp("change"), "vm-change", 31932, disk_mib=None, stop_timeout=30)
    mac.params["package"] = mac.variant("builder.variant=a")
    yield mac
    mac.close()


def test_one_run_makes_a_builder_that_serves(mac: Changed) -> None:
    report = mac.run()
    assert report.result["phases"] == ["fetch", "switch", "start", "ready", "prove"]
    assert report.result["generation"] == 1
    assert mac.word() == "a"
    mac.settled()


def test_an_upgrade_that_boots(mac: Changed) -> None:
    first = mac.link().store_path
    mac.guest("echo kept > marker")
    mac.params["package"] = mac.variant("builder.variant=b")
    report = mac.run()
    assert report.result["phases"] == ["fetch", "drain", "stop", "switch", "start", "ready", "prove"]
    assert (report.result["generation"], report.result["restarted"]) == (2, True)
    assert mac.word() == "b"
    assert mac.guest("cat marker") == "kept"
    assert os.readlink(mac.layout.previous) == first
    mac.settled()


def test_processors_and_port_free_options_build_nothing(mac: Changed) -> None:
    mac.params["cores"] = 2
    report = mac.run()
    assert report.result["phases"] == ["drain", "stop", "switch", "start", "ready"]
    assert mac.guest("nproc") == "2"
    assert mac.link().number == 2
    mac.settled()


def test_a_guest_that_never_answers_is_rolled_back_and_the_builder_serves(mac: Changed) -> None:
    before = mac.link()
    with pytest.raises(StateError, match="is not ready after") as caught:
        mac.run(package=mac.variant("systemd.unit=emergency.target"), timeout=MUTE_TIMEOUT)
    assert caught.value.details["rolled_back"] is True
    assert f"(generation 2, {before.store_path}) was put back and answers" in caught.value.message
    assert mac.word() == "b"
    assert mac.link() == before
    mac.settled()


def test_a_build_that_runs_is_waited_for_and_not_ended(mac: Changed) -> None:
    with mac.building(), pytest.raises(StateError, match="builds still run"):
        mac.run(cores=1, drain_timeout=2)
    assert mac.word() == "b"
    mac.settled()


@pytest.mark.parametrize("phase", ["fetch", *(phase for phase in PHASES if phase != "disk")])
def test_killed_in_a_phase_the_next_run_completes_it(mac: Changed, phase: str) -> None:
    wanted = "a" if mac.word() == "b" else "b"
    mac.params["package"] = mac.variant(f"builder.variant={wanted}")
    mac.killed_in(phase)
    journal = _builder_journal.read(mac.layout)
    assert journal is not None
    assert journal.phase == phase
    mac.run()
    assert mac.word() == wanted
    mac.settled()


def test_killed_while_the_disk_is_made_anew_the_next_run_completes_it(mac: Changed) -> None:
    mac.guest("echo old > marker")
    mac.params.update(disk_mib=4096, allow_disk_recreate=True)
    mac.killed_in("disk")
    report = mac.run()
    assert report.result["disk_mib"] == 4096
    assert mac.guest("cat marker || echo none") == "none"
    mac.settled()


def test_a_guest_is_changed_by_the_builder_that_runs_also_after_a_kill(mac: Changed) -> None:
    changes = {"config": '{ environment.etc."marker".text = "of the configuration"; }'}
    mac.killed_in("build", **changes)
    assert mac.guest("cat /etc/marker || echo none") == "none"
    mac.params.update(changes)
    report = mac.run()
    assert report.result["phases"] == ["build", "drain", "stop", "switch", "start", "ready", "prove"]
    assert mac.guest("cat /etc/marker") == "of the configuration"
    mac.settled()
    mac.params["config"] = None
    mac.run()
    assert mac.guest("cat /etc/marker || echo none") == "none"


def test_killed_on_the_way_back_the_next_run_completes_that(mac: Changed) -> None:
    before = mac.word()
    mute = {"package": mac.variant("systemd.unit=emergency.target"), "timeout": MUTE_TIMEOUT}
    mac.killed_in(_builder_journal.ROLL_BACK, **mute)
    with pytest.raises(StateError, match="An earlier run was killed while it put the previous builder back"):
        mac.run(**mute)
    assert mac.word() == before
    mac.settled()


def test_garbage_collection_on_the_mac_leaves_the_builder_and_what_to_go_back_to(mac: Changed) -> None:
    mac.params["package"] = mac.variant("builder.variant=c")
    mac.run()
    previous = os.readlink(mac.layout.previous)
    subprocess.run([f"{NIX}/nix-collect-garbage", "-d"], capture_output=True, check=True)
    assert generation_links(mac.layout.profile) == (f"{mac.layout.profile}-{mac.link().number}-link",)
    assert os.path.exists(previous)
    before = mac.run().result["boot_id"]
    os.kill(mac.vms()[0], signal.SIGKILL)
    deadline = time.monotonic() + BOOT_TIMEOUT
    while mac.run(state="ready").result["boot_id"] == before:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert mac.word() == "c"
    mac.settled()
    # And from there an upgrade that fails still finds the way back.
    with pytest.raises(StateError, match="was put back and answers"):
        mac.run(package=mac.variant("systemd.unit=emergency.target"), timeout=MUTE_TIMEOUT)
    assert mac.word() == "c"


def test_stopped_and_running_again(mac: Changed) -> None:
    assert mac.run(state="stopped").changed
    assert mac.vms() == []
    assert mac.launchctl.print_service(f"system/{mac.label}") is None
    assert os.path.exists(mac.plist)
    assert not mac.run(state="stopped").changed
    assert mac.run().result["phases"] == ["start", "ready"]
    assert mac.word() == "c"


def test_stopped_beside_the_work_of_another_run_says_whose_it_is_and_with_force_ends_it(mac: Changed) -> None:
    mac.params["package"] = mac.variant("builder.variant=a")
    desk = Desk(_job.ROOT, _builder.execute, mac.params)
    token = desk.hand_in(0).result[_job.ANSWER]["token"]
    wait_for(lambda: desk.job.status().phase == "ready" or not desk.job.running(), BOOT_TIMEOUT)
    with pytest.raises(StateError, match="work goes on, builder_vm state: running in phase ready .* Nothing was changed"):
        mac.run(state="stopped", drain_timeout=0)
    assert desk.job.running()
    report = mac.run(state="stopped", force=True)
    assert (report.changed, len(report.warnings)) == (True, 1)
    assert "force: ended builder_vm state: running in phase ready" in report.warnings[0]
    assert mac.vms() == []
    with pytest.raises(StateError, match="was killed in phase ready"):
        desk.look_in(str(token), 60)
    assert mac.run().result["rolled_back"] is False
    assert mac.word() == "a"
    mac.settled()
