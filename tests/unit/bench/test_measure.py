# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark reads: accounts of processes, counters of the network, the end of a play, memory."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from nixmacbench import acct, cli, core, fleet, measure, plan, throughput, tree
from nixmaclab import processes

SESSION = 5


def record(name: str, pid: int, parent: int, user: int = 0, flag: int = 0, ticks: int = 0, version: int = 3) -> bytes:
    head = struct.pack("<BBHIIIIII", flag, version, 0, 0, user, 0, pid, parent, 1795438449)
    return (head + struct.pack("<fHH", 1.0, ticks, 0) + bytes(12) + name.encode()).ljust(64, b"\0")


def execution(pid: int) -> bytes:
    """As Ansible starts a module by way of sudo."""
    names = ("sh", "sudo", "sh", "python3")
    return b"".join(record(name, pid + index, pid + index - 1 if index else SESSION) for index, name in enumerate(names))


LOGIN = record("sshd-session", SESSION, 1)


def test_a_record_is_read() -> None:
    (process,) = processes.parse(record("python3", 415, 414, user=501, ticks=42))
    assert process == processes.Process("python3", 415, 414, False, 501, 0.42)


def test_a_torn_record_is_left_out_and_an_unknown_version_is_refused() -> None:
    assert len(processes.parse(record("sh", 2, 1) + record("sh", 3, 1)[:40])) == 1
    with pytest.raises(ValueError, match="version 2"):
        processes.parse(record("sh", 2, 1, version=2))


def test_long_times_have_an_exponent() -> None:
    (process,) = processes.parse(record("nix", 2, 1, ticks=(1 << 13) | 0x1000))
    assert process.cpu == 0x1000 * 8 / 100


def test_an_execution_is_a_python_that_a_shell_of_ansible_started() -> None:
    helpers = record("python3", 20, 13) + record("python3", 21, 13, flag=0x01) + record("nix", 22, 20, ticks=5)
    found = acct.work(LOGIN + execution(10) + helpers + execution(30))
    assert found == acct.Work(executions=2, processes=10, module_processes=2, cpu=0.05)


def test_a_shell_that_a_module_started_is_its_own() -> None:
    assert acct.work(LOGIN + execution(10) + record("sh", 20, 13) + record("nix", 21, 20)).module_processes == 2


def test_what_no_connection_started_costs_time_but_is_none_of_its_processes() -> None:
    assert acct.work(record("nix-daemon", 20, 1, ticks=10)) == acct.Work(0, 0, 0, 0.1)


def test_the_guest_is_none_of_the_macs_processes() -> None:
    guest = record("guest-session", 40, 1, ticks=9) + record("bash", 41, 40, user=1000, ticks=9) + record("sh", 42, 1, user=30001)
    assert acct.work(guest) == acct.Work(0, 0, 0, 0)


def test_a_number_that_is_used_again_makes_no_endless_line() -> None:
    assert acct.work(record("a", 2, 3) + record("b", 3, 2)).processes == 0


def test_traffic_is_that_of_all_devices_but_the_loopback() -> None:
    text = (
        "Inter-|   Receive   |  Transmit\n face |bytes    packets\n"
        "    lo:   67499     295    0    0    0     0          0         0    67499     295    0    0    0     0       0     0\n"
        "  eth0: 2036248     240    0    0    0     0          0         0    41643     355    0    0    0     0       0     0\n"
    )
    assert fleet.parse_traffic(text) == (2036248, 41643)


RECAP = """
PLAY RECAP *********************************************************************
bench-own-01               : ok=23   changed={first}    unreachable=0    failed=0    skipped=13   rescued=0    ignored=0
bench-own-02               : ok=23   changed={second}    unreachable={lost}    failed=0    skipped=13   rescued=0    ignored=0
"""
HOSTS = ["bench-own-01", "bench-own-02"]


@pytest.mark.parametrize(
    ("case", "first", "second", "lost", "words"),
    [
        (core.UNCHANGED, 0, 0, 0, ""),
        (core.UNCHANGED, 0, 1, 0, "changed something on bench-own-02"),
        (core.VERIFY, 2, 0, 0, "changed something on bench-own-01"),
        (core.FIRST, 6, 6, 0, ""),
        (core.FIRST, 6, 0, 0, "changed nothing on bench-own-02"),
        (core.SETTING, 1, 2, 0, ""),
        (core.UNCHANGED, 0, 0, 1, "failed on bench-own-02"),
    ],
)
def test_a_run_has_to_do_what_its_case_is(case: str, first: int, second: int, lost: int, words: str) -> None:
    assert measure.check(RECAP.format(first=first, second=second, lost=lost), case, HOSTS) == words


def test_a_run_that_left_a_host_out_does_not_count() -> None:
    text = RECAP.format(first=0, second=0, lost=0)
    assert measure.check(text, core.UNCHANGED, [*HOSTS, "bench-own-03"]) == "spoke of 2 hosts, not of 3"


@pytest.mark.parametrize("contender", [core.COLLECTION, core.BASELINE])
def test_the_cases_differ_in_what_they_leave_out(contender: str) -> None:
    def words(case: str, setting: int | None = None) -> list[str]:
        return measure.arguments(contender, case, setting)

    assert "--skip-tags" in words(core.UNCHANGED)
    assert "--skip-tags" not in words(core.FIRST) + words(core.UNCHANGED_VERIFIED)
    assert words(core.SETTING, 3)[-1].endswith("build_poll_interval=3")
    assert "--extra-vars" not in words(core.UNCHANGED)
    assert words(core.VERIFY) != words(core.UNCHANGED)


def test_memory_is_that_of_a_process_and_all_below_it(tmp_path: Path) -> None:
    for pid, children, pages in ((7, "8 9", 10), (8, "", 20), (9, "11", 5), (11, "", 1)):
        folder = tmp_path / str(pid) / "task" / str(pid)
        folder.mkdir(parents=True)
        (folder / "children").write_text(children)
        (tmp_path / str(pid) / "statm").write_text(f"999 {pages} 3 0 0 0 0\n")
    pids = tree.tree(7, tmp_path)
    assert sorted(pids) == [7, 8, 9, 11]
    assert tree.resident([*pids, 12345], tmp_path) == 36 * os.sysconf("SC_PAGE_SIZE")


def test_the_settings_of_the_builds_keep_their_type() -> None:
    option, text = throughput.extra_vars({"linux_builder_cores": 4, "linux_builder_ssh_control_master": True})
    assert option == "--extra-vars"
    assert json.loads(text) == {"linux_builder_cores": 4, "linux_builder_ssh_control_master": True}


class Stumbling(fleet.Fleet):
    """A fleet whose first runs fail; what was done with it, in order."""

    def __init__(self, contender: str, failures: int) -> None:
        super().__init__(contender)
        self.failures = failures
        self.done: list[str] = []

    def undo(self) -> None:
        self.done.append("undo")

    def converge(self) -> None:
        self.done.append("converge")

    def run(self) -> str:
        self.done.append("run")
        if self.done.count("run") <= self.failures:
            raise core.BenchError("stumbled")
        return "sample"


@pytest.fixture
def _stumbling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "run", lambda _contender, _case, used, _hosts: used.run())
    monkeypatch.setattr(measure, "converge", lambda used: used.converge())


@pytest.mark.usefixtures("_stumbling")
@pytest.mark.parametrize(
    ("contender", "case", "failures", "done"),
    [
        (core.COLLECTION, core.UNCHANGED, 0, ["run"]),
        (core.COLLECTION, core.UNCHANGED, 1, ["run", "converge", "run"]),
        (core.BASELINE, core.FIRST, 1, ["run", "undo", "run"]),
        (core.SSH, core.ANSWER, 1, ["run", "run"]),
    ],
)
def test_a_run_that_stumbled_is_made_once_more(contender: str, case: str, failures: int, done: list[str]) -> None:
    used, repeated = Stumbling(contender, failures), []
    assert cli.again(plan.Step(contender, case, 20, 0), used, repeated) == "sample"
    assert (used.done, repeated) == (done, ["stumbled"] * failures)


@pytest.mark.usefixtures("_stumbling")
def test_a_run_that_stumbles_twice_ends_it_all() -> None:
    used = Stumbling(core.COLLECTION, 2)
    with pytest.raises(core.BenchError, match="stumbled"):
        cli.again(plan.Step(core.COLLECTION, core.UNCHANGED, 20, 0), used, [])
    assert used.done.count("run") == 2
