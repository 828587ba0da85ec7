# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a job: bootout's window, throttle, KeepAlive, process groups, kickstart, shutdown."""

from __future__ import annotations

import os
import plistlib
import signal
import time
import typing as t

import pytest

SLEEP = "exec sleep 1000"
DRAIN = "trap 'while [ ! -e $GO ]; do sleep 0.05; done; exit 0' TERM; : ready; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; : ready; while :; do sleep 0.1; done"


def test_bootout_returns_at_once_and_the_label_stays_sigtermed_until_the_process_is_gone(launchd: t.Any) -> None:
    path = launchd.load_ready("org.example.drain", DRAIN, ExitTimeOut=60, EnvironmentVariables={"GO": launchd.work("go")})
    pid = launchd.pid("org.example.drain")
    assert launchd.ctl("bootout", "system/org.example.drain").rc == 0
    shown = launchd.show("org.example.drain")
    assert (shown["state"], shown["pid"]) == ("SIGTERMed", str(pid))
    assert launchd.ctl("bootstrap", "system", path).rc == 5
    with open(launchd.work("go"), "w", encoding="utf-8"):
        pass
    launchd.gone("org.example.drain")
    assert launchd.ctl("bootstrap", "system", path).rc == 0


def test_bootout_kills_at_the_exit_timeout(launchd: t.Any) -> None:
    from harness import alive

    launchd.load_ready("org.example.stubborn", STUBBORN, ExitTimeOut=1)
    pid = launchd.pid("org.example.stubborn")
    start = time.monotonic()
    launchd.ctl("bootout", "system/org.example.stubborn")
    launchd.gone("org.example.stubborn")
    assert time.monotonic() - start > 0.8
    assert not alive(pid)
    assert "scheduling cleanup in 1 sec after sending Terminated: 15" in launchd.log()


def test_exit_timeout_0_never_kills(launchd: t.Any) -> None:
    launchd.load_ready("org.example.forever", STUBBORN, ExitTimeOut=0)
    launchd.ctl("bootout", "system/org.example.forever")
    time.sleep(1.2)
    shown = launchd.show("org.example.forever")
    assert (shown["state"], shown["exit timeout"]) == ("SIGTERMed", "0")
    os.kill(int(shown["pid"]), signal.SIGKILL)
    launchd.gone("org.example.forever")


def test_bootout_of_an_idle_job_is_done_at_once(launchd: t.Any) -> None:
    path = launchd.load("org.example.idle", script=SLEEP)
    assert launchd.ctl("bootout", "system", path).rc == 0
    assert launchd.ctl("print", "system/org.example.idle").rc == 113


def test_keepalive_respawns_at_once_after_the_throttle_interval_has_passed(launchd: t.Any) -> None:
    launchd.load("org.example.keep", script=SLEEP, KeepAlive=True, ThrottleInterval=1)
    first = launchd.pid("org.example.keep")
    assert launchd.show("org.example.keep")["immediate reason"] == "speculative"
    time.sleep(1.05)
    os.kill(first, signal.SIGKILL)
    launchd.until(lambda: launchd.pid("org.example.keep") not in (0, first), "respawn")
    assert "Pushing respawn out" not in launchd.log()
    shown = launchd.show("org.example.keep")
    assert (shown["runs"], shown["immediate reason"]) == ("2", "inefficient")
    assert shown["last terminating signal"] == "Killed: 9"
    assert "last exit code" not in shown


def test_throttle_counts_from_launch_to_launch(launchd: t.Any) -> None:
    launchd.load("org.example.early", script="date +%s.%N >> $F; sleep 0.3; exit 1", KeepAlive=True, ThrottleInterval=1,
                 EnvironmentVariables={"F": launchd.work("starts")})  # fmt: skip
    launchd.state_is("org.example.early", "spawn scheduled")
    shown = launchd.show("org.example.early")
    assert (shown["last exit code"], shown["active count"], shown["minimum runtime"]) == ("1", "0", "1")
    assert "pid" not in shown
    launchd.until(lambda: launchd.read("starts").count("\n") >= 3, "three starts")
    moments = [float(line) for line in launchd.read("starts").split()]
    assert all(after - before > 0.9 for before, after in zip(moments, moments[1:]))
    assert "Pushing respawn out by 1 seconds." in launchd.log()


def test_throttle_0_is_ignored_and_10_is_the_default(launchd: t.Any) -> None:
    launchd.load("org.example.zero", script="exit 3", KeepAlive=True, ThrottleInterval=0)
    launchd.state_is("org.example.zero", "spawn scheduled")
    assert launchd.show("org.example.zero")["minimum runtime"] == "10"


def test_kickstart_beats_the_throttle_unless_configured_otherwise(new_launchd: t.Any) -> None:
    for beats, runs in ((True, "2"), (False, "1")):
        launchd = new_launchd(era=15, kickstart_beats_throttle=beats).start()
        launchd.load("org.example.x", script="exit 3", KeepAlive=True)
        launchd.state_is("org.example.x", "spawn scheduled")
        assert launchd.ctl("kickstart", "system/org.example.x").rc == 0
        assert launchd.show("org.example.x")["runs"] == runs


def test_without_abandonprocessgroup_the_group_dies_with_the_job(launchd: t.Any) -> None:
    from harness import alive

    for abandon in (False, True):
        name = f"org.example.group{abandon:d}"
        child = "sleep 1000 & echo $! > $F; exit 0"
        launchd.load(name, script=child, RunAtLoad=True, AbandonProcessGroup=abandon,
                     EnvironmentVariables={"F": launchd.work(name)})  # fmt: skip
        launchd.state_is(name, "not running")
        pid = int(launchd.read(name))
        if abandon:
            assert alive(pid)
            os.kill(pid, signal.SIGKILL)
        else:
            launchd.until(lambda number=pid: not alive(number), "the child is gone")


def test_bootout_takes_the_group_along(launchd: t.Any) -> None:
    from harness import alive

    launchd.load("org.example.tree", script="sleep 1000 & echo $! > $F; wait", RunAtLoad=True,
                 EnvironmentVariables={"F": launchd.work("child")})  # fmt: skip
    launchd.until(lambda: launchd.read("child"), "the child started")
    launchd.ctl("bootout", "system/org.example.tree")
    launchd.gone("org.example.tree")
    pid = int(launchd.read("child"))
    launchd.until(lambda: not alive(pid), "the child is gone")


def test_orphans_are_reaped(launchd: t.Any) -> None:
    # setsid: outside of the job's group, so that it outlives the job and comes to launchd.
    launchd.load("org.example.orphan", script="setsid sh -c 'echo $$ > $F; exec sleep 0.3' & exit 0", RunAtLoad=True,
                 AbandonProcessGroup=True, EnvironmentVariables={"F": launchd.work("orphan")})  # fmt: skip
    launchd.until(lambda: launchd.read("orphan"), "the orphan started")
    pid = int(launchd.read("orphan"))
    launchd.until(lambda: not os.path.exists(f"/proc/{pid:d}"), "the orphan is no zombie")


def test_kickstart_k_restarts_without_reading_the_file_again(launchd: t.Any) -> None:
    launchd.load("org.example.old", script="echo old >> $F; exec sleep 1000", RunAtLoad=True,
                 EnvironmentVariables={"F": launchd.work("said")})  # fmt: skip
    first = launchd.pid("org.example.old")
    launchd.until(lambda: launchd.read("said"), "first start")
    path = launchd.plist("org.example.old", script="echo new >> $F; exec sleep 1000", RunAtLoad=True,
                         EnvironmentVariables={"F": launchd.work("said")})  # fmt: skip
    answer = launchd.ctl("kickstart", "-k", "-p", "system/org.example.old")
    second = launchd.pid("org.example.old")
    assert second not in (0, first)
    assert answer == (0, f"service spawned with pid: {second:d}\n", "")
    launchd.until(lambda: launchd.read("said") == "old\nold\n", "second start")
    assert launchd.show("org.example.old")["immediate reason"] == "non-ipc demand"
    launchd.ctl("bootout", "system/org.example.old")
    launchd.gone("org.example.old")
    assert launchd.ctl("bootstrap", "system", path).rc == 0
    launchd.until(lambda: launchd.read("said") == "old\nold\nnew\n", "new definition")


def test_kickstart_starts_an_idle_job(launchd: t.Any) -> None:
    launchd.load("org.example.idle", script=SLEEP)
    shown = launchd.show("org.example.idle")
    assert (shown["state"], shown["runs"], shown["last exit code"]) == ("not running", "0", "(never exited)")
    assert launchd.ctl("kickstart", "system/org.example.idle") == (0, "", "")
    assert launchd.show("org.example.idle")["state"] == "running"
    assert launchd.ctl("blame", "system/org.example.idle").out == "non-ipc demand\n"


def test_kill_leaves_the_job_loaded(launchd: t.Any) -> None:
    launchd.load("org.example.victim", script=SLEEP, RunAtLoad=True)
    assert launchd.ctl("kill", "TERM", "system/org.example.victim").rc == 0
    launchd.state_is("org.example.victim", "not running")
    assert launchd.show("org.example.victim")["last terminating signal"] == "Terminated: 15"
    assert launchd.ctl("list").out.endswith("-\t-15\torg.example.victim\n")
    assert '\t"LastExitStatus" = 15;\n' in launchd.ctl("list", "org.example.victim").out


def test_signal_numbers_are_those_of_a_mac(launchd: t.Any) -> None:
    script = "trap 'echo usr1 > $F' USR1; : ready; while :; do sleep 0.05; done"
    launchd.load_ready("org.example.signals", script, EnvironmentVariables={"F": launchd.work("got")})
    assert launchd.ctl("kill", "30", "system/org.example.signals").rc == 0
    launchd.until(lambda: launchd.read("got") == "usr1\n", "SIGUSR1 is 30 on a Mac")
    launchd.ctl("kill", "SIGBUS", "system/org.example.signals")
    launchd.state_is("org.example.signals", "not running")
    shown = launchd.show("org.example.signals")
    assert (shown["last terminating signal"], shown["successive crashes"]) == ("Bus error: 10", "1")


def test_exit_status_is_decoded_in_the_table_and_raw_in_the_single_listing(launchd: t.Any) -> None:
    launchd.load("org.example.temp", script="exit 75", RunAtLoad=True)
    launchd.state_is("org.example.temp", "not running")
    assert launchd.show("org.example.temp")["last exit code"] == "75: EX_TEMPFAIL"
    assert launchd.ctl("list").out == "PID\tStatus\tLabel\n-\t75\torg.example.temp\n"
    listing = launchd.ctl("list", "org.example.temp").out
    assert '\t"LastExitStatus" = 19200;\n' in listing
    assert "PID" not in listing


def test_a_running_job_shows_the_exit_of_its_previous_run(launchd: t.Any) -> None:
    script = "[ -e $F ] && exec sleep 1000; touch $F; exit 7"
    launchd.load("org.example.second", script=script, RunAtLoad=True, EnvironmentVariables={"F": launchd.work("flag")})
    launchd.state_is("org.example.second", "not running")
    launchd.ctl("kickstart", "system/org.example.second")
    shown = launchd.show("org.example.second")
    assert (shown["state"], shown["last exit code"]) == ("running", "7")


def test_startinterval_runs_again_and_again(launchd: t.Any) -> None:
    launchd.load("org.example.tick", script="echo x >> $F", StartInterval=1, ThrottleInterval=1,
                 EnvironmentVariables={"F": launchd.work("ticks")})  # fmt: skip
    shown = launchd.show("org.example.tick")
    assert (shown["state"], shown["run interval"], shown["runs"]) == ("not running", "1 seconds", "0")
    launchd.until(lambda: launchd.read("ticks").count("x") >= 2, "two firings")


def test_shutdown_ends_jobs_in_order_and_kills_the_stubborn(launchd: t.Any) -> None:
    from harness import alive

    script = "trap 'echo bye > $F; exit 0' TERM; : ready; while :; do sleep 0.05; done"
    launchd.load_ready("org.example.polite", script, KeepAlive=True, EnvironmentVariables={"F": launchd.work("bye")})
    launchd.load_ready("org.example.stubborn", STUBBORN, KeepAlive=True, ExitTimeOut=1)
    pids = [launchd.pid("org.example.polite"), launchd.pid("org.example.stubborn")]
    assert launchd.stop() == 0
    assert launchd.read("bye") == "bye\n"
    assert not any(alive(pid) for pid in pids)
    assert not os.path.exists(launchd.socket)


def test_boot_loads_all_daemons_and_respects_disabled_and_overrides(new_launchd: t.Any) -> None:
    launchd = new_launchd(era=15)
    launchd.plist("org.example.on", script=SLEEP, RunAtLoad=True)
    launchd.plist("org.example.idle", script=SLEEP)
    launchd.plist("org.example.off", script=SLEEP, RunAtLoad=True, Disabled=True)
    launchd.plist("org.example.forced", script=SLEEP, RunAtLoad=True, Disabled=True)
    system = os.path.join(launchd.root, "System/Library/LaunchDaemons")
    launchd.plist("com.example.system", directory=system, script=SLEEP, KeepAlive=True)
    with open(os.path.join(launchd.daemons, "broken.plist"), "w", encoding="utf-8") as handle:
        handle.write("no plist")
    state = os.path.join(launchd.root, "var/db/com.apple.xpc.launchd")
    os.makedirs(state)
    with open(os.path.join(state, "disabled.plist"), "wb") as handle:
        plistlib.dump({"org.example.forced": False}, handle)
    launchd.start()
    labels = {line.split("\t")[2] for line in launchd.ctl("list").out.splitlines()[1:]}
    assert labels == {"org.example.on", "org.example.idle", "org.example.forced", "com.example.system"}
    assert launchd.show("org.example.on")["immediate reason"] == "speculative"
    assert launchd.show("org.example.idle")["state"] == "not running"


def test_overrides_outlive_job_file_and_restart(launchd: t.Any) -> None:
    path = launchd.load("org.example.x", script=SLEEP, RunAtLoad=True)
    assert launchd.ctl("disable", "system/org.example.x").rc == 0
    assert launchd.show("org.example.x")["state"] == "running"
    launchd.ctl("enable", "system/org.example.y")
    launchd.stop()
    launchd.start()
    assert launchd.ctl("print", "system/org.example.x").rc == 113
    words = '\n\tdisabled services = {\n\t\t"org.example.x" => disabled\n\t\t"org.example.y" => enabled\n\t}\n'
    assert launchd.ctl("print-disabled", "system") == (0, words, "")
    os.unlink(path)
    assert launchd.ctl("print-disabled", "system").out == words
    with open(os.path.join(launchd.root, "var/db/com.apple.xpc.launchd/disabled.plist"), "rb") as handle:
        assert plistlib.load(handle) == {"org.example.x": True, "org.example.y": False}
    launchd.plist("org.example.x", script=SLEEP)
    launchd.ctl("enable", "system/org.example.x")
    assert launchd.ctl("bootstrap", "system", path).rc == 0


def test_a_broken_override_database_counts_as_empty(new_launchd: t.Any) -> None:
    launchd = new_launchd(era=15)
    path = os.path.join(launchd.root, "var/db/com.apple.xpc.launchd/disabled.plist")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("<plist><dict><key>org.example.x")
    launchd.plist("org.example.x", script=SLEEP)
    launchd.start()
    assert launchd.ctl("print", "system/org.example.x").rc == 0
    assert launchd.ctl("disable", "system/org.example.x").rc == 0
    assert "org.example.x" in launchd.ctl("print-disabled", "system").out


@pytest.mark.parametrize("disabled", [True, False])
def test_enable_beats_the_disabled_key_of_the_file(launchd: t.Any, disabled: bool) -> None:
    path = launchd.plist("org.example.x", script=SLEEP, Disabled=disabled)
    assert launchd.ctl("bootstrap", "system", path).rc == (5 if disabled else 0)
    if disabled:
        launchd.ctl("enable", "system/org.example.x")
        assert launchd.ctl("bootstrap", "system", path).rc == 0


def test_the_idle_daemon_sleeps(launchd: t.Any) -> None:
    launchd.load("org.example.idle", script=SLEEP, KeepAlive=True)

    def ticks() -> int:
        with open(f"/proc/{launchd.process.pid:d}/stat", encoding="utf-8") as handle:
            fields = handle.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(0.5)
    assert ticks() - before <= 1
