# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains and their directories, readiness checks, kinds of jobs, and the command object."""

from __future__ import annotations

import os
import pathlib
import plistlib
import pwd
import socket
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_domain as domain_module
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_service as service_module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import DomainMissing, Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import (
    Domain,
    Roots,
    prepare_directory,
    resolve_domain,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plan import (
    CONTINUOUS,
    ON_DEMAND,
    ONCE,
    UNTIL_SUCCESS,
    Facts,
    Request,
    holds,
    kind_of,
    make_plan,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_report import misowned
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_service import Host, execute
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_wait import Clock, Ready
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.launch_script import (
    LABEL,
    PROGRAM,
    ScriptRunner,
    Step,
    StillClock,
    gone,
    overrides,
    running,
    step,
)

ROOTS = Roots("/L", "/S")


# ---- domains ----


def account(name: str, uid: int, home: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, os.getgid(), "", home, "/bin/sh"))


@pytest.fixture
def alice(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The user alice, 501, with a home directory that the tests own."""
    entry = account("alice", 501, str(tmp_path))

    def by_uid(uid: int) -> pwd.struct_passwd:
        return {0: account("root", 0, "/var/root"), 501: entry}[uid]

    monkeypatch.setattr(domain_module.pwd, "getpwuid", by_uid)
    monkeypatch.setattr(domain_module.pwd, "getpwnam", lambda name: {"alice": entry}[name])
    return tmp_path


def test_the_system_domain_is_roots(alice: pathlib.Path) -> None:
    domain = resolve_domain("system", ROOTS)
    assert (domain.target, domain.per_user, domain.overrides_target) == ("system", False, "system")
    assert domain.directories == ("/L/LaunchDaemons", "/S/LaunchDaemons")
    assert (domain.ownership.owner, domain.ownership.mode) == ("root", 0o644)


@pytest.mark.parametrize(("text", "target"), [("gui/501", "gui/501"), ("user/501", "user/501"), ("alice", "gui/501")])
def test_a_users_domain_is_the_users(alice: pathlib.Path, text: str, target: str) -> None:
    domain = resolve_domain(text, ROOTS)
    assert (domain.target, domain.uid, domain.overrides_target) == (target, 501, "user/501")
    assert domain.directories == (f"{alice}/Library/LaunchAgents", "/L/LaunchAgents", "/S/LaunchAgents")
    assert (domain.ownership.owner, domain.service("x")) == ("alice", f"{target}/x")


@pytest.mark.parametrize(
    "text", ["", "gui/", "gui/x", "login/1", "pid/1", "gui/501/x", "nobody-here", "gui/77777", "system/", "gui/9999999999"]
)
def test_no_domain_is_refused(alice: pathlib.Path, text: str) -> None:
    with pytest.raises(ConfigError, match="domain"):
        resolve_domain(text, ROOTS)


def test_a_users_directory_is_made_for_the_user(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "Library" / "LaunchAgents"
    domain = Domain("gui/501", os.getuid(), (str(directory),), Ownership())
    prepare_directory(domain, str(directory / "x.plist"))
    prepare_directory(domain, str(directory / "x.plist"))
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_users_directory_of_somebody_else_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Library").symlink_to("/")
    domain = Domain("gui/501", os.getuid() + 1, (str(tmp_path / "Library" / "tmp"),), Ownership())
    with pytest.raises(FileError, match="is not a directory of uid"):
        prepare_directory(domain, str(tmp_path / "Library" / "tmp" / "x.plist"))


def test_another_directory_has_to_be_there(tmp_path: pathlib.Path) -> None:
    domain = Domain("system", 0, ("/L",), Ownership())
    with pytest.raises(FileError, match="does not exist"):
        prepare_directory(domain, str(tmp_path / "no" / "x.plist"))


# ---- which file ----


class Mac:
    def __init__(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own, self.shared, self.apple = (tmp_path / name for name in ("own", "shared", "apple"))
        for directory in (self.own, self.shared, self.apple):
            directory.mkdir()
        domain = Domain("system", os.getuid(), (str(self.own), str(self.shared), str(self.apple)), Ownership(mode=0o644))
        monkeypatch.setattr(service_module, "resolve_domain", lambda text, roots: domain)

    def run(self, *steps: Step, **options: t.Any) -> service_module.Result:
        params: dict[str, t.Any] = {"label": LABEL, "domain": "system", "definition": None, "path": None, "state": "started"}
        params.update({"enabled": None, "ready_when": None, "timeout": 60, "no_log_environment": []}, **options)
        runner = ScriptRunner(*steps)
        result = execute(params, True, Host(runner, StillClock(), Roots(), PROGRAM))
        assert runner.done
        return result

    @staticmethod
    def lay(path: pathlib.Path, label: str = LABEL) -> str:
        path.write_bytes(plistlib.dumps({"Label": label, "ProgramArguments": ["/bin/true"]}))
        return str(path)


@pytest.fixture
def mac(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(tmp_path, monkeypatch)


def test_a_job_is_found_by_its_file_name(mac: Mac) -> None:
    path = mac.lay(mac.shared / f"{LABEL}.plist")
    assert mac.run(gone(), overrides(), state="stopped").path == path


def test_a_job_is_found_by_the_label_in_a_file_with_another_name(mac: Mac) -> None:
    mac.lay(mac.own / "a.plist", "org.example.other")
    (mac.own / "broken.plist").write_text("nonsense")
    (mac.own / "directory.plist").mkdir()
    path = mac.lay(mac.shared / "renamed.plist")
    assert mac.run(gone(), overrides(), state="stopped").path == path


def test_a_loaded_job_names_its_own_file(mac: Mac) -> None:
    path = mac.lay(mac.shared / "renamed.plist")
    mac.lay(mac.own / f"{LABEL}.plist")
    result = mac.run(running(path=path), overrides(), state="restarted")
    assert (result.path, result.actions) == (path, ["bootout", "bootstrap"])


def test_the_label_is_read_from_the_path(mac: Mac) -> None:
    path = mac.lay(mac.shared / "renamed.plist")
    assert mac.run(gone(), overrides(), label=None, path=path).service["label"] == LABEL


def test_a_linked_file_is_managed_but_never_replaced(mac: Mac) -> None:
    real = mac.lay(mac.shared / "real.plist")
    link = mac.own / f"{LABEL}.plist"
    link.symlink_to(real)
    assert mac.run(gone(), overrides()).actions == ["bootstrap"]
    with pytest.raises(FileError, match="not a regular file"):
        mac.run(gone(), definition={"Program": "/bin/true"})


@pytest.mark.parametrize("path", ["relative.plist", ""])
def test_a_relative_path_is_refused(mac: Mac, path: str) -> None:
    with pytest.raises(ConfigError, match="relative"):
        mac.run(gone(), path=path)


@pytest.mark.parametrize("label", ["", "a/b", "a\nb", "x" * 256])
def test_a_label_that_is_none_is_refused(mac: Mac, label: str) -> None:
    with pytest.raises(ConfigError, match="label"):
        mac.run(label=label)


def test_a_path_without_a_file_cannot_name_the_job(mac: Mac) -> None:
    with pytest.raises(ConfigError, match="Give the label"):
        mac.run(label=None, path=str(mac.own / "no.plist"))


def test_apples_own_files_are_not_removed() -> None:
    domain = Domain("system", 0, ("/Library/LaunchDaemons",), Ownership())
    request = Request("com.apple.x", domain, "/System/Library/LaunchDaemons/com.apple.x.plist", "absent")
    with pytest.raises(ConfigError, match="belongs to macOS"):
        make_plan(request, Facts(content=b"x", current={}))


def test_a_label_of_a_submitted_job_is_not_taken_over() -> None:
    domain = Domain("gui/501", 501, ("/x",), Ownership())
    request = Request("org.example.x", domain, "/x/org.example.x.plist", definition={"Label": "org.example.x"})
    service = Service("gui/501/org.example.x", state="not running", submitted_by="submitted by smd.543")
    with pytest.raises(Exception, match="smd.543"):
        make_plan(request, Facts(service=service))


# ---- kinds ----


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ({"KeepAlive": True}, CONTINUOUS),
        ({"KeepAlive": True, "StartInterval": 5}, CONTINUOUS),
        ({"KeepAlive": {"SuccessfulExit": True}}, CONTINUOUS),
        ({"KeepAlive": {"SuccessfulExit": False}}, UNTIL_SUCCESS),
        ({"KeepAlive": {"Crashed": True}, "RunAtLoad": True}, UNTIL_SUCCESS),
        ({"KeepAlive": {"Crashed": True}}, ON_DEMAND),
        ({"KeepAlive": {"PathState": {"/x": True}}}, ON_DEMAND),
        ({"KeepAlive": {"OtherJobEnabled": {"x": True}}, "RunAtLoad": True}, ON_DEMAND),
        ({"KeepAlive": {"SuccessfulExit": False, "AfterInitialDemand": True}}, ON_DEMAND),
        ({"KeepAlive": False, "RunAtLoad": True}, ONCE),
        ({"RunAtLoad": True}, ONCE),
        ({"RunAtLoad": True, "StartInterval": 5}, ON_DEMAND),
        ({"RunAtLoad": True, "StartCalendarInterval": {"Hour": 1}}, ON_DEMAND),
        ({"WatchPaths": ["/x"]}, ON_DEMAND),
        ({"QueueDirectories": ["/x"]}, ON_DEMAND),
        ({"Sockets": {"L": {}}}, ON_DEMAND),
        ({"StartOnMount": True}, ON_DEMAND),
        ({"MachServices": {"x": True}}, ON_DEMAND),
        ({}, ON_DEMAND),
    ],
)
def test_jobs_that_should_run_are_told_from_those_that_wait(definition: dict[str, t.Any], kind: str) -> None:
    assert kind_of(definition) == kind


def test_without_a_file_launchds_properties_tell() -> None:
    assert kind_of(None, Service("system/x", properties=frozenset(("keepalive",)))) == CONTINUOUS
    assert kind_of(None, Service("system/x", properties=frozenset(("runatload",)))) == ON_DEMAND
    assert kind_of(None) == ON_DEMAND


@pytest.mark.parametrize(
    ("kind", "state", "runs", "code", "right"),
    [
        (CONTINUOUS, "running", 1, None, True),
        (CONTINUOUS, "spawn scheduled", 1, 0, False),
        (CONTINUOUS, "not running", 1, 0, False),
        (CONTINUOUS, "SIGTERMed", 1, None, False),
        (ON_DEMAND, "not running", 1, 3, True),
        (ON_DEMAND, "SIGTERMed", 1, None, False),
        (ONCE, "not running", 1, 0, True),
        (ONCE, "not running", 0, None, False),
        (ONCE, "not running", 1, 3, False),
        (UNTIL_SUCCESS, "not running", 2, 0, True),
        (UNTIL_SUCCESS, "spawn scheduled", 2, 1, False),
    ],
)
def test_what_started_asks_of_each_kind(kind: str, state: str, runs: int, code: int | None, right: bool) -> None:
    assert holds(kind, Service("system/x", state=state, runs=runs, last_exit_code=code)) is right


# ---- files that launchd refuses ----


def test_owner_and_mode_that_launchd_refuses_are_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.plist"
    path.write_text("")
    for mode, words in ((0o644, None), (0o600, None), (0o664, "0664"), (0o646, "0646")):
        path.chmod(mode)
        found = misowned(path.stat(), os.getuid())
        assert found is None if words is None else words in (found or "")
    assert "does not exist" in (misowned(None, 0) or "")
    assert "not a regular file" in (misowned(tmp_path.stat(), os.getuid()) or "")
    stranger = list(path.stat())
    path.chmod(0o644)
    stranger = list(path.stat())
    stranger[4] = 4242
    assert "uid 4242" in (misowned(os.stat_result(stranger), 501) or "")


# ---- readiness ----


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:31022", ("127.0.0.1", 31022)),
        ("localhost:22", ("localhost", 22)),
        ("[::1]:22", ("::1", 22)),
        ("8080", ("127.0.0.1", 8080)),
    ],
)
def test_a_tcp_check_is_read(text: str, address: tuple[str, int]) -> None:
    assert Ready.parse({"tcp": text, "command": None}) == Ready(address)


@pytest.mark.parametrize(
    "option",
    [
        {"tcp": "x"},
        {"tcp": "x:0"},
        {"tcp": "x:65536"},
        {"tcp": "::1:22"},
        {"tcp": ""},
        {"command": ["true"]},
        {"tcp": "1", "command": ["/x"]},
    ],
)
def test_a_readiness_check_that_is_none_is_refused(option: dict[str, t.Any]) -> None:
    with pytest.raises(ConfigError, match="ready_when"):
        Ready.parse(option)


def test_no_readiness_check_is_none() -> None:
    assert Ready.parse(None) is None
    assert Ready.parse({"tcp": None, "command": None}) is None


def test_a_port_answers_only_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ready = Ready(("127.0.0.1", port))
        assert ready.answers(Runner(), 2.0)
    assert not ready.answers(Runner(), 2.0)
    assert str(ready) == f"TCP 127.0.0.1 port {port}"


def test_a_command_answers_with_zero() -> None:
    assert Ready(command=("/bin/sh", "-c", "exit 0")).answers(Runner(), 5.0)
    assert not Ready(command=("/bin/sh", "-c", "exit 1")).answers(Runner(), 5.0)
    assert not Ready(command=("/no/such/program",)).answers(Runner(), 5.0)
    assert not Ready(command=("/bin/sleep", "10")).answers(Runner(), 0.1)


def test_polls_grow_and_end_at_the_deadline() -> None:
    clock = StillClock()
    assert len(list(clock.polls(5.0, first=0.5, longest=2.0))) == 5
    assert clock.slept == [0.5, 1.0, 2.0, 1.5]


def test_the_real_clock_runs() -> None:
    clock = Clock()
    before = clock.now()
    clock.sleep(0.001)
    assert clock.now() > before


# ---- the command object ----


class Answer(Runner):
    def __init__(self, rc: int, out: str = "", err: str = "") -> None:
        super().__init__()
        self.answer = (rc, out, err)
        self.argv: list[str] = []
        self.timeout = 0.0

    def run(self, argv: t.Sequence[str], **more: t.Any) -> Completed:
        self.argv, self.timeout = list(argv), more["timeout"]
        return Completed(tuple(argv), *self.answer)


@pytest.mark.parametrize(
    ("call", "argv"),
    [
        (lambda ctl: ctl.print_service("system/x"), ["print", "system/x"]),
        (lambda ctl: ctl.print_disabled("gui/501"), ["print-disabled", "gui/501"]),
        (lambda ctl: ctl.bootstrap("system", "/x.plist"), ["bootstrap", "system", "/x.plist"]),
        (lambda ctl: ctl.bootout("system/x"), ["bootout", "system/x"]),
        (lambda ctl: ctl.enable("system/x"), ["enable", "system/x"]),
        (lambda ctl: ctl.disable("system/x"), ["disable", "system/x"]),
        (lambda ctl: ctl.kickstart("system/x"), ["kickstart", "system/x"]),
        (lambda ctl: ctl.kickstart("system/x", kill=True), ["kickstart", "-k", "system/x"]),
        (lambda ctl: ctl.kill("SIGHUP", "system/x"), ["kill", "SIGHUP", "system/x"]),
    ],
)
def test_each_verb_has_its_arguments(call: t.Callable[[Launchctl], t.Any], argv: list[str]) -> None:
    runner = Answer(0)
    call(Launchctl(runner))
    assert (runner.argv, runner.timeout) == (["/bin/launchctl", *argv], 30.0)


def test_print_tells_not_loaded_from_no_domain_from_trouble() -> None:
    assert Launchctl(Answer(113, err="Bad request.\n")).print_service("system/x") is None
    for rc in (112, 125):
        with pytest.raises(DomainMissing):
            Launchctl(Answer(rc)).print_service("gui/9999/x")
        with pytest.raises(DomainMissing):
            Launchctl(Answer(rc)).print_disabled("gui/9999")
    with pytest.raises(CommandError, match=r"exit 64 \(usage\): Unrecognized target specifier. / Usage"):
        Launchctl(Answer(64, err="Unrecognized target specifier.\nUsage: x\n")).print_service("x")


@pytest.mark.parametrize(("rc", "words"), [(1, "become: true"), (150, "protects"), (64, "label"), (5, "launchd.log")])
def test_an_error_says_what_to_do_next(rc: int, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        Launchctl(Answer(rc, err="no\n")).enable("system/x")


# ---- readiness in a run ----


def test_a_started_job_is_asked_until_it_is_ready(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def answers(self: Ready, runner: Runner, timeout: float) -> bool:
        asked.append(timeout)
        return len(asked) == 3

    monkeypatch.setattr(Ready, "answers", answers)
    domain = Domain("system", os.getuid(), (str(tmp_path),), Ownership(mode=0o644))
    monkeypatch.setattr(service_module, "resolve_domain", lambda text, roots: domain)
    definition = {"ProgramArguments": ["/bin/true"], "KeepAlive": True}
    params: dict[str, t.Any] = {"label": LABEL, "domain": "system", "definition": definition, "path": None, "state": "started"}
    params.update({"enabled": None, "ready_when": {"tcp": "1:22"}, "timeout": 60, "no_log_environment": []})
    load = [gone(), overrides(), step(f"bootstrap system {tmp_path}/{LABEL}.plist"), running(1), *([running(1)] * 3)]
    runner = ScriptRunner(*load)
    assert execute(params, False, Host(runner, StillClock(), Roots(), PROGRAM)).changed
    assert runner.done
    assert len(asked) == 3
    asked.clear()
    # Unchanged: nothing is asked.
    quiet = ScriptRunner(running(1), overrides())
    assert not execute(params, False, Host(quiet, StillClock(), Roots(), PROGRAM)).changed
    assert (quiet.done, asked) == (True, [])
