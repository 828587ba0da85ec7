# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_vm's VM from first boot to removal: the stand-in's launchd, real QEMU, the lab's guest.

The tests of this file build on one another, in their order, because each boot takes a while under emulation.
"""

from __future__ import annotations

import bz2
import contextlib
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from builder_under_test import Mac, alive, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

PORT = 31922


def gone(mac: Mac) -> float:
    """Boot the job out; the seconds until it and its VM were gone."""
    begin = time.monotonic()
    mac.unload()
    return time.monotonic() - begin


def ready(mac: Mac) -> str:
    return str(mac.run(state="ready").result["boot_id"])


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Mac]:
    mac = Mac(tmp_path_factory.mktemp("life"), "vm-life", PORT)
    yield mac
    mac.close()


def test_the_builder_boots_under_launchd_and_its_daemon_answers(mac: Mac) -> None:
    mac.load(mac.run(state="present").result["definition"])
    report = mac.run(state="ready")
    assert report.result["ready"] is True
    assert report.result["boot_id"] == mac.boot_id()
    assert report.result["boot_id"] != Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def test_only_loopback_listens(mac: Mac) -> None:
    lines = (
        Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()
        + Path("/proc/net/tcp6").read_text(encoding="utf-8").splitlines()
    )
    listening = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    assert {address for address in listening if address.endswith(f":{PORT:04X}")} == {f"0100007F:{PORT:04X}"}


def test_the_guest_has_the_processors_and_memory_that_were_asked_for(mac: Mac) -> None:
    assert mac.guest("nproc") == "1"
    assert 800 < int(mac.guest("grep MemTotal /proc/meminfo").split()[1]) // 1024 <= 1024


def test_the_private_key_reaches_neither_the_guest_nor_the_store(mac: Mac) -> None:
    assert os.listdir(mac.layout.keys) == ["builder_ed25519.pub"]
    assert mac.guest("ls /var/keys") == "builder_ed25519.pub"
    assert not list(Path("/nix/store").glob("*/builder_ed25519"))


def test_a_second_run_on_the_running_builder_changes_nothing(mac: Mac) -> None:
    vm = mac.vm()
    assert not mac.run(state="present").changed
    assert not mac.run(state="ready").changed
    assert mac.vm() == vm


def test_a_second_instance_by_hand_is_refused_and_disturbs_nothing(mac: Mac) -> None:
    done = subprocess.run([mac.layout.runner], stdout=subprocess.PIPE, check=False, timeout=30)
    assert done.returncode == 75
    assert f"process {mac.runner()} already runs the builder" in done.stdout.decode()
    assert len(mac.vms()) == 1
    assert mac.guest("echo there") == "there"


def test_another_host_key_is_an_error_at_once_that_says_what_it_means(mac: Mac, tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    other = (tmp_path / "other.pub").read_text(encoding="utf-8")
    assert mac.run(state="present", public_host_key=other).changed
    begin = time.monotonic()
    with pytest.raises(StateError, match="not the pinned host key"):
        mac.run(state="ready")
    assert time.monotonic() - begin < 30
    assert mac.run(state="present").changed
    assert ready(mac)


def test_a_refused_client_key_is_named_with_its_fix(mac: Mac, tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(StateError, match="refuses the client key") as caught:
        mac.run(state="ready", client_key=str(tmp_path / "other"), timeout=120)
    assert "Likely cause: the guest does not take the client key" in caught.value.message
    assert "running" in caught.value.details["job"]


def test_absent_is_refused_while_the_job_is_loaded(mac: Mac) -> None:
    with pytest.raises(StateError, match="still loaded"):
        mac.run(state="absent")
    assert mac.guest("echo there") == "there"


def openers(path: str) -> list[int]:
    """Processes that have a file open, under whatever name it was opened."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if any(os.readlink(link).partition(" (deleted)")[0] == path for link in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def test_macos_rotates_the_log_and_only_the_runners_reader_has_it_open(mac: Mac) -> None:
    path = mac.layout.log_path
    before, (reader,) = Path(path).read_bytes(), openers(path)
    assert reader not in (mac.runner(), mac.vm())
    subprocess.run(["/usr/sbin/newsyslog", "-F"], check=True, timeout=60)
    assert bz2.decompress(Path(f"{path}.0.bz2").read_bytes()).startswith(before)
    # The old one is compressed and gone; who still had it open would show it as deleted.
    wait_for(lambda: openers(path) == [reader] and os.path.samestat(os.stat(path), os.stat(f"/proc/{reader}/fd/1")))
    assert (os.stat(path).st_mode & 0o777, os.stat(path).st_uid, os.stat(path).st_gid) == (0o644, 0, 0)
    assert mac.guest("echo there") == "there"


def test_a_killed_vm_comes_back_without_us(mac: Mac) -> None:
    before, vm = ready(mac), mac.vm()
    os.kill(vm, signal.SIGKILL)
    wait_for(lambda: not alive(vm))
    assert ready(mac) != before
    assert "the VM has ended with status 137" in mac.log()


def test_a_killed_runner_leaves_no_second_vm_on_the_disk(mac: Mac) -> None:
    before, runner, vm = ready(mac), mac.runner(), mac.vm()
    os.kill(runner, signal.SIGKILL)
    wait_for(lambda: mac.runner() not in (0, runner))
    wait_for(lambda: not alive(vm))
    assert ready(mac) != before
    assert len(mac.vms()) == 1


def test_a_stopped_job_shuts_the_guest_down_in_order_and_keeps_what_it_wrote(mac: Mac) -> None:
    mac.guest("echo unsynced > marker")
    assert gone(mac) < 60
    assert mac.vms() == []
    assert (
        mac.log().rstrip().splitlines()[-1].partition("run-builder")[2].partition(": ")[2].startswith("the guest has powered off")
    )
    assert os.listdir(mac.layout.state_directory) == os.listdir(mac.layout.temporary) == []


def test_changed_processors_need_no_build_and_the_disk_stays(mac: Mac) -> None:
    generation = _builder_plan.read_generation(mac.layout.profile)
    mac.params["cores"] = 2
    report = mac.run(state="present")
    assert report.changed
    assert _builder_plan.read_generation(mac.layout.profile) == generation
    assert report.result["disk_mib"] == 3072
    mac.load(report.result["definition"])
    ready(mac)
    assert mac.guest("nproc") == "2"
    assert mac.guest("cat marker") == "unsynced"


def test_a_builder_that_does_not_come_says_why(mac: Mac) -> None:
    mac.unload()
    with pytest.raises(StateError, match="not loaded; start it with launchd_service"):
        mac.run(state="ready", timeout=3)
    os.rename(mac.layout.profile, mac.layout.profile + ".away")
    mac.load(_definition(mac))
    wait_for(lambda: "run-nixos-vm is missing" in mac.log())
    with pytest.raises(StateError, match="the closure is gone") as caught:
        mac.run(state="ready", timeout=5)
    os.rename(mac.layout.profile + ".away", mac.layout.profile)
    assert "last exit code 78" in caught.value.message


def _definition(mac: Mac) -> dict[str, t.Any]:
    """The job as it was returned before, without a run that would repair what the test broke."""
    return {
        "Label": mac.label,
        "ProgramArguments": ["/bin/sh", "-c", f"/bin/wait4path /nix/store && exec {mac.layout.runner}"],
        "RunAtLoad": True,
        "KeepAlive": True,
        "WorkingDirectory": mac.layout.working_directory,
        "StandardOutPath": mac.layout.log_path,
        "StandardErrorPath": mac.layout.log_path,
        "ExitTimeOut": 80,
    }


def test_absent_removes_all_of_it(mac: Mac) -> None:
    mac.unload()
    assert mac.run(state="absent").changed
    assert not os.path.lexists(mac.layout.profile)
    assert generation_links(mac.layout.profile) == ()
    assert not os.path.exists(os.path.dirname(mac.layout.working_directory))
    assert not list(Path(mac.layout.log_path).parent.glob("vm-life.log*"))
    assert not os.path.exists(f"/etc/newsyslog.d/{mac.label}.conf")
    assert not mac.run(state="absent").changed
