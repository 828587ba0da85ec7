# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exact launchctl calls of launchd_service, for every recorded answer of every macOS.

Exit statuses and messages are recorded ones; which macOS answers how is said at each table.
"""

from __future__ import annotations

import os
import pathlib
import plistlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_service as service_module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import (
    CommandError,
    ConfigError,
    LinuxBuilderError,
    StateError,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Domain, Roots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_service import Host, Result, execute
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.launch_script import (
    LABEL,
    PROGRAM,
    TARGET,
    ScriptRunner,
    Step,
    StillClock,
    gone,
    overrides,
    running,
    shown,
    step,
)

ERAS = [13, 15, 26]
DAEMON: dict[str, t.Any] = {"ProgramArguments": ["/bin/sh", "-c", "serve"], "KeepAlive": True}
OLD = dict(DAEMON, Nice=5)
ONE_SHOT: dict[str, t.Any] = {"ProgramArguments": ["/bin/sh", "-c", "once"], "RunAtLoad": True}
INTERVAL: dict[str, t.Any] = {"ProgramArguments": ["/bin/sh", "-c", "sweep"], "StartInterval": 60}


class Bench:
    """One Mac: a directory for property lists, a script for launchctl."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.path = directory / f"{LABEL}.plist"
        self.clock = StillClock()
        self.runner = ScriptRunner()
        self.domain = Domain("system", os.getuid(), (str(directory), str(directory / "apple")), Ownership(mode=0o644))

    def has(self, definition: dict[str, t.Any], mode: int = 0o644, fmt: plistlib.PlistFormat = plistlib.FMT_XML) -> None:
        """Lay a property list down."""
        self.path.write_bytes(plistlib.dumps(dict(definition, Label=LABEL), fmt=fmt))
        self.path.chmod(mode)

    def holds(self) -> dict[str, t.Any] | None:
        """The property list without its label; None without one."""
        if not self.path.exists():
            return None
        found = plistlib.loads(self.path.read_bytes())
        assert found.pop("Label") == LABEL
        return t.cast(dict[str, t.Any], found)

    def run(self, *steps: Step, check: bool = False, **options: t.Any) -> Result:
        """Run the module's core against the script, which must be played to its end."""
        params: dict[str, t.Any] = {"label": LABEL, "domain": "system", "definition": None, "path": None, "state": "started"}
        params.update({"enabled": None, "ready_when": None, "timeout": 60, "no_log_environment": []})
        params.update(options)
        self.runner = ScriptRunner(*steps)
        try:
            return execute(params, check, Host(self.runner, self.clock, Roots(), PROGRAM))
        finally:
            assert self.runner.done, f"not called: {self.runner.steps}; called: {self.runner.calls}"

    def fails(self, *steps: Step, error: type[LinuxBuilderError] = StateError, **options: t.Any) -> LinuxBuilderError:
        """The same, expecting an error."""
        with pytest.raises(error) as caught:
            self.run(*steps, **options)
        return caught.value

    @property
    def bootstrap(self) -> str:
        return f"bootstrap {self.domain.target} {self.path}"


@pytest.fixture
def bench(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setattr(service_module, "resolve_domain", lambda text, roots: made.domain)
    return made


BOOTOUT, KICKSTART = f"bootout {TARGET}", f"kickstart {TARGET}"


def lives(pid: int = 200, runs: int = 1) -> list[Step]:
    """What a watch sees of a process that outlives a throttle window of 1 s: looks at 0, 0.1, 0.3, 0.7 and 1.5 s."""
    return [running(pid, runs=runs, throttle=1)] * 5


# ---- nothing to do ----


@pytest.mark.parametrize("era", [12, *ERAS])
@pytest.mark.parametrize("state", ["started", "loaded"])
def test_a_run_without_a_change_starts_two_processes(bench: Bench, era: int, state: str) -> None:
    bench.has(DAEMON)
    result = bench.run(running(), overrides(era, org_example_other=True), definition=DAEMON, state=state)
    assert (result.changed, bench.runner.started, bench.clock.slept) == (False, 2, [])
    assert (result.service["pid"], result.service["enabled"], result.actions) == (100, True, [])


def test_a_binary_property_list_with_the_same_values_is_left_alone(bench: Bench) -> None:
    bench.has(DAEMON, fmt=plistlib.FMT_BINARY)
    before = bench.path.read_bytes()
    assert not bench.run(running(), overrides(), definition=DAEMON).changed
    assert bench.path.read_bytes() == before


def test_absent_and_gone_already_starts_one_process(bench: Bench) -> None:
    assert not bench.run(gone(), state="absent").changed
    assert bench.runner.started == 1


def test_stopped_and_not_loaded_changes_nothing(bench: Bench) -> None:
    bench.has(DAEMON)
    assert not bench.run(gone(), overrides(), state="stopped").changed


def test_a_running_job_whose_previous_run_failed_is_left_alone(bench: Bench) -> None:
    bench.has(DAEMON)
    assert not bench.run(running(last="last exit code = 1"), overrides(), definition=DAEMON).changed


@pytest.mark.parametrize("last", ["last exit code = 0", "last exit code = 1", "last exit code = (never exited)"])
def test_an_interval_job_that_does_not_run_is_right(bench: Bench, last: str) -> None:
    bench.has(INTERVAL)
    found = shown("not running", last=last, properties="inferred program")
    assert not bench.run(found, overrides(), definition=INTERVAL).changed


def test_a_one_shot_that_ended_well_is_right(bench: Bench) -> None:
    bench.has(ONE_SHOT)
    found = shown("not running", last="last exit code = 0", properties="runatload")
    assert not bench.run(found, overrides(), definition=ONE_SHOT).changed


def test_loaded_but_disabled_is_left_so_and_warned_about(bench: Bench) -> None:
    bench.has(DAEMON)
    result = bench.run(running(), overrides(org_example_web=True), definition=DAEMON)
    assert (result.changed, result.service["enabled"]) == (False, False)
    assert "disabled" in result.warnings[0]


# ---- from nothing, changed, stopped, removed ----


def test_a_new_job_is_written_loaded_and_outlives_its_throttle(bench: Bench) -> None:
    result = bench.run(gone(), overrides(), step(bench.bootstrap), running(200), *lives(), definition=DAEMON)
    assert (result.changed, result.service["state"], result.service["pid"]) == (True, "running", 200)
    assert (bench.holds(), bench.path.stat().st_mode & 0o777) == (DAEMON, 0o644)


def test_check_mode_reads_and_changes_nothing(bench: Bench) -> None:
    result = bench.run(gone(), overrides(), definition=DAEMON, check=True)
    assert (result.changed, result.actions) == (True, ["write property list", "bootstrap"])
    assert not bench.path.exists()
    assert "KeepAlive: true" in result.after


@pytest.mark.parametrize("era", ERAS)
def test_a_changed_job_is_gone_before_its_file_is_replaced(bench: Bench, era: int) -> None:
    bench.has(OLD)
    seen: list[t.Any] = []
    original = ScriptRunner.run

    def spy(self: ScriptRunner, argv: t.Sequence[str], **more: t.Any) -> t.Any:
        seen.append((argv[1], (bench.holds() or {}).get("Nice")))
        return original(self, argv, **more)

    steps = [running(), overrides(era), step(BOOTOUT), shown("SIGTERMed", pid=100), gone(), step(bench.bootstrap), running(200)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptRunner, "run", spy)
        result = bench.run(*steps, *lives(), definition=DAEMON)
    assert result.actions == ["bootout", "write property list", "bootstrap"]
    assert seen[:6] == [("print", 5), ("print-disabled", 5), ("bootout", 5), ("print", 5), ("print", 5), ("bootstrap", None)]


def test_only_owner_or_mode_wrong_is_corrected_without_a_restart(bench: Bench) -> None:
    bench.has(DAEMON, mode=0o666)
    result = bench.run(running(), overrides(), definition=DAEMON)
    assert (result.changed, result.actions) == (True, ["correct owner and mode"])
    assert bench.path.stat().st_mode & 0o777 == 0o644


def test_a_value_of_another_type_is_a_change(bench: Bench) -> None:
    bench.has(dict(INTERVAL, StartInterval=60.0))
    steps = [shown("not running"), overrides(), step(BOOTOUT), gone(), step(bench.bootstrap), shown("not running")]
    assert bench.run(*steps, definition=INTERVAL, state="loaded").changed


def test_a_job_loaded_from_another_file_is_loaded_from_this_one(bench: Bench) -> None:
    bench.has(DAEMON)
    steps = [running(path="/opt/other.plist"), overrides(), step(BOOTOUT), gone(), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON).actions == ["bootout", "bootstrap"]


def test_stopped_boots_out_and_keeps_the_file(bench: Bench) -> None:
    bench.has(DAEMON)
    result = bench.run(running(), overrides(), step(BOOTOUT), gone(), state="stopped")
    assert (result.service["loaded"], result.service["state"], bench.holds()) == (False, "not loaded", DAEMON)


def test_absent_boots_out_and_removes_the_file(bench: Bench) -> None:
    bench.has(DAEMON)
    result = bench.run(running(path=str(bench.path)), step(BOOTOUT), shown("SIGTERMed", pid=100), gone(), state="absent")
    assert (result.changed, result.service["path"], bench.holds()) == (True, None, None)


def test_restarted_is_a_fresh_load(bench: Bench) -> None:
    bench.has(DAEMON)
    steps = [running(), overrides(), step(BOOTOUT), gone(), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON, state="restarted").service["pid"] == 200


def test_restarted_without_a_file_is_kickstart_k(bench: Bench) -> None:
    again = [running(200, runs=2, throttle=1)] * 5
    result = bench.run(running(), overrides(), step(f"kickstart -k {TARGET}"), *again, state="restarted")
    assert result.service["pid"] == 200


def test_no_property_list_and_not_loaded_is_said(bench: Bench) -> None:
    error = bench.fails(gone(), overrides(), error=ConfigError)
    assert "no property list" in error.message


# ---- enabled: only through the override database ----


@pytest.mark.parametrize("era", [12, *ERAS])
def test_a_disabled_job_is_enabled_before_it_is_loaded(bench: Bench, era: int) -> None:
    steps = [gone(), overrides(era, org_example_web=True), step(f"enable {TARGET}"), step(bench.bootstrap), running(200)]
    result = bench.run(*steps, *lives(), definition=DAEMON)
    assert result.service["enabled"]


def test_the_plists_own_disabled_key_counts_where_no_override_is(bench: Bench) -> None:
    steps = [gone(), overrides(), step(f"enable {TARGET}"), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=dict(DAEMON, Disabled=True)).service["enabled"]


def test_an_enabled_job_is_not_enabled_again(bench: Bench) -> None:
    bench.has(DAEMON)
    assert not bench.run(running(), overrides(org_example_web=False), definition=DAEMON, enabled=True).changed


def test_disabling_a_running_job_leaves_it_running(bench: Bench) -> None:
    bench.has(DAEMON)
    result = bench.run(running(), overrides(), step(f"disable {TARGET}"), definition=DAEMON, enabled=False)
    assert (result.service["enabled"], result.service["loaded"], bench.holds()) == (False, True, DAEMON)


def test_started_now_but_not_at_the_next_boot(bench: Bench) -> None:
    bench.has(DAEMON)
    steps = [gone(), overrides(org_example_web=True), step(f"enable {TARGET}"), step(bench.bootstrap), running(200), *lives()]
    result = bench.run(*steps, step(f"disable {TARGET}"), definition=DAEMON, enabled=False)
    assert not result.service["enabled"]


def test_enable_without_the_right_to_is_said(bench: Bench) -> None:
    bench.has(DAEMON)
    refused = step(f"enable {TARGET}", 1, "Could not enable service: 1: Operation not permitted\n")
    error = bench.fails(running(), overrides(org_example_web=True), refused, definition=DAEMON, enabled=True)
    assert "become: true" in error.message


# ---- bootstrap, row by row ----

RICH = "/x/org.example.web.plist: {words}\nBootstrap failed: {rc}: {words}\n"
EIO = "Bootstrap failed: 5: Input/output error\n"


def refused(era: int, rc: int, words: str) -> tuple[int, str]:
    """What bootstrap answers to root: the cause up to macOS 13, 5 for everything from 14 on."""
    return (rc, RICH.format(rc=rc, words=words)) if era <= 13 else (5, EIO)


OLDER_AND_ERAS = [10, *ERAS]


@pytest.mark.parametrize("era", OLDER_AND_ERAS)
def test_bootstrap_already_loaded_is_success_when_print_agrees(bench: Bench, era: int) -> None:
    rc, err = refused(era, 37, "service already loaded")
    steps = [gone(), overrides(era), step(bench.bootstrap, rc, err), running(200), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON).service["pid"] == 200


@pytest.mark.parametrize("era", OLDER_AND_ERAS)
def test_bootstrap_of_a_job_disabled_meanwhile_is_enabled_and_tried_again(bench: Bench, era: int) -> None:
    rc, err = refused(era, 119, "Service is disabled")
    steps = [gone(), overrides(era), step(bench.bootstrap, rc, err), gone(), overrides(era, org_example_web=True)]
    steps += [step(f"enable {TARGET}"), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON).changed


@pytest.mark.parametrize("era", OLDER_AND_ERAS)
def test_bootstrap_of_a_file_that_others_may_write_names_the_mode(bench: Bench, era: int) -> None:
    bench.has(DAEMON, mode=0o666)
    rc, err = refused(era, 122, "Path had bad ownership/permissions")
    error = bench.fails(gone(), overrides(era), step(bench.bootstrap, rc, err), gone(), overrides(era))
    assert "0666" in error.message
    assert "0644" in error.message


@pytest.mark.parametrize("era", OLDER_AND_ERAS)
def test_bootstrap_of_a_broken_file_is_refused_before(bench: Bench, era: int) -> None:
    bench.path.write_text("{ Label = old }")
    assert "not a property list" in bench.fails(gone(), overrides(era), error=ConfigError).message


@pytest.mark.parametrize("era", ERAS)
def test_bootstrap_while_the_old_job_is_still_stopping_waits_for_it(bench: Bench, era: int) -> None:
    stopping = shown("SIGTERMed", pid=100)
    rc, err = refused(era, 37, "Operation already in progress")
    steps = [gone(), overrides(era), step(bench.bootstrap, rc, err), stopping, stopping, stopping, gone()]
    assert bench.run(*steps, step(bench.bootstrap), running(200), *lives(), definition=DAEMON).changed


@pytest.mark.parametrize("era", OLDER_AND_ERAS)
def test_bootstrap_of_a_label_that_print_no_longer_knows_and_launchd_still_does(bench: Bench, era: int) -> None:
    # The last moments of a teardown: print answers 113 already, bootstrap still 37.
    rc, err = refused(era, 37, "Operation already in progress")
    steps = [gone(), overrides(era), step(bench.bootstrap, rc, err), gone(), overrides(era), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON).changed


@pytest.mark.parametrize("era", ERAS)
def test_bootstrap_5_once_without_a_cause_is_tried_again(bench: Bench, era: int) -> None:
    steps = [gone(), overrides(era), step(bench.bootstrap, 5, EIO), gone(), overrides(era), step(bench.bootstrap), running(200)]
    assert bench.run(*steps, *lives(), definition=DAEMON).changed


def test_bootstrap_5_for_ever_ends_and_removes_the_new_file(bench: Bench) -> None:
    # Tries at 0, 0.5, 1.5, 3.5, 5.5, 7.5, 9.5 and 10 s, then a look whether anything is to be cleared away.
    again = [step(bench.bootstrap, 5, EIO), gone(), overrides()]
    error = bench.fails(gone(), overrides(), *(again * 8), gone(), definition=DAEMON)
    assert "neither loaded nor disabled" in error.message
    assert error.details["restored"] is True
    assert not bench.path.exists()


@pytest.mark.parametrize("era", ERAS)
def test_bootstrap_with_an_unknown_user_names_the_user(bench: Bench, era: int) -> None:
    rc, err = refused(era, 114, "No such user")
    steps = [gone(), overrides(era), step(bench.bootstrap, rc, err), gone(), overrides(era), gone()]
    error = bench.fails(*steps, definition=dict(DAEMON, UserName="no-such-user-here"))
    assert "no-such-user-here" in error.message


@pytest.mark.parametrize(("rc", "words"), [(134, "Service cannot load in requested session"), (161, "Unknown error: 161")])
def test_bootstrap_refusals_that_last_are_not_repeated(bench: Bench, rc: int, words: str) -> None:
    failed = step(bench.bootstrap, rc, f"Bootstrap failed: {rc}: {words}\n")
    error = bench.fails(gone(), overrides(), failed, gone(), overrides(), gone(), definition=DAEMON)
    assert str(rc) in error.message


def test_bootstrap_reports_success_and_launchd_knows_nothing(bench: Bench) -> None:
    # Background Task Management removes a job so; print answers 113.
    error = bench.fails(gone(), overrides(), step(bench.bootstrap), gone(), gone(), definition=DAEMON)
    assert "Login Items" in error.message


def test_without_the_right_nothing_is_tried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # bootstrap would answer 5 and `Try re-running the command as root for richer errors.`
    monkeypatch.setattr(os, "geteuid", lambda: bench.domain.uid + 4242)
    assert "become: true" in bench.fails(gone(), overrides(), definition=DAEMON).message
    assert not bench.path.exists()
    bench.has(DAEMON)
    assert not bench.run(running(), overrides(), definition=DAEMON).changed


# ---- bootout, row by row ----


def changed_job(bench: Bench, *bootout: Step) -> Result:
    bench.has(OLD)
    return bench.run(running(), overrides(), *bootout, step(bench.bootstrap), running(200), *lives(), definition=DAEMON)


@pytest.mark.parametrize("era", ERAS)
def test_bootout_of_a_job_that_went_meanwhile_is_success(bench: Bench, era: int) -> None:
    assert changed_job(bench, step(BOOTOUT, 3, "Boot-out failed: 3: No such process\n"), gone()).changed


def test_bootout_36_of_older_macos_is_waited_for(bench: Bench) -> None:
    slow = step(BOOTOUT, 36, "Boot-out failed: 36: Operation now in progress\n")
    assert changed_job(bench, slow, shown("SIGTERMed", pid=100), shown("SIGTERMed", pid=100), gone()).changed


def test_bootout_returns_at_once_and_is_waited_for(bench: Bench) -> None:
    assert changed_job(bench, step(BOOTOUT), running(), *([shown("SIGTERMed", pid=100)] * 4), gone()).changed
    assert bench.clock.slept[:5] == [0.05, 0.1, 0.2, 0.4, 0.5]


def test_bootout_5_is_tried_again_while_the_job_runs(bench: Bench) -> None:
    failed = step(BOOTOUT, 5, "Boot-out failed: 5: Input/output error\n")
    assert changed_job(bench, failed, running(), step(BOOTOUT), gone()).changed


def test_bootout_5_three_times_is_an_error_and_nothing_was_written(bench: Bench) -> None:
    bench.has(OLD)
    failed = step(BOOTOUT, 5, "Boot-out failed: 5: Input/output error\n")
    bench.fails(running(), overrides(), *([failed, running()] * 3), definition=DAEMON, error=CommandError)
    assert bench.holds() == OLD


@pytest.mark.parametrize(
    ("rc", "words"),
    [(1, "Operation not permitted"), (150, "Operation not permitted while System Integrity Protection is engaged")],
)
def test_bootout_of_a_protected_job_is_said_at_once(bench: Bench, rc: int, words: str) -> None:
    bench.has(OLD)
    failed = step(BOOTOUT, rc, f"Boot-out failed: {rc}: {words}\n")
    error = bench.fails(running(), overrides(), failed, running(), definition=DAEMON, error=CommandError)
    assert "macOS" in error.message
    assert bench.holds() == OLD


@pytest.mark.parametrize(("exit_timeout", "limit"), [(5, 10), (20, 25), (0, 35)])
def test_a_job_stuck_in_sigtermed_leaves_the_file_as_it_was(bench: Bench, exit_timeout: int, limit: float) -> None:
    # ExitTimeOut and a margin of 5 s; where it is 0, which is for ever, the module's own timeout stands in.
    bench.has(OLD)
    stuck = shown("SIGTERMed", pid=100, exit_timeout=exit_timeout)
    looks = 5 + int((limit - 0.75) / 0.5) + 1
    first = running(exit_timeout=exit_timeout)
    error = bench.fails(first, overrides(), step(BOOTOUT), *([stuck] * looks), definition=DAEMON, timeout=30)
    assert f"{limit} s after bootout" in error.message
    assert bench.holds() == OLD
    assert sum(bench.clock.slept) == pytest.approx(limit)


def test_a_job_found_stopping_is_waited_for_and_loaded_again(bench: Bench) -> None:
    bench.has(DAEMON)
    stopping = shown("SIGTERMed", pid=100)
    slow = step(BOOTOUT, 36, "Boot-out failed: 36: Operation now in progress\n")
    steps = [stopping, overrides(), slow, stopping, gone(), step(bench.bootstrap), running(200), *lives()]
    assert bench.run(*steps, definition=DAEMON).actions == ["bootout", "bootstrap"]


# ---- kickstart, row by row ----


def kicked(bench: Bench, *steps: Step, **options: t.Any) -> Result:
    """A one-shot that failed is started again."""
    bench.has(ONE_SHOT)
    found = shown("not running", last="last exit code = 1", properties="runatload")
    return bench.run(found, overrides(), *steps, definition=ONE_SHOT, **options)


AGAIN = lives(300, runs=2)


def test_a_one_shot_that_failed_is_kickstarted(bench: Bench) -> None:
    result = kicked(bench, step(KICKSTART), *AGAIN)
    assert (result.changed, result.actions, result.service["pid"]) == (True, ["kickstart"], 300)


@pytest.mark.parametrize("rc", [1, 5])
def test_kickstart_fails_once_for_no_reason(bench: Bench, rc: int) -> None:
    failed = step(KICKSTART, rc, f'Could not kickstart service "{LABEL}": {rc}: ?\n')
    idle = shown("not running", last="last exit code = 1")
    assert kicked(bench, failed, idle, step(KICKSTART), *AGAIN).changed


def test_kickstart_37_means_it_runs_already(bench: Bench) -> None:
    assert kicked(bench, step(KICKSTART, 37), *AGAIN).changed


def test_kickstart_fails_but_print_shows_a_process(bench: Bench) -> None:
    assert kicked(bench, step(KICKSTART, 5), running(300, runs=2, throttle=1), *AGAIN).changed


def test_kickstart_of_a_job_that_went_is_said(bench: Bench) -> None:
    words = f'Could not find service "{LABEL}" in domain for system\n'
    with pytest.raises(StateError, match="no longer loaded"):
        kicked(bench, step(KICKSTART, 113, words), gone())


def test_kickstart_of_a_protected_job_is_said_at_once(bench: Bench) -> None:
    words = "150: Operation not permitted while System Integrity Protection is engaged\n"
    with pytest.raises(StateError, match="protects"):
        kicked(bench, step(KICKSTART, 150, words), shown("not running"))


def test_kickstart_fails_three_times(bench: Bench) -> None:
    with pytest.raises(StateError, match="exit 1 "):
        kicked(bench, *([step(KICKSTART, 1, "1: Operation not permitted\n"), shown("not running")] * 3))


# ---- does it hold? ----


def test_run_at_load_that_does_not_spawn_is_kickstarted(bench: Bench) -> None:
    # Looks at 0, 0.1, 0.3, 0.7, 1.5 and 2.5 s; the sixth is past the grace of 2 s.
    idle = shown("not running", runs=0, throttle=1)
    steps = [gone(), overrides(), step(bench.bootstrap), *([idle] * 7), step(KICKSTART)]
    result = bench.run(*steps, *([running(200, throttle=1)] * 2), definition=DAEMON)
    assert result.service["pid"] == 200


def test_a_crash_loop_is_seen_and_the_old_job_comes_back(bench: Bench) -> None:
    bench.has(OLD)
    bench.path.chmod(0o600)
    dead = shown("spawn scheduled", last="last exit code = 3", throttle=1)
    twice = shown("spawn scheduled", runs=2, last="last exit code = 3", throttle=1)
    steps = [running(), overrides(), step(BOOTOUT), gone(), step(bench.bootstrap), running(200), running(200), dead, twice]
    back = [twice, step(BOOTOUT), gone(), step(bench.bootstrap), running(300)]
    error = bench.fails(*steps, *back, definition=DAEMON)
    assert "crash loop" in error.message
    assert "were put back" in error.message
    assert (error.details["failure"]["exit_code"], error.details["failure"]["throttled"]) == (3, True)
    assert bench.holds() == OLD
    assert bench.path.stat().st_mode & 0o777 == 0o600


def test_one_death_is_forgiven_when_the_second_process_lives(bench: Bench) -> None:
    dead = shown("spawn scheduled", last="last exit code = 3", throttle=1)
    second = running(201, runs=2, throttle=1)
    # Looks at 0, 0.1 (dead), 0.3 (second), 0.7 and 1.5 s.
    steps = [gone(), overrides(), step(bench.bootstrap), running(200), running(200, throttle=1), dead, second, second, second]
    assert bench.run(*steps, definition=DAEMON).service["runs"] == 2


@pytest.mark.parametrize("era", ERAS)
def test_a_missing_program_is_named(bench: Bench, era: int) -> None:
    # bootstrap answers 0 to it; the job then goes to exit 78.
    definition = dict(DAEMON, ProgramArguments=["/no/such/program"])
    broken = shown("spawn scheduled", last="last exit code = 78: EX_CONFIG")
    steps = [gone(), overrides(era), step(bench.bootstrap), broken, broken, broken, step(BOOTOUT), gone()]
    error = bench.fails(*steps, definition=definition)
    assert "/no/such/program does not exist" in error.message
    assert (error.details["failure"]["exit_name"], bench.holds()) == ("EX_CONFIG", None)


def test_a_missing_working_directory_is_named(bench: Bench) -> None:
    broken = shown("spawn scheduled", runs=0, last="last exit code = 78: EX_CONFIG")
    steps = [gone(), overrides(), step(bench.bootstrap), broken, broken, broken, step(BOOTOUT), gone()]
    error = bench.fails(*steps, definition=dict(DAEMON, WorkingDirectory="/no/such/directory"))
    assert "WorkingDirectory /no/such/directory does not exist" in error.message


def test_a_job_launchd_could_not_set_up_is_loaded_anew_not_kickstarted(bench: Bench) -> None:
    # "needs LWCR update": only bootout and bootstrap cure it.
    bench.has(DAEMON)
    broken = shown("spawn scheduled", runs=9, last="last exit code = 78: EX_CONFIG")
    steps = [broken, overrides(), step(BOOTOUT), gone(), step(bench.bootstrap), running(200), *lives()]
    assert bench.run(*steps, definition=DAEMON).actions == ["bootout", "bootstrap"]


def test_a_one_shot_that_fails_is_told_with_its_signal(bench: Bench) -> None:
    killed = shown("not running", last="last terminating signal = Segmentation fault: 11", properties="runatload")
    steps = [gone(), overrides(), step(bench.bootstrap), killed, killed, killed, step(BOOTOUT), gone()]
    error = bench.fails(*steps, definition=ONE_SHOT)
    assert "SIGSEGV" in error.message


def test_a_job_killed_by_macos_is_told_with_its_reason(bench: Bench) -> None:
    killed = shown("not running", last="last exit reason = OS_REASON_CODESIGNING", properties="runatload")
    steps = [gone(), overrides(), step(bench.bootstrap), killed, killed, killed, step(BOOTOUT), gone()]
    assert "OS_REASON_CODESIGNING" in bench.fails(*steps, definition=ONE_SHOT).message


def test_a_one_shot_that_ends_well_needs_no_waiting(bench: Bench) -> None:
    ended = shown("not running", last="last exit code = 0", properties="runatload")
    bench.run(gone(), overrides(), step(bench.bootstrap), ended, ended, definition=ONE_SHOT)
    assert bench.clock.slept == []


def test_an_interval_job_needs_no_waiting(bench: Bench) -> None:
    idle = shown("not running", runs=0, properties="inferred program")
    bench.run(gone(), overrides(), step(bench.bootstrap), idle, idle, definition=INTERVAL)
    assert bench.clock.slept == []


def test_loaded_asks_nothing_of_the_process(bench: Bench) -> None:
    dead = shown("spawn scheduled", last="last exit code = 3")
    result = bench.run(gone(), overrides(), step(bench.bootstrap), dead, definition=DAEMON, state="loaded")
    assert (result.service["state"], bench.clock.slept) == ("spawn scheduled", [])


def test_a_job_that_vanishes_while_it_is_watched(bench: Bench) -> None:
    steps = [gone(), overrides(), step(bench.bootstrap), running(200), running(200), gone(), gone()]
    assert "no longer knows the label" in bench.fails(*steps, definition=DAEMON).message


def test_new_lines_of_the_log_are_told_and_old_ones_are_not(bench: Bench, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("long ago\n")
    dead = shown("not running", last="last exit code = 1", properties="runatload")

    class Writer(StillClock):
        def now(self) -> float:
            if not log.read_text().endswith("cannot bind\n"):
                log.write_text(log.read_text() + "cannot bind\n")
            return super().now()

    bench.clock = Writer()
    steps = [gone(), overrides(), step(bench.bootstrap), dead, dead, dead, step(BOOTOUT), gone()]
    error = bench.fails(*steps, definition=dict(ONE_SHOT, StandardErrorPath=str(log)))
    assert error.details["failure"]["log_lines"] == ["cannot bind"]
    assert "long ago" not in error.message


# ---- putting the old job back ----


def test_when_the_old_job_does_not_come_back_both_failures_are_told(bench: Bench) -> None:
    bench.has(OLD)
    failed = step(bench.bootstrap, 161, "Bootstrap failed: 161: Unknown error: 161\n")
    steps = [running(), overrides(), step(BOOTOUT), gone(), failed, gone(), overrides()]
    error = bench.fails(*steps, gone(), failed, gone(), overrides(), definition=DAEMON)
    assert error.details["restored"] is False
    assert error.message.count("161") >= 2
    assert bench.holds() == OLD


def test_an_old_file_whose_job_was_not_loaded_comes_back_alone(bench: Bench) -> None:
    bench.has(OLD)
    failed = step(bench.bootstrap, 161, "Bootstrap failed: 161: Unknown error: 161\n")
    error = bench.fails(gone(), overrides(), failed, gone(), overrides(), gone(), definition=DAEMON)
    assert (bench.holds(), error.details["restored"]) == (OLD, True)


def test_an_override_that_was_lifted_comes_back_too(bench: Bench) -> None:
    failed = step(bench.bootstrap, 161, "Bootstrap failed: 161: Unknown error: 161\n")
    steps = [gone(), overrides(org_example_web=True), step(f"enable {TARGET}"), failed, gone(), overrides(), gone()]
    bench.fails(*steps, step(f"disable {TARGET}"), definition=DAEMON)


def test_a_full_disk_leaves_the_old_file_and_brings_the_old_job_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_apply
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

    def full(*dummy: t.Any, **more: t.Any) -> None:
        raise FileError("no space left on device")

    bench.has(OLD)
    monkeypatch.setattr(_launchd_apply, "write", full)
    steps = [running(), overrides(), step(BOOTOUT), gone(), gone(), step(bench.bootstrap), running(300)]
    error = bench.fails(*steps, definition=DAEMON)
    assert (error.details["restored"], bench.holds()) == (True, OLD)


# ---- users' domains ----


def as_user(bench: Bench, kind: str = "gui") -> tuple[str, Domain]:
    bench.domain = Domain(f"{kind}/501", os.getuid(), (str(bench.directory), "/nowhere"), Ownership(mode=0o644))
    return f"{kind}/501/{LABEL}", bench.domain


@pytest.mark.parametrize(
    ("rc", "words"), [(112, "Could not find domain for user gui: 501"), (125, "Domain does not support specified action")]
)
def test_without_a_login_the_file_is_placed_and_the_result_says_so(bench: Bench, rc: int, words: str) -> None:
    target, _domain = as_user(bench)
    absent = step(f"print {target}", rc, f"Bad request.\n{words}\n")
    user = f"user/{os.getuid()}"
    result = bench.run(absent, overrides(domain=user), definition=DAEMON)
    assert (result.changed, result.pending_login, result.actions) == (True, True, ["write property list"])
    assert (result.service["loaded"], bench.holds()) == (False, DAEMON)
    again = bench.run(absent, overrides(domain=user), definition=DAEMON)
    assert (again.changed, again.pending_login) == (False, True)


def test_without_a_login_the_override_is_set_in_the_users_domain(bench: Bench) -> None:
    target, _domain = as_user(bench)
    user = f"user/{os.getuid()}"
    steps = [step(f"print {target}", 112, "no\n"), overrides(domain=user), step(f"disable {user}/{LABEL}")]
    assert bench.run(*steps, definition=DAEMON, enabled=False).actions == ["write property list", "disable"]


def test_without_any_domain_of_the_user_the_override_waits(bench: Bench) -> None:
    target, _domain = as_user(bench)
    steps = [step(f"print {target}", 112, "no\n"), step(f"print-disabled user/{os.getuid()}", 112, "no\n")]
    result = bench.run(*steps, definition=DAEMON, enabled=False)
    assert "after a login" in result.warnings[0]


def test_without_a_login_absent_removes_the_file(bench: Bench) -> None:
    target, _domain = as_user(bench)
    bench.has(DAEMON)
    result = bench.run(step(f"print {target}", 112, "no\n"), state="absent")
    assert (result.changed, result.pending_login, bench.holds()) == (True, False, None)


def test_a_session_that_ends_before_bootstrap_is_an_error_with_125(bench: Bench) -> None:
    target, _domain = as_user(bench)
    failed = step(
        bench.bootstrap.replace("system", "gui/501"), 125, "Bootstrap failed: 125: Domain does not support specified action\n"
    )
    steps = [gone(target), overrides(domain="gui/501"), failed, gone(target), overrides(domain="gui/501"), gone(target)]
    assert "125" in bench.fails(*steps, definition=DAEMON).message


def test_a_missing_system_domain_is_an_error(bench: Bench) -> None:
    bench.fails(step(f"print {TARGET}", 112, "no\n"), definition=DAEMON, error=CommandError)


# ---- never ----


def test_no_deprecated_verb_and_no_wait_flag_is_ever_used(bench: Bench) -> None:
    # `bootout --wait` answers 64 before macOS 26; load and unload answer 0 to failures.
    changed_job(bench, step(BOOTOUT), gone())
    verbs = {call.split()[0] for call in bench.runner.calls}
    assert verbs == {"print", "print-disabled", "bootout", "bootstrap"}
    assert not any("--wait" in call for call in bench.runner.calls)


def test_the_result_holds_nothing_of_the_environment(bench: Bench) -> None:
    definition = dict(DAEMON, EnvironmentVariables={"TOKEN": "s3cret-value", "PLAIN": "shown"})
    bench.has(dict(definition, EnvironmentVariables={"TOKEN": "old-s3cret", "PLAIN": "shown"}))
    options: dict[str, t.Any] = {"definition": definition, "no_log_environment": ["TOKEN"], "check": True}
    result = bench.run(running(), overrides(), **options)
    text = repr(result)
    assert "s3cret" not in text
    assert "shown" not in repr(result.service)
    assert "changed" in result.after


@pytest.mark.parametrize("name", ["26_argument_with_brace", "27_broken_lwcr", "26_daemon_running"])
def test_hostile_layouts_are_no_change(bench: Bench, name: str) -> None:
    fixtures = pathlib.Path(__file__).parents[2] / "fixtures" / "launchctl"
    text = (fixtures / f"print_{name}.txt").read_text()
    bench.has(DAEMON)
    text = "\n".join(line for line in text.split("\n") if not line.startswith("\tpath = "))
    assert not bench.run((f"print {TARGET}", 0, text, ""), overrides(), definition=DAEMON).changed
