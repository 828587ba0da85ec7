# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One measured run of a contender."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import typing as t

from nixmaclab import macs

from . import acct, core, tree
from .core import BENCH, CACHE, VENV, BenchError, Sample
from .fleet import INVENTORY, Fleet, Host

_PLAYBOOKS = {
    core.COLLECTION: "nixmac.linux_builder.site",
    core.BASELINE: os.fspath(BENCH / "baseline" / "site.yml"),
    core.PING: os.fspath(BENCH / "plays" / "ping.yml"),
}
_SETTING = {core.COLLECTION: "linux_builder_build_poll_interval", core.BASELINE: "build_poll_interval"}
_CONVERGE = "converge"
_RECAP = re.compile(r"^(\S+)\s*: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
_SETTLE_SECONDS = 10
# Hosts at once, of Ansible and of bare ssh.
FORKS = 20


def arguments(contender: str, case: str, setting: int | None = None) -> list[str]:
    """Of ansible-playbook. setting: value of the one setting that is changed, None as it comes."""
    if contender == core.PING:
        return [_PLAYBOOKS[contender]]
    if case == core.VERIFY:
        return ["nixmac.linux_builder.verify"] if contender == core.COLLECTION else [_PLAYBOOKS[contender], "--tags", "verify"]
    words = [_PLAYBOOKS[contender]]
    if case in (core.UNCHANGED, core.SETTING):
        words += ["--skip-tags", "verify"]
    return words if setting is None else [*words, "--extra-vars", f"{_SETTING[contender]}={setting}"]


def recap(text: str) -> dict[str, dict[str, int]]:
    """What a play says of each host in the end."""
    keys = ("ok", "changed", "unreachable", "failed")
    return {row[0]: dict(zip(keys, map(int, row[1:]))) for row in _RECAP.findall(text)}


def check(text: str, case: str, hosts: t.Sequence[str]) -> str:
    """What a run did that its case does not allow; empty where all is well."""
    said = recap(text)
    if sorted(said) != sorted(hosts):
        return f"spoke of {len(said)} hosts, not of {len(hosts)}"
    bad = [name for name, row in said.items() if row["failed"] or row["unreachable"]]
    if bad:
        return f"failed on {', '.join(bad)}"
    if case == _CONVERGE:
        return ""
    changing = case in (core.FIRST, core.SETTING)
    wrong = [name for name, row in said.items() if bool(row["changed"]) != changing]
    if wrong:
        return f"changed {'nothing' if changing else 'something'} on {', '.join(wrong)}"
    return ""


class Meter:
    """Counters of the hosts and of this machine around a run."""

    def __init__(self, hosts: t.Sequence[Host]) -> None:
        self.hosts = hosts
        for host in hosts:
            os.truncate(host.account, 0)
        self._traffic = [host.traffic() for host in hosts]

    def traffic(self) -> tuple[float, float]:
        """(received, sent) of one host."""
        pairs = [host.traffic() for host in self.hosts]
        received = sum(after[0] - before[0] for before, after in zip(self._traffic, pairs))
        sent = sum(after[1] - before[1] for before, after in zip(self._traffic, pairs))
        return received / len(self.hosts), sent / len(self.hosts)

    def work(self) -> list[acct.Work]:
        """Of each host, once its last process of the run has been written down: the sessions end after the connections."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        sizes: list[int] = []
        while time.monotonic() < deadline:
            before, sizes = sizes, [host.account.stat().st_size for host in self.hosts]
            if before == sizes:
                break
            time.sleep(0.4)
        return [acct.work(host.account.read_bytes()) for host in self.hosts]


def run(contender: str, case: str, fleet: Fleet, count: int) -> Sample:
    """Run a contender on the first `count` hosts of the fleet."""
    hosts = fleet.hosts[:count]
    if case == core.SETTING:
        fleet.setting = (fleet.setting or 1) + 1
    # A connection of its own for each run: none has it warm. Short, as sockets' paths are.
    control = pathlib.Path(tempfile.mkdtemp(prefix="nb", dir="/tmp"))
    meter = Meter(hosts)
    try:
        if contender == core.SSH:
            seconds, cpu, peak = _bare_ssh(hosts)
        else:
            seconds, cpu, peak = _playbook(contender, case, hosts, arguments(contender, case, fleet.setting), control)
        received, sent = meter.traffic()
    finally:
        close(control)
    done = meter.work()
    return Sample(
        contender=contender,
        case=case,
        hosts=count,
        seconds=seconds,
        cpu=cpu,
        rss=peak,
        executions=statistics.fmean(work.executions for work in done),
        processes=statistics.fmean(work.processes for work in done),
        module_processes=statistics.fmean(work.module_processes for work in done),
        remote_cpu=statistics.fmean(work.cpu for work in done),
        received=received,
        sent=sent,
    )


def _playbook(
    contender: str, case: str, hosts: t.Sequence[Host], words: t.Sequence[str], control: pathlib.Path
) -> tuple[float, float, int]:
    """(seconds, seconds of processor, peak of memory)."""
    names = [host.name for host in hosts]
    argv: list[str | os.PathLike[str]] = [
        VENV / "bin/ansible-playbook",
        "-i",
        INVENTORY,
        *words,
        "--limit",
        ",".join(names),
    ]
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_CONFIG": os.fspath(CACHE / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": os.fspath(control),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }
    log = CACHE / "log" / f"{contender}-{case}-{len(hosts)}.log".replace(", ", "-").replace(" ", "-")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        begin = time.monotonic()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environ)
        watch = tree.Watch(process.pid)
        watch.start()
        _pid, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    peak = watch.stop()
    wrong = check(log.read_text(encoding="utf-8"), case, names)
    if process.returncode != 0 or wrong:
        # The next run of the same case would write over it.
        log = log.replace(log.with_suffix(".failed.log"))
        raise BenchError(f"{contender}, {case}, {len(hosts)} hosts: {wrong or f'exit status {process.returncode}'}. See {log}")
    return seconds, used.ru_utime + used.ru_stime, peak


def converge(fleet: Fleet, after: int = 0, extra: t.Sequence[str] = ()) -> None:
    """Bring the hosts after so many to the state that the fleet's contender leaves, unmeasured."""
    control = pathlib.Path(tempfile.mkdtemp(prefix="nb", dir="/tmp"))
    try:
        contender = core.BASELINE if fleet.contender == core.BASELINE else core.COLLECTION
        words = [*arguments(contender, core.UNCHANGED, fleet.setting), *extra]
        _playbook(contender, _CONVERGE, fleet.hosts[after:], words, control)
    finally:
        close(control)


def _bare_ssh(hosts: t.Sequence[Host]) -> tuple[float, float, int]:
    """`ssh HOST true` on all, as many at once as Ansible would."""
    options = [
        "UserKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=no",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
        "BatchMode=yes",
    ]
    words = ["ssh", "-F", "/dev/null", "-i", os.fspath(macs.KEY), *(word for option in options for word in ("-o", option))]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    watch = tree.Watch(os.getpid())
    idle = tree.resident([os.getpid()])
    watch.start()
    with concurrent.futures.ThreadPoolExecutor(FORKS) as pool:
        for done in pool.map(lambda host: subprocess.run([*words, f"admin@{host.address}", "true"], check=False), hosts):
            if done.returncode != 0:
                raise BenchError("ssh HOST true failed")
    seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, max(0, watch.stop() - idle)


def close(control: pathlib.Path) -> None:
    """End the connections that a run left open."""
    for socket in control.iterdir():
        if socket.is_socket():
            argv = ["ssh", "-F", "/dev/null", "-O", "exit", "-o", f"ControlPath={socket}", "bench"]
            subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(control, ignore_errors=True)
