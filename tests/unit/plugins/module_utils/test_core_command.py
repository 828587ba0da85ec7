# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting programs: the deadline ends the whole process group, the environment is clean, nothing is lost or leaked."""

from __future__ import annotations

import os
import signal
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _command
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import (
    Completed,
    Runner,
    clean_environment,
    find_program,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

SHELL = "/bin/sh"


def wait_until(condition: t.Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def running(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_output_status_and_count() -> None:
    runner = Runner()
    done = runner.run([SHELL, "-c", "echo out; echo err >&2; exit 3"], timeout=60)
    assert (done.rc, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.argv == (SHELL, "-c", "echo out; echo err >&2; exit 3")
    assert runner.started == 1


def test_signal_is_a_negative_status() -> None:
    assert Runner().run([SHELL, "-c", "kill -TERM $$"], timeout=60).rc == -signal.SIGTERM


@pytest.mark.parametrize(("stdout", "stderr", "words"), [("out\n", " err\n", "err"), ("out\n", "\n", "out"), ("", "", "")])
def test_words_of_a_program_are_its_stderr_else_its_stdout(stdout: str, stderr: str, words: str) -> None:
    assert Completed(("x",), 1, stdout, stderr).words == words


def test_output_that_is_no_utf8_does_not_raise() -> None:
    assert Runner().run([SHELL, "-c", r"printf '\377ok'"], timeout=60).stdout == "\ufffdok"


def test_standard_input_is_the_text_or_empty() -> None:
    assert Runner().run(["/bin/cat"], timeout=60, stdin="wörd").stdout == "wörd"
    assert Runner().run(["/bin/cat"], timeout=60).stdout == ""


def test_program_that_never_reads_its_standard_input_is_no_failure() -> None:
    assert Runner().run([SHELL, "-c", "exec 0<&-; exit 0"], timeout=60, stdin="x" * 1_000_000).rc == 0


def test_deadline_kills_the_whole_process_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! > {pids}; echo $$ >> {pids}; trap '' TERM; wait; sleep 300"
    with pytest.raises(CommandError) as caught:
        Runner().run([SHELL, "-c", script], timeout=5)
    assert caught.value.message.startswith(f"{SHELL}: no end after 5 s, stopped.")
    assert caught.value.details["timeout"] == 5
    numbers = [int(one) for one in pids.read_text().split()]
    assert len(numbers) == 2
    assert wait_until(lambda: not any(running(pid) for pid in numbers))


def test_deadline_holds_even_if_a_descendant_in_another_session_keeps_the_pipes_open(tmp_path: Path) -> None:
    """As ssh with ControlPersist does."""
    pid_file = tmp_path / "pid"
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "    sys.exit()\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    try:
        with pytest.raises(CommandError):
            Runner().run([sys.executable, "-S", "-c", program], timeout=2)
        assert time.monotonic() - started < 20
    finally:
        if wait_until(lambda: pid_file.exists() and bool(pid_file.read_text())):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_interrupted_call_leaves_no_program_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(_command.subprocess.Popen):  # type: ignore[type-arg]
        def communicate(self, *_args: t.Any, **_options: t.Any) -> t.Any:
            processes.append(self.pid)
            raise KeyboardInterrupt

    processes: list[int] = []
    monkeypatch.setattr(_command.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Runner().run(["/bin/sleep", "300"], timeout=600)
    assert wait_until(lambda: not running(processes[0]))


def test_file_descriptors_are_closed_after_a_deadline() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for _each in range(3):
        with pytest.raises(CommandError):
            Runner().run(["/bin/sleep", "60"], timeout=0.05, stdin="text")
    assert opened() == before


def test_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NIX_REMOTE", "NIX_CONFIG", "SSH_AUTH_SOCK", "LD_PRELOAD", "PYTHONPATH", "LC_MESSAGES"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("HOME", "/home/somebody")
    lines = Runner().run(["/usr/bin/env"], timeout=60, env={"EXTRA": "1"}).stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert set(found) <= {"HOME", "USER", "LOGNAME", "PATH", "LC_ALL", "LANG", "LANGUAGE", "EXTRA"}
    assert (found["LC_ALL"], found["LANG"], found["EXTRA"], found["HOME"]) == ("C", "C", "1", "/home/somebody")
    assert found["PATH"].split(":")[:2] == ["/nix/var/nix/profiles/default/bin", "/usr/bin"]


def test_environment_of_this_process_is_not_touched() -> None:
    before = dict(os.environ)
    clean_environment({"PATH": "/x"})["HOME"] = "/y"
    assert dict(os.environ) == before


def test_working_directory_is_the_root_unless_named(tmp_path: Path) -> None:
    assert Runner().run(["/bin/pwd"], timeout=60).stdout == "/\n"
    assert Runner().run(["/bin/pwd"], timeout=60, cwd=str(tmp_path)).stdout == f"{tmp_path}\n"


@pytest.mark.parametrize("argv", [["/nonexistent/program"], ["/etc/passwd"], ["/etc"], ["/bin/echo", "a\0b"]])
def test_program_that_cannot_be_started_is_named(argv: list[str]) -> None:
    runner = Runner()
    with pytest.raises(CommandError) as caught:
        runner.run(argv, timeout=60)
    assert caught.value.message.startswith(f"{argv[0]}: cannot be started: ")
    assert caught.value.details["command"] == argv[0]


def test_missing_working_directory_is_an_error_of_the_family() -> None:
    with pytest.raises(CommandError):
        Runner().run(["/bin/true"], timeout=60, cwd="/nonexistent")


def test_first_program_that_can_be_executed_is_found(tmp_path: Path) -> None:
    plain, directory, program = tmp_path / "plain", tmp_path / "directory", tmp_path / "program"
    plain.write_text("")
    directory.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    candidates = [str(tmp_path / "missing"), str(plain), str(directory), str(program), "/bin/sh"]
    assert find_program("x", *candidates) == str(program)
    with pytest.raises(CommandError) as caught:
        find_program("x", *candidates[:3])
    assert all(path in caught.value.message for path in candidates[:3])


# --- streams -----------------------------------------------------------------------------------------------------


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if line == "first":
            gate.touch()  # the program waits for it: without streaming this would never end

    script = f"echo first >&2; while ! [ -e {gate} ]; do sleep 0.05; done; echo out; printf 'last' >&2; exit 4"
    done = Runner().stream([SHELL, "-c", script], take, timeout=60)
    assert lines == ["first", "last"]
    assert (done.rc, done.stdout, done.stderr) == (4, "out\n", "first\nlast")


def test_a_stream_has_a_deadline_and_its_group_dies(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(CommandError) as caught:
        Runner().stream([SHELL, "-c", f"sleep 600 & echo $! > {pid}; echo here >&2; wait"], lambda line: None, timeout=2)
    assert "no end after 2 s" in caught.value.message
    assert wait_until(lambda: not running(int(pid.read_text())), 30)


def test_what_the_taker_raises_ends_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="now"):
        Runner().stream([SHELL, "-c", f"echo $$ > {pid}; echo now >&2; exec sleep 600"], refuse, timeout=60)
    assert wait_until(lambda: not running(int(pid.read_text())), 30)


def test_a_long_output_and_an_endless_line_are_bounded() -> None:
    sizes: list[int] = []
    script = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; head -c 500000 /dev/zero"
    done = Runner().stream([SHELL, "-c", script], lambda line: sizes.append(len(line)), timeout=60)
    assert sum(sizes) == 3000000
    assert max(sizes) <= 1024 * 1024 + 65536
    assert len(done.stderr) <= 256 * 1024
    assert len(done.stdout) == 500000


def test_a_stream_of_what_cannot_be_started() -> None:
    with pytest.raises(CommandError, match="cannot be started"):
        Runner().stream(["/nonexistent/program"], lambda line: None, timeout=5)


def test_what_was_asked_is_remembered_where_nothing_changes(tmp_path: Path) -> None:
    count = tmp_path / "count"
    argv = [SHELL, "-c", f"echo x >> {count}; echo $WHO"]

    def times() -> int:
        return len(count.read_text().split())

    with Runner.remembering():
        first = Runner().run(argv, timeout=60)
        second = Runner()
        assert second.run(argv, timeout=30) == first
        assert (times(), second.started) == (1, 0)
        # Another question is another one.
        assert Runner().run(argv, timeout=60, env={"WHO": "me"}).stdout == "me\n"
        assert times() == 2
    Runner().run(argv, timeout=60)
    assert times() == 3


def test_what_failed_to_start_is_tried_again(tmp_path: Path) -> None:
    with Runner.remembering():
        with pytest.raises(CommandError):
            Runner().run([str(tmp_path / "program")], timeout=60)
        (tmp_path / "program").write_text(f"#!{SHELL}\n")
        (tmp_path / "program").chmod(0o755)
        assert Runner().run([str(tmp_path / "program")], timeout=60).rc == 0
