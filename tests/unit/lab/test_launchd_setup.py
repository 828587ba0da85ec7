# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job's process gets: environment, user, directory, files, limits; and what makes it run."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import stat
import time
import typing as t

import pytest

SLEEP = "exec sleep 1000"
NOBODY = pwd.getpwnam("nobody")


def finished(launchd: t.Any, label: str) -> dict[str, str]:
    """Wait until the (RunAtLoad) job ended; what print shows of it."""
    launchd.state_is(label, "not running")
    return t.cast("dict[str, str]", launchd.show(label))


@pytest.mark.parametrize(("era", "extra"), [(13, set()), (14, set()), (15, {"OSLogRateLimit=64"}), (26, {"OSLogRateLimit=64"})])
def test_default_environment_holds_nothing_of_launchds_own(new_launchd: t.Any, era: int, extra: set[str]) -> None:
    launchd = new_launchd(era=era).start()
    launchd.load("org.example.env", ProgramArguments=["/usr/bin/env"], RunAtLoad=True, StandardOutPath=launchd.work("env"))
    finished(launchd, "org.example.env")
    assert set(launchd.read("env").split()) == {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "XPC_SERVICE_NAME=org.example.env"} | extra


def test_environment_variables_win_over_the_defaults_and_must_be_strings(launchd: t.Any) -> None:
    launchd.load("org.example.env", ProgramArguments=["/usr/bin/env"], RunAtLoad=True, StandardOutPath=launchd.work("env"),
                 EnvironmentVariables={"PATH": "/opt/bin:/usr/bin", "A": "b c", "NUMBER": 1})  # fmt: skip
    finished(launchd, "org.example.env")
    lines = launchd.read("env").splitlines()
    assert "PATH=/opt/bin:/usr/bin" in lines
    assert "A=b c" in lines
    assert not any(line.startswith("NUMBER") for line in lines)


def test_username_changes_user_groups_and_home(launchd: t.Any) -> None:
    os.chown(launchd.work(""), NOBODY.pw_uid, -1)
    launchd.load("org.example.user", script="id -un; id -gn; echo $HOME $USER $LOGNAME $SHELL", RunAtLoad=True, UserName="nobody",
                 StandardOutPath=launchd.work("who"))  # fmt: skip
    assert finished(launchd, "org.example.user")["username"] == "nobody"
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    assert launchd.read("who").splitlines() == ["nobody", group, f"{NOBODY.pw_dir} nobody nobody {NOBODY.pw_shell}"]
    # Created by the job's user, not by root.
    assert os.stat(launchd.work("who")).st_uid == NOBODY.pw_uid


def test_groupname_alone_changes_the_group(launchd: t.Any) -> None:
    launchd.load("org.example.group", script="id -u; id -gn", RunAtLoad=True, GroupName="daemon",
                 StandardOutPath=launchd.work("who"))  # fmt: skip
    assert finished(launchd, "org.example.group")["group"] == "daemon"
    assert launchd.read("who").splitlines() == ["0", "daemon"]


@pytest.mark.parametrize(("umask", "mode", "shown"), [(None, 0o644, None), (63, 0o600, "77"), ("027", 0o640, "27")])
def test_umask_is_decimal_as_a_number_and_octal_as_a_string(launchd: t.Any, umask: t.Any, mode: int, shown: str | None) -> None:
    keys = {} if umask is None else {"Umask": umask}
    launchd.load("org.example.umask", script="touch $F", RunAtLoad=True, EnvironmentVariables={"F": launchd.work("made")}, **keys)
    assert finished(launchd, "org.example.umask").get("umask") == shown
    assert stat.S_IMODE(os.stat(launchd.work("made")).st_mode) == mode


def test_working_directory_and_standard_files(launchd: t.Any) -> None:
    with open(launchd.work("in"), "w", encoding="utf-8") as handle:
        handle.write("asked\n")
    launchd.load("org.example.files", script="read x; echo $x; pwd; echo trouble >&2", RunAtLoad=True,
                 WorkingDirectory=launchd.work(""), StandardInPath=launchd.work("in"), StandardOutPath=launchd.work("out"),
                 StandardErrorPath=launchd.work("err"))  # fmt: skip
    finished(launchd, "org.example.files")
    assert launchd.read("out") == "asked\n{}\n".format(launchd.work("").rstrip("/"))
    assert launchd.read("err") == "trouble\n"
    launchd.ctl("kickstart", "system/org.example.files")
    launchd.until(lambda: launchd.read("err") == "trouble\ntrouble\n", "logs are appended to")


def test_without_paths_the_standard_files_are_dev_null_and_the_directory_is_the_root(launchd: t.Any) -> None:
    launchd.load("org.example.null", script="{ pwd; readlink /proc/$$/fd/0; } > $F 2>&1",
                 RunAtLoad=True, EnvironmentVariables={"F": launchd.work("said")})  # fmt: skip
    finished(launchd, "org.example.null")
    lines = launchd.read("said").split()
    assert (lines[0], lines[1]) == ("/", "/dev/null")


def test_missing_log_directories_are_made_by_root_with_mode_0744(launchd: t.Any) -> None:
    launchd.load("org.example.logs", script="echo hello", RunAtLoad=True, StandardOutPath=launchd.work("a/b/log"))
    finished(launchd, "org.example.logs")
    assert launchd.read("a/b/log") == "hello\n"
    for name in ("a", "a/b"):
        status = os.stat(launchd.work(name))
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o744)


@pytest.mark.parametrize("keys", [
    {"WorkingDirectory": "/nonexistent"},
    {"StandardOutPath": "/dev/null/log"},
    {"UserName": "nobody", "StandardErrorPath": "/root-only-by-nobody.log"},
])  # fmt: skip
def test_what_cannot_be_set_up_exits_78_and_is_tried_again(launchd: t.Any, keys: dict[str, t.Any]) -> None:
    launchd.load("org.example.config", script="true", RunAtLoad=True, ThrottleInterval=1, **keys)
    launchd.state_is("org.example.config", "spawn scheduled")
    shown = launchd.show("org.example.config")
    assert (shown["last exit code"], shown["runs"]) == ("78: EX_CONFIG", "1")
    launchd.until(lambda: int(launchd.show("org.example.config")["runs"]) >= 2, "tried again")


def test_a_job_that_itself_exits_78_is_not_tried_again(launchd: t.Any) -> None:
    launchd.load("org.example.own78", script="exit 78", RunAtLoad=True)
    assert finished(launchd, "org.example.own78")["last exit code"] == "78: EX_CONFIG"


def test_program_and_arguments_may_differ(launchd: t.Any) -> None:
    launchd.load("org.example.argv", Program="/bin/sh", ProgramArguments=["other-name", "-c", "echo $0 > $F", "zero"],
                 RunAtLoad=True, EnvironmentVariables={"F": launchd.work("argv")})  # fmt: skip
    shown = finished(launchd, "org.example.argv")
    assert (shown["program"], shown["properties"]) == ("/bin/sh", "runatload")
    assert launchd.read("argv") == "zero\n"


def test_limits_and_nice(launchd: t.Any) -> None:
    launchd.load("org.example.limits", script="ulimit -n; nice", RunAtLoad=True, Nice=5, StandardOutPath=launchd.work("limits"),
                 SoftResourceLimits={"NumberOfFiles": 99})  # fmt: skip
    assert finished(launchd, "org.example.limits")["nice"] == "5"
    assert launchd.read("limits") == "99\n5\n"


def test_each_job_leads_its_own_session(launchd: t.Any) -> None:
    launchd.load("org.example.session", script=SLEEP, RunAtLoad=True)
    pid = launchd.pid("org.example.session")
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)


def test_wrongly_typed_keys_are_ignored(launchd: t.Any) -> None:
    launchd.load(
        "org.example.types", script=SLEEP, RunAtLoad=1, KeepAlive="yes", ThrottleInterval=True, ExitTimeOut="3", Unknown={"x": 1}
    )
    shown = launchd.show("org.example.types")
    assert (shown["state"], shown["minimum runtime"], shown["exit timeout"]) == ("not running", "10", "5")
    assert "key of the wrong type ignored" in launchd.log()


# KeepAlive and other triggers


@pytest.mark.parametrize(("conditions", "script", "respawns"), [
    ({"SuccessfulExit": True}, "exit 0", True),
    ({"SuccessfulExit": True}, "exit 1", False),
    ({"SuccessfulExit": False}, "exit 1", True),
    ({"SuccessfulExit": False}, "exit 0", False),
    ({"SuccessfulExit": False}, "kill -TERM $$", True),
    ({"Crashed": True, "SuccessfulExit": True}, "kill -ABRT $$", True),
    ({"Crashed": False}, "exit 1", True),
    ({"Crashed": False}, "kill -SEGV $$", False),
    ({"NetworkState": True, "SuccessfulExit": True}, "exit 1", False),
])  # fmt: skip
def test_keepalive_conditions_after_an_exit(launchd: t.Any, conditions: dict[str, bool], script: str, respawns: bool) -> None:
    launchd.load("org.example.cond", script=script, KeepAlive=conditions)
    launchd.state_is("org.example.cond", "spawn scheduled" if respawns else "not running")
    shown = launchd.show("org.example.cond")
    assert shown["runs"] == "1"
    assert "keepalive" not in shown["properties"]


def test_an_empty_keepalive_dict_is_not_true(launchd: t.Any) -> None:
    launchd.load("org.example.empty", script=SLEEP, KeepAlive={})
    assert launchd.show("org.example.empty")["state"] == "not running"


def test_afterinitialdemand_waits_for_the_first_kickstart(launchd: t.Any) -> None:
    launchd.load("org.example.after", script="exit 1", KeepAlive={"AfterInitialDemand": True, "Crashed": False})
    assert launchd.show("org.example.after")["state"] == "not running"
    launchd.ctl("kickstart", "system/org.example.after")
    launchd.state_is("org.example.after", "spawn scheduled")


def test_pathstate_starts_when_the_path_appears(launchd: t.Any) -> None:
    launchd.load("org.example.path", script=SLEEP, KeepAlive={"PathState": {launchd.work("flag"): True}})
    assert launchd.show("org.example.path")["state"] == "not running"
    with open(launchd.work("flag"), "w", encoding="utf-8"):
        pass
    launchd.state_is("org.example.path", "running", 2)
    assert launchd.show("org.example.path")["immediate reason"] == "semaphore"


def test_other_job_enabled(launchd: t.Any) -> None:
    launchd.load("org.example.second", script=SLEEP, KeepAlive={"OtherJobEnabled": {"org.example.first": True}})
    assert launchd.show("org.example.second")["state"] == "not running"
    launchd.load("org.example.first", script=SLEEP)
    launchd.state_is("org.example.second", "running", 2)


def test_watchpaths_and_queuedirectories(launchd: t.Any) -> None:
    os.mkdir(launchd.work("queue"))
    launchd.load("org.example.watch", script="true", WatchPaths=[launchd.work("watched")])
    launchd.load("org.example.queue", script="rm $D/*", QueueDirectories=[launchd.work("queue")],
                 EnvironmentVariables={"D": launchd.work("queue")})  # fmt: skip
    for name in ("watched", "queue/item"):
        with open(launchd.work(name), "w", encoding="utf-8"):
            pass
    launchd.until(lambda: launchd.show("org.example.watch")["runs"] == "1", "watched path started the job")
    launchd.until(lambda: os.listdir(launchd.work("queue")) == [], "queue was worked off")


def test_launchonlyonce(launchd: t.Any) -> None:
    launchd.load("org.example.once", script="exit 0", KeepAlive=True, LaunchOnlyOnce=True, ThrottleInterval=1)
    finished(launchd, "org.example.once")


def test_ondemand_false_is_the_old_keepalive(launchd: t.Any) -> None:
    launchd.load("org.example.ondemand", script=SLEEP, OnDemand=False)
    assert launchd.show("org.example.ondemand")["properties"] == "keepalive | inferred program"


@pytest.mark.parametrize(("entry", "moment", "matches"), [
    ({}, "2026-01-01 00:00", True),
    ({"Minute": 5}, "2026-01-01 07:05", True),
    ({"Minute": 5, "Hour": 8}, "2026-01-01 07:05", False),
    ({"Weekday": 7}, "2026-01-04 00:00", True),
    ({"Weekday": 0}, "2026-01-04 00:00", True),
    ({"Weekday": 1}, "2026-01-04 00:00", False),
    ({"Day": 4, "Weekday": 1}, "2026-01-04 00:00", True),
    ({"Day": 5, "Weekday": 0}, "2026-01-04 00:00", True),
    ({"Day": 5, "Weekday": 1}, "2026-01-04 00:00", False),
    ({"Month": 2}, "2026-01-04 00:00", False),
])  # fmt: skip
def test_calendar(entry: dict[str, int], moment: str, matches: bool) -> None:
    from lab_launchd.triggers import calendar_matches

    assert calendar_matches([entry], time.strptime(moment, "%Y-%m-%d %H:%M")) is matches


def test_signals_that_crash_are_counted_until_a_clean_exit(launchd: t.Any) -> None:
    launchd.load("org.example.crash", script=SLEEP, RunAtLoad=True)
    for expected in ("1", "2"):
        os.kill(launchd.pid("org.example.crash"), signal.SIGSEGV)
        launchd.state_is("org.example.crash", "not running")
        assert launchd.show("org.example.crash")["successive crashes"] == expected
        launchd.ctl("kickstart", "system/org.example.crash")
    launchd.ctl("kill", "TERM", "system/org.example.crash")
    launchd.state_is("org.example.crash", "not running")
    assert "successive crashes" not in launchd.show("org.example.crash")
