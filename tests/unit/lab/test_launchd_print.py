# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts, byte for byte: what print, print-disabled and list show in each macOS era.

The fixtures follow the format of outputs recorded on real Macs, with labels, paths and numbers of our own.
"""

from __future__ import annotations

import os
import signal
import typing as t

import pytest

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "launchd")
SHELL = ["/bin/sh", "-c", "/bin/wait4path /nix/store && exec /nix/store/daemon"]


def job(kind: str, data: dict[str, t.Any], asid: int = 0, uid: int | None = None, **state: t.Any) -> t.Any:
    """A job that never was started, in the state that the test wants to see printed."""
    from lab_launchd.config import Config, Places
    from lab_launchd.definition import Definition
    from lab_launchd.job import Job
    from lab_launchd.manager import Domain, Manager

    domain = Domain(kind, uid, asid)
    if kind == "gui":
        domain.environment["SSH_AUTH_SOCK"] = "/private/tmp/com.apple.launchd.Lab501/Listeners"
    directory = "/Library/LaunchDaemons" if kind == "system" else "/Users/ada/Library/LaunchAgents"
    made = Job(
        Manager(Places(), Config(), lambda text: None), domain, "{}/{}.plist".format(directory, data["Label"]), Definition(data)
    )
    for key, value in state.items():
        setattr(made, key, value)
    if made.pid:
        made.shown_pid = made.pid
    domain.jobs[made.label] = made
    return made


def running_daemon() -> t.Any:
    data = {"Label": "org.example.agent", "ProgramArguments": ["/opt/example/launcher.sh"], "RunAtLoad": True}
    return job("system", data, pid=337, runs=1, reason="speculative")


def nix_like_daemon() -> t.Any:
    data = {
        "Label": "org.example.daemon",
        "ProgramArguments": SHELL,
        "KeepAlive": True,
        "SoftResourceLimits": {"NumberOfFiles": 1048576},
        "EnvironmentVariables": {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES", "SSL_FILE": "/etc/ssl/ca.crt"},
    }
    return job("system", data, pid=383, runs=1, reason="speculative")


def agent(label: str, **keys: t.Any) -> dict[str, t.Any]:
    data = {
        "Label": label,
        "ProgramArguments": ["/usr/bin/env", "python3", "/opt/example/watch.py"],
        "RunAtLoad": True,
        "WorkingDirectory": "/opt/example",
        "StandardOutPath": "/tmp/example.out",
        "StandardErrorPath": "/tmp/example.err",
    }
    data.update(keys)
    return data


def scheduled_agent() -> t.Any:
    data = agent("org.example.watch", KeepAlive={"SuccessfulExit": False}, WatchPaths=["/opt/example/inbox/"],
                 EnvironmentVariables={"APP_ROOT": "/opt/example"})  # fmt: skip
    return job("gui", data, 100003, 501, runs=2, status=1 << 8, spawn_at=1.0)


def interval_agent() -> t.Any:
    return job("gui", agent("org.example.sweep", StartInterval=3600), 100016, 501, runs=7, status=0, shown_pid=220052)


def signalled_agent() -> t.Any:
    data = agent("org.example.monitor", StartInterval=60)
    return job("gui", data, 100041, 501, pid=35711, runs=2, status=int(signal.SIGTERM), reason="non-ipc demand")


def calendar_agent() -> t.Any:
    data = {
        "Label": "org.example.check",
        "Program": "/opt/example/check",
        "ProgramArguments": ["/opt/example/check", "--self"],
        "WorkingDirectory": "/opt/example",
        "StandardOutPath": "check.log",
        "StandardErrorPath": "check.log",
        "EnvironmentVariables": {"PATH": "/usr/local/bin:/usr/bin", "ID": "self"},
        "StartCalendarInterval": [{"Minute": 5}],
        "Nice": 0,
    }
    return job("user", data, 100008, 503, runs=1, status=0)


def stopping_daemon() -> t.Any:
    data = {
        "Label": "org.example.vm",
        "Program": "/opt/example/vm",
        "UserName": "ada",
        "GroupName": "staff",
        "Umask": 63,
        "KeepAlive": True,
        "RunAtLoad": True,
        "ExitTimeOut": 60,
        "ThrottleInterval": 30,
        "ProcessType": "Interactive",
    }
    return job(
        "system", data, pid=412, runs=3, reason="inefficient", status=78 << 8, signalled=int(signal.SIGTERM), removing=True
    )


CASES = [
    ("print_10_system_running", 10, running_daemon),
    ("print_12_system_running", 12, running_daemon),
    ("print_13_system_running", 13, running_daemon),
    ("print_13_user_calendar", 13, calendar_agent),
    ("print_14_gui_spawn_scheduled", 14, scheduled_agent),
    ("print_15_gui_interval", 15, interval_agent),
    ("print_15_system_sigtermed", 15, stopping_daemon),
    ("print_26_gui_signal", 26, signalled_agent),
    ("print_26_system_running", 26, nix_like_daemon),
]


def fixture(name: str) -> str:
    with open(os.path.join(FIXTURES, name + ".txt"), encoding="utf-8", newline="") as handle:
        return handle.read()


@pytest.mark.parametrize(("name", "era", "make"), CASES)
def test_print_layout(name: str, era: int, make: t.Callable[[], t.Any]) -> None:
    from lab_launchd.printer import print_job

    assert print_job(make(), era) == fixture(name)


@pytest.mark.parametrize(("name", "era", "make"), CASES)
def test_print_keeps_the_recorded_order_of_fields(name: str, era: int, make: t.Callable[[], t.Any]) -> None:
    from lab_launchd.printer import print_job

    order = ["active count", "path", "type", "state", "program", "arguments", "working directory", "stdout path", "stderr path",
             "inherited environment", "default environment", "environment", "domain", "asid", "username", "group", "umask",
             "minimum runtime", "exit timeout", "nice", "runs", "pid", "immediate reason", "forks", "execs", "initialized",
             "trampolined", "started suspended", "proxy started suspended", "last exit code", "semaphores", "event triggers",
             "event channels", "resource coalition", "jetsam coalition", "spawn type", "jetsam priority", "jetsam thread limit",
             "cpumon", "resource limits", "run interval", "probabilistic guard malloc policy", "properties"]  # fmt: skip
    text = print_job(make(), era)
    keys = [line[1:].split(" = ")[0] for line in text.splitlines() if line.startswith("\t") and line[1] not in "\t}"]
    positions = [order.index(key) for key in keys if key in order]
    assert positions == sorted(positions)
    assert len(positions) > 15


@pytest.mark.parametrize("era", [10, 11, 12, 13, 14, 15, 26, 27])
def test_era_markers(era: int) -> None:
    from lab_launchd.printer import print_job

    text = print_job(nix_like_daemon(), era)
    assert ("\ttype = LaunchDaemon\n" in text) is (era > 10)
    assert text.startswith("org.example.daemon = {\n" if era == 10 else "system/org.example.daemon = {\n")
    assert ("probabilistic guard malloc policy" in text) is (era in (13, 14))
    assert ("\t\tOSLogRateLimit => 64\n" in text) is (era >= 15)
    assert ("checked allocations" in text) is (era >= 26)


def test_arguments_are_printed_raw() -> None:
    from lab_launchd.printer import print_job

    text = print_job(
        job("system", {"Label": "org.example.raw", "ProgramArguments": ["/bin/sh", "-c", "f() {\n}\n\tstate = idle"]}), 15
    )
    assert "\t\tf() {\n}\n\tstate = idle\n\t}\n" in text


@pytest.mark.parametrize(("status", "line"), [
    (None, "last exit code = (never exited)"),
    (0, "last exit code = 0"),
    (1 << 8, "last exit code = 1"),
    (78 << 8, "last exit code = 78: EX_CONFIG"),
    (64 << 8, "last exit code = 64: EX_USAGE"),
    (63 << 8, "last exit code = 63"),
    (int(signal.SIGTERM), "last terminating signal = Terminated: 15"),
    (int(signal.SIGKILL), "last terminating signal = Killed: 9"),
    (int(signal.SIGSEGV) | 0x80, "last terminating signal = Segmentation fault: 11"),
    (int(signal.SIGBUS), "last terminating signal = Bus error: 10"),
])  # fmt: skip
def test_forms_of_the_last_exit(status: int | None, line: str) -> None:
    from lab_launchd.printer import exit_line

    assert exit_line(job("system", {"Label": "x", "Program": "/x"}, status=status)) == line


@pytest.mark.parametrize("name", ["print_disabled_12", "print_disabled_13"])
def test_print_disabled_layout(name: str) -> None:
    from lab_launchd.printer import print_disabled

    records = {"com.example.ftpd": True, "org.example.builder": False, "org.example.daemon": False}
    assert print_disabled(records, int(name[-2:])) == fixture(name)


def test_print_disabled_changed_its_words_with_13() -> None:
    from lab_launchd.printer import print_disabled

    assert "=> true" in print_disabled({"x": True}, 12)
    for era in (13, 14, 15, 26):
        assert "=> disabled" in print_disabled({"x": True}, era)
    assert print_disabled({}, 15) == "\n\tdisabled services = {\n\t}\n"


def test_list_layouts() -> None:
    from lab_launchd.printer import list_all, list_one

    made = nix_like_daemon()
    made.status = 75 << 8
    assert list_all(made.domain) == "PID\tStatus\tLabel\n383\t75\torg.example.daemon\n"
    assert list_one(made) == fixture("list_one_running")


def test_print_of_a_whole_domain() -> None:
    from lab_launchd.printer import print_domain

    made = running_daemon()
    idle = job("system", {"Label": "org.example.idle", "Program": "/x"}, status=int(signal.SIGTERM))
    never = job("system", {"Label": "org.example.never", "Program": "/x"})
    made.domain.jobs.update({idle.label: idle, never.label: never})
    text = print_domain(made.domain, {"com.example.ftpd": True}, 15)
    assert text == fixture("print_domain_15")
    assert "\t\t     337      - \torg.example.agent\n\t\t       0    -15 \torg.example.idle\n" in text
