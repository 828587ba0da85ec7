# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""launchd_service against the launchd stand-in, in the eras of macOS 13, 15 and 26, with faults. Needs root, no container."""

from __future__ import annotations

import json
import os
import plistlib
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_domain as domain_module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Roots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_service import Host, Result, execute
from ansible_collections.nixmac.linux_builder.tests.lab.launchd import harness

LAB = Path(__file__).parents[1] / "lab" / "launchd"
ERAS = [13, 15, 26]
NOW: dict[str, t.Any] = {"command": ["/bin/true"]}  # ready as soon as a process is there
QUICK: dict[str, t.Any] = {"ThrottleInterval": 1, "ExitTimeOut": 3}


def modern_python() -> str:
    """The stand-in needs 3.11; the tests also run under the 3.9 of a Mac."""
    if sys.version_info >= (3, 11):
        return sys.executable
    found = [path for path in (f"/usr/bin/python3.{minor}" for minor in range(20, 10, -1)) if os.access(path, os.X_OK)]
    if not found:
        raise RuntimeError("no Python of 3.11 or later in /usr/bin to run the launchd stand-in with")
    return found[0]


class Mac(harness.Launchd):
    """A stand-in below a directory of its own, and the module's core pointed at it."""

    def start(self) -> Mac:
        command = [modern_python(), "-IS", str(LAB / "launchd.py"), "--root", self.root, "--socket", self.socket]
        self.process = subprocess.Popen(command, env={"LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL)
        self.until(self._answers, "the daemon answers", 20)
        self.launchctl = os.path.join(self.root, "launchctl")
        words = [modern_python(), "-IS", str(LAB / "launchctl.py")]
        with open(self.launchctl, "w", encoding="utf-8") as handle:
            handle.write(f'#!/bin/sh\nLAB_LAUNCHD_SOCKET={shlex.quote(self.socket)} exec {shlex.join(words)} "$@"\n')
        os.chmod(self.launchctl, 0o755)
        self.runner = Runner()
        return self

    def host(self, runner: Runner | None = None) -> Host:
        self.runner = runner or Runner()
        library, system = (os.path.join(self.root, name) for name in ("Library", "System/Library"))
        return Host(self.runner, roots=Roots(library, system), launchctl=self.launchctl)

    def run(self, label: str, definition: dict[str, t.Any] | None = None, **options: t.Any) -> Result:
        """One run of the module; `ready_when=None` waits for the throttle window."""
        check, runner = options.pop("check", False), options.pop("runner", None)
        params: dict[str, t.Any] = {"label": label, "domain": "system", "definition": definition, "path": None}
        params.update({"state": "started", "enabled": None, "ready_when": NOW, "timeout": 20, "no_log_environment": []})
        params.update(options)
        return execute(params, check, self.host(runner))

    def fails(self, label: str, definition: dict[str, t.Any] | None = None, **options: t.Any) -> LinuxBuilderError:
        with pytest.raises(LinuxBuilderError) as caught:
            self.run(label, definition, **options)
        return caught.value

    def on_disk(self, label: str) -> dict[str, t.Any] | None:
        try:
            with open(os.path.join(self.daemons, f"{label}.plist"), "rb") as handle:
                return t.cast(dict, plistlib.load(handle))  # type: ignore[type-arg]
        except FileNotFoundError:
            return None


@pytest.fixture(scope="module", params=ERAS)
def mac(request: pytest.FixtureRequest) -> t.Iterator[Mac]:
    # A short path: a socket's name has at most 107 bytes.
    root = tempfile.mkdtemp(prefix="ld")
    machine = Mac(root, era=request.param).start()
    yield machine
    machine.stop(timeout=30)
    shutil.rmtree(root)


one_era = pytest.mark.parametrize("mac", [15], indirect=True)  # where the era makes no difference and the test takes long


@pytest.fixture(autouse=True)
def no_fault_left(mac: Mac) -> t.Iterator[None]:
    yield
    assert mac.lab("list").out == "", "a fault was armed and never happened"
    mac.lab("clear")


@pytest.fixture
def label(request: pytest.FixtureRequest, mac: Mac) -> t.Iterator[str]:
    name = "org.example." + request.node.name.partition("[")[0][len("test_") :][:40].replace("_", "-")
    yield name
    mac.lab("clear")
    mac.run(name, state="absent")


def sleeper(**more: t.Any) -> dict[str, t.Any]:
    return {"ProgramArguments": ["/bin/sleep", "600"], "KeepAlive": True, **QUICK, **more}


def shell(script: str, **more: t.Any) -> dict[str, t.Any]:
    return {"ProgramArguments": ["/bin/sh", "-c", script], "KeepAlive": True, **QUICK, **more}


# ---- the life of a job ----


def test_a_job_from_nothing_to_nothing(mac: Mac, label: str) -> None:
    first = sleeper()
    planned = mac.run(label, first, check=True)
    assert (planned.changed, planned.service["loaded"], mac.on_disk(label)) == (True, False, None)
    assert mac.runner.started == 2

    before = time.monotonic()
    made = mac.run(label, first, ready_when=None)
    assert time.monotonic() - before > QUICK["ThrottleInterval"]
    assert (made.changed, made.service["state"], made.service["enabled"]) == (True, "running", True)
    assert made.service["path"] == os.path.join(mac.daemons, f"{label}.plist")
    assert os.stat(made.service["path"]).st_mode & 0o777 == 0o644

    again = mac.run(label, first)
    assert (again.changed, again.service["pid"], mac.runner.started) == (False, made.service["pid"], 2)

    second = mac.run(label, sleeper(Nice=3))
    assert second.actions == ["bootout", "write property list", "bootstrap"]
    assert second.service["pid"] != made.service["pid"]
    assert not harness.alive(made.service["pid"])

    restarted = mac.run(label, sleeper(Nice=3), state="restarted")
    assert restarted.service["pid"] not in (second.service["pid"], None)

    stopped = mac.run(label, state="stopped")
    assert (stopped.changed, stopped.service["loaded"]) == (True, False)
    assert not harness.alive(restarted.service["pid"])
    assert not mac.run(label, state="stopped").changed
    assert mac.run(label).service["state"] == "running"

    removed = mac.run(label, state="absent")
    assert (removed.changed, mac.on_disk(label), mac.ctl("print", f"system/{label}").rc) == (True, None, 113)
    assert not mac.run(label, state="absent").changed
    assert mac.runner.started == 1


def test_an_unchanged_job_is_not_waited_for(mac: Mac, label: str) -> None:
    mac.run(label, sleeper(), state="loaded")
    before = time.monotonic()
    assert not mac.run(label, sleeper(), ready_when={"command": ["/bin/false"]}).changed
    assert mac.runner.started == 2
    assert time.monotonic() - before < 10.0  # far below the timeout of 20 s


def test_a_restart_waits_for_what_happens_and_no_longer(mac: Mac, label: str) -> None:
    definition = sleeper(ThrottleInterval=30, ExitTimeOut=30)
    mac.run(label, definition)
    before = time.monotonic()
    assert mac.run(label, definition, state="restarted").changed
    assert time.monotonic() - before < 10.0  # neither the throttle window nor the exit timeout


def test_a_job_slow_to_stop_is_gone_before_the_next_one_starts(mac: Mac, label: str) -> None:
    lock = mac.work(label)
    # Both at once would leave the word `twice`.
    script = f"mkdir {lock} || echo twice >> {lock}.log; trap 'sleep 1; rmdir {lock}; exit 0' TERM; while :; do sleep 0.05; done"
    mac.run(label, shell(script), ready_when={"command": ["/usr/bin/test", "-d", lock]})
    before = time.monotonic()
    mac.run(label, shell(script, Nice=1), ready_when={"command": ["/usr/bin/test", "-d", lock]})
    assert time.monotonic() - before > 0.9
    assert not os.path.exists(f"{lock}.log")


def test_a_job_deaf_to_sigterm_is_killed_at_its_exit_timeout(mac: Mac, label: str) -> None:
    flag = mac.work(label)
    script = f"trap '' TERM; touch {flag}; while :; do sleep 0.1; done"
    pid = mac.run(label, shell(script, ExitTimeOut=1), ready_when={"command": ["/usr/bin/test", "-e", flag]}).service["pid"]
    assert mac.run(label, sleeper()).changed
    assert not harness.alive(pid)


def test_a_one_shot_runs_once_and_stays_right(mac: Mac, label: str) -> None:
    definition = {"ProgramArguments": ["/bin/sh", "-c", "exit 0"], "RunAtLoad": True}
    made = mac.run(label, definition)
    assert (made.service["runs"], made.service["last_exit_code"]) == (1, 0)
    assert not mac.run(label, definition).changed


def test_an_interval_job_is_right_when_loaded(mac: Mac, label: str) -> None:
    definition = {"ProgramArguments": ["/bin/true"], "StartInterval": 3600}
    made = mac.run(label, definition)
    assert (made.service["state"], made.service["run_interval"]) == ("not running", 3600)
    assert not mac.run(label, definition).changed


def test_a_killed_job_that_does_not_keep_alive_is_started_again(mac: Mac, label: str) -> None:
    definition = {"ProgramArguments": ["/bin/sleep", "600"], "RunAtLoad": True, **QUICK}
    pid = mac.run(label, definition).service["pid"]
    mac.ctl("kill", "TERM", f"system/{label}")
    mac.state_is(label, "not running")
    again = mac.run(label, definition)
    assert (again.actions, again.service["state"]) == (["kickstart"], "running")
    assert again.service["pid"] != pid


def test_a_binary_property_list_stays_binary(mac: Mac, label: str) -> None:
    path = os.path.join(mac.daemons, f"{label}.plist")
    content = plistlib.dumps(dict(sleeper(), Label=label), fmt=plistlib.FMT_BINARY)
    Path(path).write_bytes(content)
    os.chmod(path, 0o644)
    assert mac.run(label, sleeper()).actions == ["bootstrap"]
    assert Path(path).read_bytes() == content


def test_a_hostile_argument_is_no_change_in_the_second_run(mac: Mac, label: str) -> None:
    script = "f() {\n\tpid = 1\n\tstate = SIGTERMed\n\tproperties = x\n}\nexec sleep 600\n}"
    definition = shell("exec sleep 600", EnvironmentVariables={"TEXT": script})
    definition["ProgramArguments"].append(script)
    made = mac.run(label, definition)
    assert made.service["state"] == "running"
    assert not mac.run(label, definition).changed
    mac.fault("broken-lwcr", label=label)
    assert mac.run(label, definition).service["pid"] == made.service["pid"]


# ---- enabled ----


def test_a_job_that_somebody_disabled_is_enabled_to_be_loaded(mac: Mac, label: str) -> None:
    mac.ctl("disable", f"system/{label}")
    assert mac.run(label, sleeper()).actions == ["write property list", "enable", "bootstrap"]
    assert not mac.run(label, sleeper(), enabled=True).changed


def test_enabled_is_an_override_and_never_in_the_file(mac: Mac, label: str) -> None:
    mac.run(label, sleeper())
    off = mac.run(label, sleeper(), enabled=False)
    assert (off.actions, off.service["enabled"], off.service["state"]) == (["disable"], False, "running")
    assert mac.on_disk(label) == dict(sleeper(), Label=label)
    assert not mac.run(label, sleeper(), enabled=False).changed
    assert "disabled" in mac.run(label, sleeper()).warnings[0]
    moved = mac.run(label, sleeper(Nice=1), enabled=False)
    assert moved.actions == ["bootout", "write property list", "enable", "bootstrap", "disable"]
    assert mac.run(label, sleeper(Nice=1), enabled=True).service["enabled"]


# ---- faults ----


@pytest.mark.parametrize("rc", [5, 37])
def test_bootstrap_that_fails_once_is_repeated(mac: Mac, label: str, rc: int) -> None:
    mac.fault("bootstrap", label=label, rc=rc)
    assert mac.run(label, sleeper()).service["state"] == "running"


def test_bootout_36_is_waited_for(mac: Mac, label: str) -> None:
    mac.run(label, sleeper())
    mac.fault("bootout", label=label, rc=36)
    assert mac.run(label, sleeper(Nice=1)).changed


@pytest.mark.parametrize("rc", [1, 5])
def test_kickstart_that_fails_once_is_repeated(mac: Mac, label: str, rc: int) -> None:
    mac.fault("no-spawn", label=label)
    mac.fault("kickstart", label=label, rc=rc)
    assert mac.run(label, sleeper()).service["state"] == "running"


def test_run_at_load_that_does_not_spawn_is_started(mac: Mac, label: str) -> None:
    mac.fault("no-spawn", label=label)
    made = mac.run(label, {"ProgramArguments": ["/bin/sleep", "600"], "RunAtLoad": True, **QUICK})
    assert made.service["state"] == "running"


def test_a_label_that_lingers_is_waited_for(mac: Mac, label: str) -> None:
    mac.run(label, sleeper())
    mac.fault("linger", label=label, seconds=1.5)
    before = time.monotonic()
    assert mac.run(label, sleeper(Nice=1)).changed
    assert time.monotonic() - before > 1.4


def test_a_label_that_never_goes_stops_the_run_and_the_file_stays(mac: Mac, label: str) -> None:
    mac.run(label, sleeper(ExitTimeOut=1))
    mac.fault("linger", label=label, seconds=8)
    error = mac.fails(label, sleeper(Nice=1))
    assert "SIGTERMed" in error.message
    assert mac.on_disk(label) == dict(sleeper(ExitTimeOut=1), Label=label)
    # The next run finds it stopping, waits, and finishes the work.
    assert mac.run(label, sleeper(Nice=1)).service["state"] == "running"


def test_a_job_loaded_by_somebody_else_meanwhile_is_taken(mac: Mac, label: str) -> None:
    class Meddler(Runner):
        """Bootstraps the job one moment before the module does."""

        def run(self, argv: t.Sequence[str], **more: t.Any) -> Completed:
            if "bootstrap" in argv[1:2] and "done" not in vars(self):
                self.done = True
                super().run(argv, **more)
            return super().run(argv, **more)

    assert mac.run(label, sleeper(), runner=Meddler()).service["state"] == "running"


def test_a_file_that_others_may_write_is_named_as_the_cause(mac: Mac, label: str) -> None:
    path = mac.plist(label, **sleeper())
    os.chmod(path, 0o666)
    error = mac.fails(label)
    assert "0666" in error.message
    # With a definition the file is the module's own, and it is put right.
    assert "correct owner and mode" in mac.run(label, sleeper()).actions


def test_an_unknown_user_is_named_as_the_cause(mac: Mac, label: str) -> None:
    error = mac.fails(label, sleeper(UserName="nobody-of-that-name"))
    assert "nobody-of-that-name" in error.message
    assert mac.on_disk(label) is None


# ---- a job that does not hold ----


def test_a_crash_loop_brings_the_old_job_back(mac: Mac, label: str) -> None:
    log = mac.work(f"{label}.log")
    path = mac.run(label, sleeper(StandardErrorPath=log)).path
    os.chown(path, 0, 1)
    os.chmod(path, 0o640)
    error = mac.fails(label, shell("echo cannot bind >&2; exit 3", StandardErrorPath=log), ready_when=None)
    assert isinstance(error, StateError)
    assert "crash loop" in error.message
    assert error.details["restored"] is True
    failure = error.details["failure"]
    assert (failure["exit_code"], failure["log_path"]) == (3, log)
    assert "cannot bind" in failure["log_lines"]
    assert mac.on_disk(label) == dict(sleeper(StandardErrorPath=log), Label=label)
    assert (os.stat(path).st_gid, os.stat(path).st_mode & 0o777) == (1, 0o640)
    mac.state_is(label, "running")
    assert mac.run(label, sleeper(StandardErrorPath=log)).actions == ["correct owner and mode"]
    assert not mac.run(label, sleeper(StandardErrorPath=log)).changed


def test_a_new_job_that_crashes_leaves_nothing(mac: Mac, label: str) -> None:
    error = mac.fails(label, shell("kill -SEGV $$"), ready_when=None)
    assert "SIGSEGV" in error.message
    assert (mac.on_disk(label), mac.ctl("print", f"system/{label}").rc) == (None, 113)


def test_a_missing_program_is_named(mac: Mac, label: str) -> None:
    error = mac.fails(label, sleeper(ProgramArguments=["/no/such/program"]))
    assert "/no/such/program does not exist" in error.message
    assert error.details["failure"]["exit_name"] == "EX_CONFIG"


def test_a_missing_working_directory_is_named(mac: Mac, label: str) -> None:
    assert "/no/such/directory" in mac.fails(label, sleeper(WorkingDirectory="/no/such/directory")).message


@one_era
def test_a_job_that_never_gets_ready_is_not_kept(mac: Mac, label: str) -> None:
    mac.run(label, sleeper())
    before = time.monotonic()
    error = mac.fails(label, sleeper(Nice=1), ready_when={"command": ["/bin/false"]}, timeout=2)
    assert 2.0 < time.monotonic() - before < 15.0
    assert "/bin/false did not answer within 2 s" in error.message
    assert mac.on_disk(label) == dict(sleeper(), Label=label)


@one_era
def test_a_tcp_check_waits_for_the_listener(mac: Mac, label: str) -> None:
    port = free_port()
    program = f"import socket, time; time.sleep(1); s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    definition = sleeper(ProgramArguments=[modern_python(), "-IS", "-c", program])
    before = time.monotonic()
    assert mac.run(label, definition, ready_when={"tcp": f"127.0.0.1:{port}"}).service["state"] == "running"
    assert time.monotonic() - before > 0.9


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return t.cast(int, server.getsockname()[1])


def test_a_crashing_job_that_was_loaded_is_noticed_without_a_change_of_the_file(mac: Mac, label: str) -> None:
    definition = shell("exit 4", ThrottleInterval=2)
    mac.run(label, definition, state="loaded")
    mac.state_is(label, "spawn scheduled")
    error = mac.fails(label, definition, ready_when=None)
    assert "last exit code 4" in error.message
    assert mac.on_disk(label) == dict(definition, Label=label)


@one_era
def test_nothing_is_touched_by_a_definition_that_is_refused(mac: Mac, label: str) -> None:
    pid = mac.run(label, sleeper()).service["pid"]
    with pytest.raises(ConfigError, match="ExitTimeOut"):
        mac.run(label, {"ProgramArguments": ["/bin/true"], "ExitTimeout": 3})
    assert mac.runner.started == 0
    assert mac.pid(label) == pid


# ---- killed at any moment ----


class Dying(Runner):
    """Ends this process without a word right before or right after the given call."""

    def __init__(self, call: int, after: bool) -> None:
        super().__init__()
        self.call, self.after = call, after

    def run(self, argv: t.Sequence[str], **more: t.Any) -> Completed:
        if self.started + 1 == self.call and not self.after:
            os._exit(9)
        done = super().run(argv, **more)
        if self.started == self.call:
            os._exit(9)
        return done


@one_era
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_call_is_completed_by_the_next(mac: Mac, label: str, after: bool) -> None:
    marker = mac.work("version")
    for call in range(1, 12):
        old = shell(f"echo old{call} > {marker}; exec sleep 600")
        new = shell(f"echo new{call} > {marker}; exec sleep 600")
        mac.run(label, old)
        child = os.fork()
        if child == 0:
            try:
                mac.run(label, new, runner=Dying(call, after))
            finally:
                os._exit(0)
        _pid, status = os.waitpid(child, 0)
        mac.run(label, new)
        assert mac.on_disk(label) == dict(new, Label=label)
        # The running process is the new file's, not the old one's under a new file.
        mac.until(lambda call=call: mac.read("version") == f"new{call}\n", f"the new job runs after a kill at call {call}")
        assert not mac.run(label, new).changed
        if os.WEXITSTATUS(status) == 0:
            break
    else:
        pytest.fail("the run never got to its end, so not every call was tried")


# ---- users ----


def test_a_user_who_is_not_logged_in_gets_the_job_at_login(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="home", dir=mac.root))
    os.chown(home, entry.pw_uid, entry.pw_gid)
    moved = pwd.struct_passwd((*entry[:5], str(home), entry.pw_shell))
    original = pwd.getpwuid
    monkeypatch.setattr(domain_module.pwd, "getpwnam", lambda name: moved)
    monkeypatch.setattr(domain_module.pwd, "getpwuid", lambda uid: moved if uid == entry.pw_uid else original(uid))
    options: dict[str, t.Any] = {"domain": "nobody"}
    name = "org.example.agent"

    waiting = mac.run(name, sleeper(), **options)
    assert (waiting.pending_login, waiting.changed, waiting.service["loaded"]) == (True, True, False)
    path = home / "Library" / "LaunchAgents" / f"{name}.plist"
    assert (path.stat().st_uid, path.parent.stat().st_uid) == (entry.pw_uid, entry.pw_uid)
    assert not mac.run(name, sleeper(), **options).changed

    assert mac.lab("login", str(entry.pw_uid)).rc == 0
    loaded = mac.run(name, sleeper(), **options)
    assert (loaded.pending_login, loaded.service["state"]) == (False, "running")
    assert loaded.service["domain"] == f"gui/{entry.pw_uid}"
    assert not mac.run(name, sleeper(), **options).changed
    assert mac.run(name, state="absent", **options).changed
    mac.lab("logout", str(entry.pw_uid))
    assert not path.exists()


# ---- the module itself ----


@one_era
def test_the_module_answers_in_json_and_shows_no_secret(mac: Mac, label: str) -> None:
    """Through AnsibleModule, in a process of its own, with the core pointed at the stand-in."""
    code = (
        "import json, sys\n"
        "from ansible.module_utils import basic\n"
        "from ansible_collections.nixmac.linux_builder.plugins.module_utils import _launchd_service as core\n"
        "from ansible_collections.nixmac.linux_builder.plugins.modules import launchd_service\n"
        f"core.LAUNCHCTL = {mac.launchctl!r}\n"
        "real = core.Host\n"
        f"core.Host = lambda: real(roots=core.Roots({mac.root + '/Library'!r}, {mac.root + '/System/Library'!r}), "
        f"launchctl={mac.launchctl!r})\n"
        "launchd_service.main()\n"
    )
    definition = sleeper(EnvironmentVariables={"TOKEN": "s3cret-value"})
    arguments = {"label": label, "definition": definition, "no_log_environment": ["TOKEN"], "_ansible_diff": True}
    arguments["_ansible_check_mode"] = False
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    payload = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    argv = [sys.executable, "-c", code, payload]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
    finally:
        mac.run(label, state="absent")
    answer = json.loads(done.stdout.decode().splitlines()[-1])
    assert answer["changed"], answer
    assert answer["service"]["state"] == "running"
    assert "TOKEN" in answer["diff"]["after"]
    assert "s3cret-value" not in done.stdout.decode() + done.stderr.decode()
