# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of launchctl's output, on every layout, on torn output and on nonsense."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service, parse_disabled, parse_print

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures" / "launchctl"
PRINTS = sorted(FIXTURES.glob("print_*.txt"))


def printed(name: str, target: str = "system/org.example.any") -> Service:
    return parse_print(target, (FIXTURES / f"print_{name}.txt").read_text())


# What each capture says: state, pid, runs, last_exit_code, last_signal, last_exit_reason, exit_timeout, run_interval.
EXPECTED: dict[str, tuple[t.Any, ...]] = {
    "10_running": ("running", 77, 1, None, None, None, 20, None),
    "13_daemon_running": ("running", 412, 1, None, None, None, 5, None),
    "14_agent_spawn_scheduled": ("spawn scheduled", None, 4, 1, None, None, 5, None),
    "15_codesigning": ("not running", None, 1, None, None, "OS_REASON_CODESIGNING", 5, None),
    "15_interval_not_running": ("not running", None, 7, 0, None, None, 5, 3600),
    "15_signalled": ("not running", None, 1, None, 9, None, 5, None),
    "15_sigtermed": ("SIGTERMed", 733, 1, None, None, None, 90, None),
    "26_argument_with_brace": ("running", 88, 2, None, None, None, 5, None),
    "26_calendar_user": ("not running", None, 1, 0, None, None, 5, None),
    "26_daemon_running": ("running", 2931, 1, None, None, None, 120, None),
    "26_exit_78": ("spawn scheduled", None, 3, 78, None, None, 5, None),
    "26_running_after_failure": ("running", 35711, 2, 1, None, None, 5, 60),
    "26_submitted": ("not running", None, 0, None, None, None, 5, None),
    "27_broken_lwcr": ("running", 91, 1, None, None, None, 5, None),
}


def test_every_fixture_has_its_expectation() -> None:
    assert {path.stem[len("print_") :] for path in PRINTS} == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_print_is_read(name: str) -> None:
    service = printed(name)
    assert (
        service.state,
        service.pid,
        service.runs,
        service.last_exit_code,
        service.last_signal,
        service.last_exit_reason,
        service.exit_timeout,
        service.run_interval,
    ) == EXPECTED[name]


def test_header_fields_and_properties_are_read() -> None:
    service = printed("26_daemon_running")
    assert service.path == "/Library/LaunchDaemons/org.example.vm.plist"
    assert service.type == "LaunchDaemon"
    assert service.program == "/bin/sh"
    assert service.immediate_reason == "speculative"
    assert service.properties == {"keepalive", "runatload", "inferred program", "managed LWCR", "has LWCR"}


def test_a_job_without_a_file_names_its_submitter() -> None:
    service = printed("26_submitted")
    assert (service.path, service.submitted_by, service.program) == (None, "submitted by smd.543", None)


def test_no_value_of_the_environment_is_kept() -> None:
    assert "s3cret-value" not in repr(printed("26_daemon_running"))


def test_fields_inside_arguments_are_not_taken_for_the_jobs_own() -> None:
    service = printed("26_argument_with_brace")
    assert (service.minimum_runtime, service.exit_timeout, service.properties) == (10, 5, {"runatload", "inferred program"})


def test_a_missing_header_field_is_not_taken_from_the_arguments() -> None:
    # A job without a file or program, whose argument holds lines of that look.
    text = "gui/501/x = {\n\tstate = running\n\n\targuments = {\n\t\t-c\n\tpath = /evil.plist\n\tprogram = /evil\n\t}\n"
    service = parse_print("gui/501/x", text + "\n\tdomain = gui/501\n\tpid = 7\n}\n")
    assert (service.path, service.program, service.pid) == (None, None, 7)


def test_empty_properties_are_no_property() -> None:
    assert printed("26_calendar_user").properties == frozenset()


def test_nested_state_lines_do_not_count() -> None:
    assert printed("14_agent_spawn_scheduled").state == "spawn scheduled"


@pytest.mark.parametrize(
    ("state", "running", "stopping"),
    [
        ("running", True, False),
        ("spawning", True, False),
        ("xpcproxy", True, False),
        ("not running", False, False),
        ("spawn scheduled", False, False),
        ("waiting", False, False),
        ("exited", False, False),
        ("SIGTERMed", False, True),
        ("SIGKILLed", False, True),
        ("languishing", False, True),
        ("word of a later macOS", False, False),
    ],
)
def test_states_are_told_apart(state: str, running: bool, stopping: bool) -> None:
    service = Service("system/x", state=state)
    assert (service.running, service.stopping) == (running, stopping)


@pytest.mark.parametrize(
    ("line", "code", "signal"),
    [
        ("last exit code = (never exited)", None, None),
        ("last exit code = (abandoned)", None, None),
        ("last exit code = (failed reap)", None, None),
        ("last exit code = 0", 0, None),
        ("last exit code = 75: EX_TEMPFAIL", 75, None),
        ("last terminating signal = Terminated: 15", None, 15),
        ("last terminating signal = Killed: 9", None, 9),
    ],
)
def test_last_exit_in_all_its_forms(line: str, code: int | None, signal: int | None) -> None:
    service = parse_print("system/x", f"system/x = {{\n\tstate = not running\n\n\tdomain = system\n\t{line}\n}}\n")
    assert (service.last_exit_code, service.last_signal) == (code, signal)


def test_domain_and_label_come_from_the_target() -> None:
    service = parse_print("gui/501/org.example.x", "")
    assert (service.domain, service.label, service.state) == ("gui/501", "org.example.x", "")


@pytest.mark.parametrize("path", PRINTS, ids=lambda path: path.stem)
def test_print_cut_at_any_byte_never_raises_and_never_invents(path: pathlib.Path) -> None:
    raw = path.read_bytes()
    whole = parse_print("system/x", raw.decode())
    for end in range(len(raw)):
        part = parse_print("system/x", raw[:end].decode(errors="replace"))
        # A cut value may be shorter, but a complete line is read as in the whole; the pid is never somebody else's.
        assert part.pid is None or str(whole.pid).startswith(str(part.pid)) or b"\tdomain = " not in raw[:end]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("disabled_*.txt")), ids=lambda path: path.stem)
def test_overrides_cut_at_any_byte_are_a_part_of_the_whole(path: pathlib.Path) -> None:
    raw = path.read_text()
    whole = parse_disabled(raw)
    for end in range(len(raw)):
        assert parse_disabled(raw[:end]).items() <= whole.items()


def test_overrides_of_macos_12_say_true_for_disabled() -> None:
    text = (FIXTURES / "disabled_12.txt").read_text()
    assert parse_disabled(text) == {"org.example.web": True, "com.apple.ftpd": True, "org.example.sweep": False}


def test_overrides_of_macos_13_end_where_login_items_begin() -> None:
    text = (FIXTURES / "disabled_26.txt").read_text()
    assert parse_disabled(text) == {
        "org.example.web": True,
        "com.apple.ftpd": True,
        "org.example.sweep": False,
        "org.example.with blank": True,
    }


PIECES = [
    "\t",
    "\n",
    " = ",
    "{",
    "}",
    "pid",
    "state",
    "domain",
    "running",
    "last exit code",
    "=>",
    '"',
    "12",
    "\x00",
    "\u2028",
    "٣",
]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_nonsense_is_survived(text: str) -> None:
    service = parse_print("system/x", text)
    assert service.pid is None or service.pid >= 0
    assert all(isinstance(value, bool) for value in parse_disabled(text).values())
