# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner, run for real by the shells of this host: only the VM and ssh are small scripts."""

from __future__ import annotations

import contextlib
import os
import pathlib
import plistlib
import shutil
import signal
import subprocess
import time
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec

# dash and, as on macOS, bash called as sh.
SHELLS = [
    [path, *options]
    for path, options in (("/bin/dash", []), ("/bin/bash", ["--posix"]), ("/bin/sh", []))
    if os.access(path, os.X_OK)
]

# What a busy machine may take for anything; nothing here waits that long unless it fails.
PATIENCE = 120.0

# A VM that ends when the guest was asked to power off; `obey` without it only on a signal.
VM = """#!/bin/sh
trap 'echo TERM >>"$STAGE/vm.log"; [ -e "$STAGE/stubborn" ] || exit 143' TERM
env >"$STAGE/vm.env"
ls -A "$TMPDIR" >"$STAGE/vm.tmp"
[ "$(readlink /proc/self/fd/0)" = /dev/null ] && echo null >"$STAGE/vm.stdin"
touch "$TMPDIR/store.img"
echo "$$" >>"$STAGE/vm.started"
echo "console of $NIX_DISK_IMAGE"
while [ ! -e "$STAGE/poweroff" ]; do
    sleep 0.05
    [ ! -e "$STAGE/say" ] || { cat "$STAGE/say"; rm "$STAGE/say"; }
    [ ! -e "$STAGE/end" ] || exit "$(cat "$STAGE/end")"
    [ ! -e "$STAGE/crash" ] || kill -ABRT "$$"
done
echo orderly >>"$STAGE/vm.log"
rm -f "$STAGE/poweroff"
exit 0
"""

SSH = """#!/bin/sh
printf '%s\\n' "$*" >>"$STAGE/ssh.log"
[ ! -e "$STAGE/deaf" ] || exec sleep 30
[ ! -e "$STAGE/refuse" ] || exit 255
touch "$STAGE/poweroff"
"""


class Stage:
    """A working directory, a profile, and the runner in it."""

    def __init__(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, shell: list[str], stop_timeout: int = 90) -> None:
        self.root = root
        self.shell = shell
        self.directory = root / "wd"
        for name in ("", "keys", "run", "tmp"):
            (self.directory / name).mkdir()
        (self.directory / "keys/builder_ed25519.pub").write_text("ssh-ed25519 AAAA x\n")
        (root / "ca").write_text("certificates\n")
        self.program = root / "profile/bin/run-nixos-vm"
        self.program.parent.mkdir(parents=True)
        self.put(self.program, VM)
        self.put(root / "ssh", SSH)
        monkeypatch.setattr(_builder_runner, "SSH", str(root / "ssh"))
        self.log_path = root / "log"
        layout = Layout(str(self.directory), str(root / "profile"), str(self.log_path), "org.example.builder")
        self.spec = Spec(
            layout=layout,
            package="x",
            update=False,
            host_address="127.0.0.1",
            port=31022,
            accept_any_address=False,
            cores=3,
            memory_mib=4096,
            disk_mib=None,
            client_key="/etc/nix/builder_ed25519",
            host_key="ssh-ed25519 AAAA",
            ca_file=str(root / "ca"),
            stop_timeout=stop_timeout,
        )
        self.runner = self.directory / "run-builder"
        self.put(self.runner, _builder_runner.text(self.spec, "run-nixos-vm"))
        self.processes: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def put(path: pathlib.Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the runner as launchd does: its own process group, output to the log."""
        with open(self.root / "log", "ab") as log:
            process = subprocess.Popen(
                [*self.shell, str(self.runner)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "STAGE": str(self.root)},
                cwd="/",
                start_new_session=True,
                # A shell cannot trap what was ignored when it came, and `nohup make test` ignores SIGHUP.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )
        self.processes.append(process)
        return process

    def started(self, count: int = 1) -> subprocess.Popen[bytes]:
        """Start the runner and wait until the VM has started `count` times in all."""
        process = self.start()
        self.wait_for(lambda: len(self.lines("vm.started")) >= count)
        return process

    def lines(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        return "\n".join(self.lines("log"))

    def say(self, text: str) -> None:
        """Let the VM write `text` to its console, and wait until it has."""
        (self.root / "say.new").write_text(text)
        os.rename(self.root / "say.new", self.root / "say")
        self.wait_for(lambda: not (self.root / "say").exists())

    def logged(self, text: str) -> None:
        """Wait until `text` is in the log."""
        self.wait_for(lambda: text in self.log())

    def rotate(self, number: int) -> pathlib.Path:
        """What newsyslog(8) does: rename the log, make a new one, signal the process whose number is in the file."""
        old = self.root / f"log.{number}"
        os.rename(self.log_path, old)
        self.log_path.touch()
        os.kill(int((self.directory / "run/runner.pid").read_text()), signal.SIGHUP)
        return old

    def readers(self) -> list[int]:
        """The processes that wait for lines of the console: those that only read the FIFO."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "fd/0") == str(self.directory / "run/console"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(found)

    def vm(self) -> int:
        return int(self.lines("vm.started")[-1])

    def wait_for(self, condition: t.Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s; log:\n{self.log()}")
            time.sleep(0.02)

    def clean(self) -> bool:
        """Whether nothing of a run is left: claims, pid file, files of the VM."""
        return not list((self.directory / "run").iterdir()) and not list((self.directory / "tmp").iterdir())

    def close(self) -> None:
        for process in self.processes:
            for victim in (process.pid, *(int(line) for line in self.lines("vm.started")), *self.readers()):
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.wait()


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; its status."""
    return process.wait(PATIENCE)


def alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between the opening and the reading
        return False


@pytest.fixture(params=SHELLS, ids=lambda shell: os.path.basename(shell[0]))
def stage(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Stage]:
    result = Stage(tmp_path, monkeypatch, request.param)
    yield result
    result.close()


@pytest.fixture
def sh_stage(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Stage]:
    result = Stage(tmp_path, monkeypatch, ["/bin/sh"], stop_timeout=2)
    yield result
    result.close()


def test_sigterm_becomes_an_orderly_shutdown_over_ssh(stage: Stage) -> None:
    process = stage.started()
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert stage.lines("vm.log") == ["orderly"]
    assert len(stage.lines("ssh.log")) == 1
    assert stage.lines("ssh.log")[0].endswith(
        "-p 31022 builder@127.0.0.1 -- " + "PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin; exec shutdown now"
    )
    assert stage.clean()


def test_the_vm_gets_what_it_needs_and_nothing_of_an_earlier_run(stage: Stage) -> None:
    (stage.directory / "tmp/xchg").mkdir()
    (stage.directory / "tmp/xchg/old").write_text("old")
    stage.started()
    environment = dict(line.partition("=")[::2] for line in stage.lines("vm.env"))
    assert environment["KEYS"] == f"{stage.directory}/keys"
    assert environment["NIX_DISK_IMAGE"] == f"{stage.directory}/nixos.qcow2"
    assert environment["NIX_SSL_CERT_FILE"] == f"{stage.root}/ca"
    assert environment["QEMU_OPTS"] == "-m 4096 -smp 3"
    assert (environment["TMPDIR"], environment["USE_TMPDIR"]) == (f"{stage.directory}/tmp", "1")
    assert stage.lines("vm.tmp") == []
    assert stage.lines("vm.stdin") == ["null"]
    assert (stage.directory / "tmp").stat().st_mode & 0o777 == 0o700
    assert int((stage.directory / "run/vm.pid").read_text()) == stage.vm()


@pytest.mark.parametrize("status", [0, 7])
def test_the_exit_status_of_the_vm_is_passed_on(stage: Stage, status: int) -> None:
    process = stage.started()
    (stage.root / "end").write_text(str(status))
    assert ended(process) == status
    assert stage.clean()


def test_a_crash_of_the_vm_is_passed_on_as_128_plus_the_signal(stage: Stage) -> None:
    process = stage.started()
    (stage.root / "crash").touch()
    assert ended(process) == 128 + signal.SIGABRT
    assert "ended with status 134" in stage.log()


def test_a_second_instance_on_the_same_disk_is_refused(stage: Stage) -> None:
    first = stage.started()
    second = stage.start()
    assert ended(second) == 75
    assert f"process {first.pid} already runs the builder" in stage.log()
    assert len(stage.lines("vm.started")) == 1
    assert first.poll() is None
    assert alive(stage.vm())
    assert int((stage.directory / "run/vm.pid").read_text()) == stage.vm()
    assert (stage.directory / "tmp/store.img").exists()


def test_of_many_that_start_at_once_at_most_one_runs_the_vm(sh_stage: Stage) -> None:
    processes = [sh_stage.start() for _number in range(6)]
    sh_stage.wait_for(lambda: sum(process.poll() is None for process in processes) <= 1)
    assert len(sh_stage.lines("vm.started")) <= 1
    assert all(process.returncode in (None, 75) for process in processes)


def test_claims_of_dead_and_of_strange_processes_do_not_stop_a_start(stage: Stage) -> None:
    for name in ("instance.999999999.1", f"instance.{os.getpid()}.1", "instance.1.1", "instance.x"):
        (stage.directory / "run" / name).touch()
    stage.started()
    assert len(list((stage.directory / "run").glob("instance.*"))) == 1


def test_a_vm_that_outlived_its_runner_is_shut_down_in_order_before_the_next_starts(stage: Stage) -> None:
    first = stage.started()
    left = stage.vm()
    first.kill()
    first.wait()
    assert alive(left)
    stage.started(count=2)
    assert stage.lines("vm.log") == ["orderly"]
    assert not alive(left)
    assert f"a VM of an earlier run is left (process {left})" in stage.log()
    assert alive(stage.vm())


def test_sigterm_while_a_leftover_vm_is_stopped_ends_with_neither_running(stage: Stage) -> None:
    first = stage.started()
    left = stage.vm()
    first.kill()
    first.wait()
    (stage.root / "refuse").touch()
    second = stage.start()
    stage.wait_for(lambda: len(stage.lines("ssh.log")) >= 1)
    (stage.root / "refuse").unlink()
    second.send_signal(signal.SIGTERM)
    assert ended(second) == 0
    assert not alive(left)
    assert len(stage.lines("vm.started")) == 1


def test_a_second_sigterm_does_not_disturb_the_shutdown(sh_stage: Stage) -> None:
    (sh_stage.root / "refuse").touch()
    process = sh_stage.started()
    process.send_signal(signal.SIGTERM)
    sh_stage.wait_for(lambda: len(sh_stage.lines("ssh.log")) >= 1)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert sh_stage.log().count("asked to stop") == 1
    assert sh_stage.clean()


@pytest.mark.parametrize("content", ["", "x\n", "0\n", "1\n", "-1\n", "999999999\n"])
def test_a_pid_file_that_names_no_vm_of_ours_harms_nobody(sh_stage: Stage, content: str) -> None:
    (sh_stage.directory / "run/vm.pid").write_text(content)
    sh_stage.started()
    assert sh_stage.lines("ssh.log") == []


def test_a_pid_that_somebody_else_got_by_now_is_left_alone(sh_stage: Stage) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        (sh_stage.directory / "run/vm.pid").write_text(f"{other.pid}\n")
        sh_stage.started()
        assert other.poll() is None
        other.kill()


def test_a_guest_that_does_not_hear_is_ended_by_sigterm_after_stop_timeout(sh_stage: Stage) -> None:
    (sh_stage.root / "deaf").touch()
    process = sh_stage.started()
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert time.monotonic() - begin > 1.5
    assert sh_stage.lines("vm.log") == ["TERM"]
    assert sh_stage.clean()


def test_a_vm_that_ignores_sigterm_is_killed(sh_stage: Stage) -> None:
    (sh_stage.root / "refuse").touch()
    (sh_stage.root / "stubborn").touch()
    process = sh_stage.started()
    vm = sh_stage.vm()
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert not alive(vm)
    assert "by signal" in sh_stage.log()


def test_the_console_of_a_vm_that_was_ended_by_signal_is_in_the_log_when_the_runner_ends(sh_stage: Stage) -> None:
    """The runner waits for the reader, and leaves nothing of the log's behind for the next one or for newsyslog."""
    (sh_stage.root / "refuse").touch()
    (sh_stage.root / "last").write_text("".join(f"last words {number}\n" for number in range(50)))
    sh_stage.put(sh_stage.program, VM.replace("echo TERM", 'cat "$STAGE/last"; echo TERM', 1))
    process = sh_stage.started()
    sh_stage.logged("console of")
    readers = sh_stage.readers()
    assert readers
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert [line for line in sh_stage.lines("log") if "last" in line] == sh_stage.lines("last")
    assert not any(alive(reader) for reader in readers)
    assert sh_stage.clean()


def test_a_hangup_does_not_end_the_runner(stage: Stage) -> None:
    process = stage.started()
    process.send_signal(signal.SIGHUP)
    (stage.root / "end").write_text("5")
    assert ended(process) == 5


def holders(path: pathlib.Path) -> list[str]:
    """Processes that have a file open, by what they are."""
    found = []
    wanted = os.stat(path)
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for link in os.listdir(process / "fd"):
                if os.path.samestat(os.stat(process / "fd" / link), wanted):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_a_rotated_log_is_followed_without_a_line_lost_or_torn(stage: Stage) -> None:
    process = stage.started()
    old = []
    for number in range(12):
        stage.say(f"line {number}\n")
        if number % 4 == 2:
            old.append(stage.rotate(number))
            stage.wait_for(lambda path=old[-1]: not holders(path))  # type: ignore[misc]
            assert process.poll() is None
    stage.logged("line 11")
    text = "".join(path.read_text() for path in (*old, stage.log_path))
    assert [line for line in text.splitlines() if line.startswith("line")] == [f"line {number}" for number in range(12)]
    assert "open the log again" not in text
    (stage.root / "end").write_text("3")
    assert ended(process) == 3
    assert stage.log().splitlines()[-1].endswith("the VM has ended with status 3")


def test_a_prompt_before_the_rotation_stays_in_the_old_log(stage: Stage) -> None:
    stage.started()
    stage.say("login: ")
    old = stage.rotate(0)
    stage.say("after\n")
    stage.logged("after")
    assert stage.log() == "after"
    assert old.read_text().endswith("login: \n")


def test_while_the_vm_runs_nobody_but_the_reader_has_the_log_open(stage: Stage) -> None:
    stage.started()
    stage.logged("console of")
    (reader,) = holders(stage.log_path)
    assert "run-builder" in reader
    assert int((stage.directory / "run/runner.pid").read_text()) == stage.processes[0].pid


def test_a_last_line_without_an_end_comes_into_the_log(stage: Stage) -> None:
    process = stage.started()
    stage.say("# panic")
    (stage.root / "end").write_text("1")
    assert ended(process) == 1
    assert stage.log().splitlines()[-2] == "# panic"
    assert stage.clean()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_reader_costs_no_line(stage: Stage, victim: int) -> None:
    process = stage.started()
    stage.logged("console of")
    readers = stage.readers()
    assert len(readers) == 2  # the one that reads, and the one that replaces it
    os.kill(readers[victim], signal.SIGKILL)
    stage.wait_for(lambda: not alive(readers[victim]))
    stage.say("after\n")
    stage.logged("after")
    (stage.root / "end").write_text("0")
    assert ended(process) == 0
    stage.wait_for(lambda: "ended with status 0" in stage.log())


def test_a_log_that_vanishes_is_made_again_with_its_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, ["/bin/sh"])
    directory = tmp_path / "a/b"
    layout = stage.spec.layout._replace(log_path=str(directory / "log"))
    stage.put(stage.runner, _builder_runner.text(stage.spec._replace(layout=layout), "run-nixos-vm"))
    try:
        stage.started()
        log = directory / "log"
        stage.wait_for(lambda: log.exists() and "console of" in log.read_text())
        for remove in (log.unlink, lambda: shutil.rmtree(tmp_path / "a")):
            remove()
            stage.say("one\n")  # written to what is gone, and noticed
            stage.say("two\n")
            stage.wait_for(lambda: log.exists() and "two" in log.read_text())
    finally:
        stage.close()


def test_a_log_that_cannot_be_written_stops_neither_console_nor_shutdown(stage: Stage) -> None:
    process = stage.started()
    stage.logged("console of")
    stage.log_path.unlink()
    stage.log_path.mkdir()
    for _number in range(4):
        stage.say("x" * 70 + "\n" * 30000)  # each more than a FIFO holds
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert stage.lines("vm.log") == ["orderly"]
    assert stage.clean()


def test_a_full_console_that_nobody_reads_does_not_keep_the_guest_from_its_shutdown(stage: Stage) -> None:
    process = stage.started()
    stage.logged("console of")
    readers = stage.readers()
    for reader in readers:
        os.kill(reader, signal.SIGSTOP)
    console = os.open(stage.directory / "run/console", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(console, b"x" * 4096)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    try:
        stage.wait_for(lambda: stage.lines("vm.log") == ["orderly"])
        assert ended(process) == 0
    finally:
        os.close(console)
        for reader in readers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(reader, signal.SIGKILL)
    assert stage.log().splitlines()[-1].partition("run-builder")[2].partition(": ")[2].startswith("the guest has powered off")


def test_a_missing_program_or_public_key_is_named_and_starts_nothing(sh_stage: Stage) -> None:
    (sh_stage.directory / "keys/builder_ed25519.pub").unlink()
    assert ended(sh_stage.start()) == 78
    assert "builder_ed25519.pub is missing" in sh_stage.log()
    sh_stage.program.unlink()
    assert ended(sh_stage.start()) == 78
    assert "run-nixos-vm is missing" in sh_stage.log()
    assert sh_stage.clean()


def test_missing_certificates_are_said_but_stop_nothing(sh_stage: Stage) -> None:
    (sh_stage.root / "ca").unlink()
    sh_stage.started()
    assert "no CA certificates" in sh_stage.log()


def test_shellcheck_finds_nothing_in_the_runner(sh_stage: Stage) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:  # the shells above have at least read all of it
        return
    done = subprocess.run([shellcheck, "-s", "sh", str(sh_stage.runner)], stdout=subprocess.PIPE, check=False)
    assert done.stdout.decode() == ""


def test_every_ssh_connection_trusts_the_pinned_key_and_nothing_else(sh_stage: Stage) -> None:
    options = _builder_runner.ssh_options("/w/known_hosts", "/k", 5)
    assert options[:2] == ["-F", "/dev/null"]
    for wanted in (
        "UserKnownHostsFile=/w/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "HostKeyAlias=linux-builder",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
    ):
        assert options[options.index(wanted) - 1] == "-o"


def test_the_job_waits_for_the_store_and_has_time_to_stop(sh_stage: Stage) -> None:
    job = _builder_runner.definition(sh_stage.spec, "text", "/nix/store/a")
    assert plistlib.loads(plistlib.dumps(job)) == job
    assert job["ProgramArguments"] == ["/bin/sh", "-c", f"/bin/wait4path /nix/store && exec {sh_stage.runner}"]
    assert job["RunAtLoad"] is True
    assert job["KeepAlive"] is True
    assert "AbandonProcessGroup" not in job
    assert job["ExitTimeOut"] > sh_stage.spec.stop_timeout + 5
    assert job["StandardOutPath"] == job["StandardErrorPath"] == str(sh_stage.root / "log")
    assert job["EnvironmentVariables"]["TMPDIR"].startswith(str(sh_stage.directory))


def test_the_job_changes_with_the_runner_and_with_the_store_path(sh_stage: Stage) -> None:
    digests = {
        _builder_runner.definition(sh_stage.spec, text, path)["EnvironmentVariables"]["LINUX_BUILDER_DIGEST"]
        for text in ("a", "b")
        for path in (None, "/nix/store/a", "/nix/store/b")
    }
    assert len(digests) == 6
