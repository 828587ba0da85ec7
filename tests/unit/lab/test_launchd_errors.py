# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The error table: every recorded exit status and message that the stand-in models."""

from __future__ import annotations

import os
import typing as t

import pytest

SLEEP = "exec sleep 1000"
STUBBORN = "trap '' TERM; : ready; while :; do sleep 0.1; done"
NOBODY = 65534
HINT = "Try re-running the command as root for richer errors.\n"
EIO = "Bootstrap failed: 5: Input/output error\n"


@pytest.fixture
def at(new_launchd: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    return lambda era, **config: new_launchd(era=era, **config).start()


@pytest.mark.parametrize(
    ("era", "rc", "words"),
    [
        (10, 37, "{path}: service already loaded\n"),
        (13, 37, "{path}: service already loaded\nBootstrap failed: 37: Operation already in progress\n"),
        (14, 5, EIO),
        (15, 5, EIO),
        (26, 5, EIO),
    ],
)
def test_bootstrap_of_a_loaded_job_as_root(at: t.Any, era: int, rc: int, words: str) -> None:
    launchd = at(era)
    path = launchd.load("org.example.twice", script=SLEEP)
    assert launchd.ctl("bootstrap", "system", path) == (rc, "", words.format(path=path))


@pytest.mark.parametrize(
    ("era", "rc", "words"),
    [
        (10, 119, "{path}: Service is disabled\n"),
        (13, 119, "{path}: Service is disabled\nBootstrap failed: 119: Service is disabled\n"),
        (14, 5, EIO),
        (26, 5, EIO),
    ],
)
def test_bootstrap_of_a_disabled_job_as_root(at: t.Any, era: int, rc: int, words: str) -> None:
    launchd = at(era)
    path = launchd.plist("org.example.off", script=SLEEP)
    assert launchd.ctl("disable", "system/org.example.off") == (0, "", "")
    assert launchd.ctl("bootstrap", "system", path) == (rc, "", words.format(path=path))
    assert launchd.ctl("print", "system/org.example.off").rc == 113


@pytest.mark.parametrize(
    ("era", "rc", "words"),
    [
        (10, 122, "{path}: Path had bad ownership/permissions\n"),
        (13, 122, "{path}: Path had bad ownership/permissions\nBootstrap failed: 122: Path had bad ownership/permissions\n"),
        (15, 5, EIO),
    ],
)
@pytest.mark.parametrize("spoil", ["mode", "owner"])
def test_bootstrap_of_a_file_with_bad_owner_or_mode(at: t.Any, era: int, rc: int, words: str, spoil: str) -> None:
    launchd = at(era)
    path = launchd.plist("org.example.mode", script=SLEEP)
    if spoil == "mode":
        os.chmod(path, 0o664)
    else:
        os.chown(path, NOBODY, -1)
    assert launchd.ctl("bootstrap", "system", path) == (rc, "", words.format(path=path))


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"{ Label = old; }", 109),
        (b'{"Label": "json"}', 109),
        (b"<plist><dict><key>Label</key>", 109),
        (b"<plist><array/></plist>", 109),
        (b"<plist><dict><key>Program</key><string>/bin/sh</string></dict></plist>", 110),
        (b"<plist><dict><key>Label</key><integer>1</integer></dict></plist>", 110),
        (b"<plist><dict><key>Label</key><string>org.example.empty</string></dict></plist>", 111),
        (
            b"<plist><dict><key>Label</key><string>x</string><key>ProgramArguments</key><array><integer>1</integer></array></dict></plist>",
            111,
        ),
        (
            b"<plist><dict><key>Label</key><string>x</string><key>Program</key><string>/bin/sh</string>"
            b"<key>UserName</key><string>no-such-user</string></dict></plist>",
            114,
        ),
        (
            b"<plist><dict><key>Label</key><string>x</string><key>Program</key><string>/bin/sh</string>"
            b"<key>GroupName</key><string>no-such-group</string></dict></plist>",
            115,
        ),
    ],
)
def test_bootstrap_of_a_bad_property_list(launchd: t.Any, content: bytes, number: int) -> None:
    path = os.path.join(launchd.daemons, "org.example.bad.plist")
    with open(path, "wb") as handle:
        handle.write(content)
    assert launchd.ctl("bootstrap", "system", path) == (5, "", EIO)
    # The number that 14 and later hide stands in the log.
    assert f"failed ({number:d}: " in launchd.log()
    launchd.lab("era", 13)
    assert launchd.ctl("bootstrap", "system", path).rc == number


def test_bootstrap_of_a_missing_file(launchd: t.Any) -> None:
    assert launchd.ctl("bootstrap", "system", "/nonexistent.plist") == (5, "", EIO)


@pytest.mark.parametrize(("era", "words"), [(11, EIO), (12, EIO + HINT), (15, EIO + HINT), (26, EIO + HINT)])
def test_bootstrap_into_system_without_root(at: t.Any, era: int, words: str) -> None:
    launchd = at(era)
    path = launchd.plist("org.example.foreign", script=SLEEP)
    assert launchd.ctl("bootstrap", "system", path, uid=NOBODY) == (5, "", words)
    assert launchd.ctl("print", "system/org.example.foreign").rc == 113


@pytest.mark.parametrize("era", [13, 15, 26])
def test_bootstrap_while_the_label_is_stopping(at: t.Any, era: int) -> None:
    launchd = at(era)
    path = launchd.load_ready("org.example.slow", STUBBORN, ExitTimeOut=60)
    assert launchd.ctl("bootout", "system/org.example.slow") == (0, "", "")
    assert launchd.ctl("bootstrap", "system", path).rc == (37 if era == 13 else 5)
    assert "failed (37: Operation already in progress)" in launchd.log()


@pytest.mark.parametrize("name", ["missing", "not-executable"])
def test_bootstrap_of_a_missing_program_succeeds_and_the_job_exits_78(launchd: t.Any, name: str) -> None:
    program = launchd.work(name)
    if name == "not-executable":
        with open(program, "w", encoding="utf-8"):
            pass
    launchd.load("org.example.none", Program=program, RunAtLoad=True)
    launchd.state_is("org.example.none", "spawn scheduled")
    assert launchd.show("org.example.none")["last exit code"] == "78: EX_CONFIG"
    assert launchd.ctl("list").out.endswith("-\t78\torg.example.none\n")


@pytest.mark.parametrize("verb", ["bootstrap", "bootout"])
def test_gui_domain_without_a_login_is_125_for_bootstrap_and_bootout(launchd: t.Any, verb: str) -> None:
    prefix = {"bootstrap": "Bootstrap failed", "bootout": "Boot-out failed"}[verb]
    path = launchd.plist("org.example.agent", script=SLEEP)
    assert launchd.ctl(verb, "gui/501", path) == (125, "", prefix + ": 125: Domain does not support specified action\n")


def test_gui_domain_without_a_login_is_112_for_print(launchd: t.Any) -> None:
    words = "Bad request.\nCould not find domain for user gui: 9999\n"
    assert launchd.ctl("print", "gui/9999/x") == (112, "", words)


def test_gui_domain_before_the_login_is_done_is_125_for_print(at: t.Any) -> None:
    assert at(15, gui_not_ready=[501]).ctl("print", "gui/501/x").rc == 125


@pytest.mark.parametrize(("era", "rc"), [(15, 5), (26, 0)])
def test_user_domain_wants_the_background_session_type_before_26(at: t.Any, era: int, rc: int) -> None:
    launchd = at(era)
    path = launchd.plist("org.example.agent", script=SLEEP)
    assert launchd.ctl("bootstrap", "user/0", path).rc == rc
    path = launchd.plist("org.example.background", script=SLEEP, LimitLoadToSessionType="Background")
    assert launchd.ctl("bootstrap", "user/0", path) == (0, "", "")


@pytest.mark.parametrize("era", [13, 15, 26])
def test_bootout_of_an_unknown_label_is_3_and_of_an_unknown_path_5(at: t.Any, era: int) -> None:
    launchd = at(era)
    assert launchd.ctl("bootout", "system/org.example.no") == (3, "", "Boot-out failed: 3: No such process\n")
    path = launchd.plist("org.example.no", script=SLEEP)
    assert launchd.ctl("bootout", "system", path) == (5, "", "Boot-out failed: 5: Input/output error\n")


@pytest.mark.parametrize(("era", "rc"), [(10, 36), (11, 36), (12, 0), (15, 0)])
def test_bootout_of_a_job_that_is_slow_to_die(at: t.Any, era: int, rc: int) -> None:
    launchd = at(era)
    launchd.load_ready("org.example.slow", STUBBORN, ExitTimeOut=60)
    words = "Boot-out failed: 36: Operation now in progress\n" if rc else ""
    assert launchd.ctl("bootout", "system/org.example.slow") == (rc, "", words)
    assert launchd.show("org.example.slow")["state"] == "SIGTERMed"


@pytest.mark.parametrize("era", [13, 15])
def test_bootout_wait_is_unknown_before_26(at: t.Any, era: int) -> None:
    launchd = at(era)
    launchd.load("org.example.x", script=SLEEP)
    answer = launchd.ctl("bootout", "--wait", "system/org.example.x")
    usage = "Usage: launchctl bootout <domain-target> [service-path1, service-path2, ...] | <service-target>\n"
    assert answer.rc == 64
    assert answer.err.startswith("Unrecognized target specifier.\n" + usage)
    assert launchd.ctl("print", "system/org.example.x").rc == 0


def test_bootout_wait_in_26_returns_when_the_label_is_gone(at: t.Any) -> None:
    launchd = at(26)
    launchd.load_ready("org.example.x", "trap 'sleep 0.5; exit 0' TERM; : ready; while :; do sleep 0.1; done")
    assert launchd.ctl("bootout", "--wait", "system/org.example.x") == (0, "", "")
    assert launchd.ctl("print", "system/org.example.x").rc == 113


def test_unknown_label_is_113(launchd: t.Any) -> None:
    words = 'Could not find service "org.example.no" in domain for %s\n'
    assert launchd.ctl("print", "system/org.example.no") == (113, "", "Bad request.\n" + words % "system")
    assert launchd.ctl("print", "user/0/org.example.no") == (113, "", "Bad request.\n" + words % "uid: 0")
    for verb in (("kickstart",), ("kickstart", "-k"), ("kill", "TERM"), ("blame",)):
        assert launchd.ctl(*verb, "system/org.example.no") == (113, "", words % "system")
    assert launchd.ctl("list", "org.example.no") == (113, "", words % "port")


def test_unknown_label_in_a_gui_domain_is_113(at: t.Any) -> None:
    launchd = at(26, gui_sessions=[NOBODY])
    words = 'Could not find service "org.example.no" in domain for user gui: 65534\n'
    assert launchd.ctl("print", "gui/65534/org.example.no") == (113, "", "Bad request.\n" + words)
    assert launchd.ctl("kickstart", "gui/65534/org.example.no") == (113, "", words)


def test_old_print_has_no_bad_request_line(at: t.Any) -> None:
    words = 'Could not find service "org.example.no" in domain for system\n'
    assert at(10).ctl("print", "system/org.example.no") == (113, "", words)


@pytest.mark.parametrize("target", ["sytem/x", "gui", "gui/me/x", "org.example.x", "system/a/b", ""])
def test_malformed_target_is_64(launchd: t.Any, target: str) -> None:
    for words in (("print", target), ("bootout", target), ("enable", target), ("kickstart", target)):
        answer = launchd.ctl(*words)
        assert (answer.rc, answer.out) == (64, "")
        assert answer.err.startswith(f"Unrecognized target specifier.\nUsage: launchctl {words[0]} ")


def test_unknown_subcommand_is_1(launchd: t.Any) -> None:
    assert launchd.ctl("bootstarp").rc == 1


def test_kickstart_of_a_running_job_is_37_without_a_word(launchd: t.Any) -> None:
    launchd.load("org.example.on", script=SLEEP, RunAtLoad=True)
    assert launchd.ctl("kickstart", "system/org.example.on") == (37, "", "")


@pytest.mark.parametrize(("era", "number", "words"), [
    (14, 1, "Operation not permitted"),
    (26, 150, "Operation not permitted while System Integrity Protection is engaged"),
])  # fmt: skip
def test_kickstart_of_an_apple_service_is_refused(at: t.Any, era: int, number: int, words: str) -> None:
    launchd = at(era)
    system = os.path.join(launchd.root, "System/Library/LaunchDaemons")
    path = launchd.plist("com.apple.example", directory=system, script=SLEEP)
    assert launchd.ctl("bootstrap", "system", path).rc == 0
    expected = f'Could not kickstart service "com.apple.example": {number:d}: {words}\n'
    assert launchd.ctl("kickstart", "-k", "system/com.apple.example") == (number, "", expected)


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_enable_and_disable_take_any_label_but_need_rights(launchd: t.Any, verb: str) -> None:
    assert launchd.ctl(verb, "system/org.example.never-seen") == (0, "", "")
    words = f"Could not {verb} service: 1: Operation not permitted\n"
    assert launchd.ctl(verb, "system/org.example.x", uid=NOBODY) == (1, "", words)
    assert launchd.ctl(verb, "user/65534/org.example.x", uid=NOBODY) == (0, "", "")


def test_changes_to_the_system_domain_need_root(launchd: t.Any) -> None:
    launchd.load("org.example.mine", script=SLEEP, RunAtLoad=True)
    for words in (("bootout",), ("kickstart", "-k"), ("kill", "TERM")):
        assert launchd.ctl(*words, "system/org.example.mine", uid=NOBODY).rc == 1
    assert launchd.show("org.example.mine")["state"] == "running"
    assert launchd.ctl("print", "system/org.example.mine", uid=NOBODY).rc == 0


def test_kill_of_a_job_that_does_not_run_is_3(launchd: t.Any) -> None:
    launchd.load("org.example.idle", script=SLEEP)
    assert launchd.ctl("kill", "SIGTERM", "system/org.example.idle") == (3, "", "No process to signal.\n")
    assert launchd.ctl("kill", "SIGNOSUCH", "system/org.example.idle").rc == 64


def test_error_names_a_number(launchd: t.Any) -> None:
    expected = {
        5: "Input/output error",
        36: "Operation now in progress",
        37: "Operation already in progress",
        113: "Could not find specified service",
        119: "Service is disabled",
        122: "Path had bad ownership/permissions",
        125: "Domain does not support specified action",
        134: "Service cannot load in requested session",
    }
    for number, words in expected.items():
        assert launchd.ctl("error", str(number)) == (0, f"{number}: {words}\n", "")


def test_several_failures_of_one_bootstrap_are_133(launchd: t.Any) -> None:
    first, second = launchd.plist("org.example.a"), launchd.plist("org.example.b")
    good = launchd.plist("org.example.c", script=SLEEP)
    assert launchd.ctl("bootstrap", "system", first, second, good).rc == 133
    assert launchd.ctl("print", "system/org.example.c").rc == 0
