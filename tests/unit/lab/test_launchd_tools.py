# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Legacy verbs, domains, faults, and the client as a program."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import typing as t

import pytest

SLEEP = "exec sleep 1000"
NOBODY = 65534
LOAD_FAILED = "Load failed: 5: Input/output error\nTry running `launchctl bootstrap` as root for richer errors.\n"


# Legacy verbs


def test_load_and_unload(launchd: t.Any) -> None:
    path = launchd.plist("org.example.old", script=SLEEP, RunAtLoad=True)
    assert launchd.ctl("load", path) == (0, "", "")
    assert launchd.show("org.example.old")["state"] == "running"
    assert launchd.ctl("load", path) == (0, "", LOAD_FAILED)
    assert launchd.ctl("unload", path) == (0, "", "")
    assert launchd.ctl("print", "system/org.example.old").rc == 113
    assert launchd.ctl("unload", path) == (0, "", "Unload failed: 113: Could not find specified service\n")


def test_unload_returns_when_the_job_is_gone(launchd: t.Any) -> None:
    path = launchd.load_ready("org.example.slow", "trap 'sleep 0.5; exit 0' TERM; : ready; while :; do sleep 0.05; done")
    start = time.monotonic()
    assert launchd.ctl("unload", path).rc == 0
    assert time.monotonic() - start > 0.4
    assert launchd.ctl("load", path) == (0, "", "")


def test_old_load_tells_that_the_service_is_loaded(new_launchd: t.Any) -> None:
    launchd = new_launchd(era=10).start()
    path = launchd.load("org.example.old", script=SLEEP)
    assert launchd.ctl("load", path) == (0, "", path + ": service already loaded\n")


def test_unload_w_disables_and_load_w_enables(launchd: t.Any) -> None:
    path = launchd.load("org.example.w", script=SLEEP)
    launchd.ctl("unload", "-w", path)
    assert '"org.example.w" => disabled' in launchd.ctl("print-disabled", "system").out
    assert launchd.ctl("load", path) == (0, "", LOAD_FAILED)
    assert launchd.ctl("load", "-F", path) == (0, "", "")
    launchd.ctl("unload", path)
    assert launchd.ctl("load", "-w", path) == (0, "", "")
    assert '"org.example.w" => enabled' in launchd.ctl("print-disabled", "system").out


def test_load_of_a_launchagent_as_root_warns_and_goes_into_the_system_domain(launchd: t.Any) -> None:
    path = launchd.plist("org.example.agent", directory=os.path.join(launchd.root, "Library/LaunchAgents"), script=SLEEP)
    words = "Expecting a LaunchDaemons path since the command was ran as root. Got LaunchAgents instead."
    assert launchd.ctl("load", path) == (0, "", f"Warning: {words}\n")
    assert launchd.ctl("print", "system/org.example.agent").rc == 0


def test_start_and_stop(launchd: t.Any) -> None:
    launchd.load("org.example.job", script=SLEEP)
    assert launchd.ctl("start", "org.example.job") == (0, "", "")
    assert launchd.show("org.example.job")["state"] == "running"
    assert launchd.ctl("start", "org.example.job") == (0, "", "")
    assert launchd.ctl("stop", "org.example.job") == (0, "", "")
    launchd.state_is("org.example.job", "not running")
    assert launchd.ctl("start", "org.example.no") == (3, "", "")
    assert launchd.ctl("stop", "org.example.no") == (3, "", "")


def test_stop_of_a_keepalive_job_brings_it_back(launchd: t.Any) -> None:
    launchd.load("org.example.keep", script=SLEEP, KeepAlive=True, ThrottleInterval=1)
    first = launchd.pid("org.example.keep")
    launchd.ctl("stop", "org.example.keep")
    launchd.until(lambda: launchd.pid("org.example.keep") not in (0, first), "it came back")


def test_load_of_a_directory_and_relative_paths(launchd: t.Any) -> None:
    launchd.plist("org.example.a", script=SLEEP)
    launchd.plist("org.example.b", script=SLEEP)
    assert launchd.ctl("load", "LaunchDaemons", cwd=os.path.join(launchd.root, "Library")) == (0, "", "")
    assert launchd.ctl("list").out == "PID\tStatus\tLabel\n-\t0\torg.example.a\n-\t0\torg.example.b\n"
    assert launchd.ctl("unload", "org.example.a.plist", cwd=launchd.daemons) == (0, "", "")
    assert launchd.ctl("remove", "org.example.b") == (0, "", "")
    assert launchd.ctl("list").out == "PID\tStatus\tLabel\n"


# Domains


@pytest.fixture
def logged_in(new_launchd: t.Any) -> t.Any:
    launchd = new_launchd(era=15, gui_sessions=[NOBODY])
    launchd.plist("org.example.agent", directory=os.path.join(launchd.root, "Library/LaunchAgents"), RunAtLoad=True,
                  script="id -u > $F; exec sleep 99", EnvironmentVariables={"F": launchd.work("uid")})  # fmt: skip
    os.chown(launchd.work(""), NOBODY, -1)
    return launchd.start()


def test_agents_of_a_gui_session_are_loaded_at_boot_and_run_as_the_user(logged_in: t.Any) -> None:
    shown = logged_in.show("org.example.agent", "gui/65534")
    assert (shown["type"], shown["state"]) == ("LaunchAgent", "running")
    assert shown["domain"] == "gui/65534 [{}]".format(shown["asid"])
    logged_in.until(lambda: logged_in.read("uid") == "65534\n", "ran as the user")
    assert "org.example.agent" not in logged_in.ctl("list").out


def test_login_and_logout(logged_in: t.Any) -> None:
    assert logged_in.lab("logout", "65534").rc == 0
    assert logged_in.ctl("print", "gui/65534/org.example.agent").rc == 112
    assert logged_in.lab("login", "65534").rc == 0
    assert logged_in.show("org.example.agent", "gui/65534")["state"] == "running"


def test_users_change_their_own_domains_only(logged_in: t.Any) -> None:
    agent = os.path.join(logged_in.root, "Library/LaunchAgents/org.example.agent.plist")
    assert logged_in.ctl("bootout", "gui/65534/org.example.agent", uid=1).rc == 1
    assert logged_in.ctl("bootout", "gui/65534/org.example.agent", uid=NOBODY).rc == 0
    logged_in.until(lambda: not logged_in.show("org.example.agent", "gui/65534"), "it is gone")
    assert logged_in.ctl("bootstrap", "gui/65534", agent, uid=NOBODY) == (0, "", "")
    answer = logged_in.ctl("bootstrap", "gui/65534", agent, uid=NOBODY)
    assert (answer.rc, answer.err.splitlines()[1]) == (5, "Try re-running the command as root for richer errors.")


def test_gui_and_user_domain_of_one_user_share_the_overrides(logged_in: t.Any) -> None:
    logged_in.ctl("disable", "gui/65534/org.example.agent", uid=NOBODY)
    shared = logged_in.ctl("print-disabled", "user/65534").out
    assert '\t\t"org.example.agent" => disabled\n' in shared
    assert logged_in.ctl("print-disabled", "gui/65534").out == shared
    assert "org.example.agent" not in logged_in.ctl("print-disabled", "system").out
    assert os.path.exists(os.path.join(logged_in.root, "var/db/com.apple.xpc.launchd/disabled.65534.plist"))


def test_session_of_the_caller(logged_in: t.Any) -> None:
    assert logged_in.ctl("managername").out == "System\n"
    assert logged_in.ctl("managername", uid=NOBODY).out == "Background\n"
    assert logged_in.ctl("manageruid", uid=NOBODY).out == "65534\n"
    assert logged_in.ctl("list", uid=NOBODY).out == "PID\tStatus\tLabel\n"


def test_a_user_that_does_not_exist_has_no_domain(launchd: t.Any) -> None:
    assert launchd.ctl("print", "user/987654/x") == (112, "", "Bad request.\nCould not find domain for uid: 987654\n")


# Faults: none is there by itself, each is used up


def test_no_fault_is_active_by_default(launchd: t.Any) -> None:
    assert launchd.lab("list") == (0, "", "")


def test_fault_bootstrap_fails_once(launchd: t.Any) -> None:
    path = launchd.plist("org.example.x", script=SLEEP)
    launchd.fault("bootstrap", label="org.example.x")
    assert launchd.ctl("bootstrap", "system", launchd.plist("org.example.other", script=SLEEP)).rc == 0
    assert launchd.ctl("bootstrap", "system", path) == (5, "", "Bootstrap failed: 5: Input/output error\n")
    assert launchd.ctl("print", "system/org.example.x").rc == 113
    assert launchd.ctl("bootstrap", "system", path).rc == 0


def test_fault_bootout_says_36_and_works(launchd: t.Any) -> None:
    launchd.load("org.example.x", script=SLEEP, RunAtLoad=True)
    launchd.fault("bootout")
    assert launchd.ctl("bootout", "system/org.example.x") == (36, "", "Boot-out failed: 36: Operation now in progress\n")
    launchd.gone("org.example.x")


def test_fault_kickstart_fails_as_often_as_told(launchd: t.Any) -> None:
    launchd.load("org.example.x", script=SLEEP)
    launchd.fault("kickstart", count=2)
    for _dummy in range(2):
        assert launchd.ctl("kickstart", "-k", "system/org.example.x").rc == 1
        assert launchd.show("org.example.x")["runs"] == "0"
    assert launchd.ctl("kickstart", "-k", "system/org.example.x").rc == 0


def test_fault_no_spawn_holds_a_runatload_job_until_it_is_kickstarted(launchd: t.Any) -> None:
    launchd.fault("no-spawn", label="org.example.x")
    launchd.load("org.example.x", script=SLEEP, RunAtLoad=True, KeepAlive=True, WatchPaths=["/nonexistent"])
    time.sleep(0.7)  # longer than the stand-in's look at watched paths
    shown = launchd.show("org.example.x")
    assert (shown["state"], shown["runs"]) == ("not running", "0")
    assert launchd.ctl("kickstart", "system/org.example.x").rc == 0
    assert launchd.show("org.example.x")["state"] == "running"


def test_fault_linger_keeps_the_label_after_the_process_is_gone(launchd: t.Any) -> None:
    from harness import alive

    path = launchd.load("org.example.x", script=SLEEP, RunAtLoad=True)
    pid = launchd.pid("org.example.x")
    launchd.fault("linger", seconds=0.7)
    launchd.ctl("bootout", "system/org.example.x")
    launchd.until(lambda: not alive(pid), "the process is gone")
    shown = launchd.show("org.example.x")
    assert (shown["state"], shown["pid"]) == ("SIGTERMed", str(pid))
    assert launchd.ctl("bootstrap", "system", path).rc == 5
    launchd.gone("org.example.x", 2)
    assert launchd.ctl("bootstrap", "system", path).rc == 0


def test_fault_broken_lwcr(launchd: t.Any) -> None:
    launchd.load("org.example.x", script=SLEEP)
    launchd.fault("broken-lwcr", count=0)
    for _dummy in range(2):
        assert "0 = \t\t\t]\n" in launchd.ctl("print", "system/org.example.x").out
    launchd.lab("clear")
    assert "LWCR = {" not in launchd.ctl("print", "system/org.example.x").out


def test_faults_may_come_from_the_configuration(new_launchd: t.Any) -> None:
    launchd = new_launchd(era=15, faults=[{"name": "no-spawn", "label": "org.example.x"}, {"name": "nonsense"}])
    launchd.plist("org.example.x", script=SLEEP, RunAtLoad=True)
    launchd.start()
    assert launchd.show("org.example.x")["state"] == "not running"
    assert "unknown fault 'nonsense'" in launchd.log()


def test_faults_are_for_root(launchd: t.Any) -> None:
    assert launchd.lab("clear", uid=NOBODY).rc == 1
    assert launchd.lab("fault", {"name": "nonsense"}).rc == 64


# The client as a program


@pytest.fixture
def installed(launchd: t.Any) -> t.Callable[..., subprocess.CompletedProcess[str]]:
    from harness import HERE

    prefix = launchd.work("prefix")
    subprocess.run(["sh", os.path.join(HERE, "install.sh"), prefix, sys.executable], check=True)
    # The links are made for a root directory of their own.
    library = os.path.join(prefix, "opt/lab/launchd")
    os.symlink(os.path.join(library, "launchctl.py"), os.path.join(prefix, "lab-launchd-fault"))
    programs = {"launchctl": os.path.join(library, "launchctl.py"), "fault": os.path.join(prefix, "lab-launchd-fault")}

    def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"LAB_LAUNCHD_SOCKET": launchd.socket}
        return subprocess.run([programs[name], *words], env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_installed_client_passes_output_and_exit_status_on(installed: t.Any, launchd: t.Any) -> None:
    launchd.load("org.example.x", script=SLEEP)
    done = installed("launchctl", "print", "system/org.example.x")
    assert (done.returncode, done.stdout, done.stderr) == (0, launchd.ctl("print", "system/org.example.x").out, "")
    done = installed("launchctl", "print", "system/org.example.no")
    assert (done.returncode, done.stdout) == (113, "")
    assert done.stderr == 'Bad request.\nCould not find service "org.example.no" in domain for system\n'
    assert installed("launchctl").returncode == 1


def test_the_installed_fault_tool(installed: t.Any, launchd: t.Any) -> None:
    assert installed("fault", "kickstart", "--label", "org.example.x", "--rc", "7", "--count", "0").returncode == 0
    assert '"rc": 7' in installed("fault", "list").stdout
    launchd.load("org.example.x", script=SLEEP)
    assert installed("launchctl", "kickstart", "system/org.example.x").returncode == 7
    assert installed("fault", "clear").returncode == 0
    assert installed("launchctl", "kickstart", "system/org.example.x").returncode == 0


def test_the_client_starts_fast(installed: t.Any, launchd: t.Any) -> None:
    spent = []
    for _dummy in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        installed("launchctl", "list")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Processor time, 20 ms: the clock on the wall says more about what else runs on the machine.
    assert min(spent) < 0.15


def test_the_client_without_a_daemon(installed: t.Any, launchd: t.Any) -> None:
    launchd.stop()
    done = installed("launchctl", "list")
    assert done.returncode == 1
    assert done.stderr.startswith("Could not contact launchd: ")


@pytest.mark.parametrize(
    "nonsense", [b"\n", b"null\n", b"[]\n", b'{"argv": 3}\n', b'{"argv": [null]}\n', b"\xff\xfe\n", b'{"lab": {}}\n']
)
def test_the_daemon_survives_nonsense(launchd: t.Any, nonsense: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(launchd.socket)
        connection.sendall(nonsense)
        connection.settimeout(5)
        assert connection.recv(65536).startswith(b"{")
    assert launchd.ctl("list").rc == 0
