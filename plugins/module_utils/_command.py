# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Starting programs: argv lists, C locale, absolute paths, a deadline on every call."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

# What launchd gives its jobs (launchctl print, "default environment"), plus Nix' default profile.
_PATH = "/nix/var/nix/profiles/default/bin:/usr/bin:/bin:/usr/sbin:/sbin"

_LONGEST_LINE = 1024 * 1024  # bytes of standard error that are taken for one line
_KEPT = 256 * 1024  # bytes of a streamed standard error that stay in Completed


class Completed(t.NamedTuple):
    """What a program left behind: argv, exit status (negative: the signal), decoded output."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """The program's own words, for a message: stderr, else stdout, stripped."""
        return self.stderr.strip() or self.stdout.strip()


def clean_environment(extra: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that every program gets: nothing of the caller's but HOME and USER.

    A stray NIX_CONFIG, NIX_REMOTE or SSH_AUTH_SOCK of the Ansible user must not change a result.
    """
    environment = {key: os.environ[key] for key in ("HOME", "USER", "LOGNAME") if key in os.environ}
    environment.update({"PATH": _PATH, "LC_ALL": "C", "LANG": "C", "LANGUAGE": "C"})
    environment.update(extra or {})
    return environment


class Runner:
    """Starts programs and counts them (`started`; `total` of all runners), so that a budget of processes can be tested."""

    total: t.ClassVar[int] = 0
    _memory: t.ClassVar[dict[t.Any, Completed] | None] = None

    def __init__(self) -> None:
        self.started = 0

    @staticmethod
    @contextlib.contextmanager
    def remembering() -> t.Iterator[None]:
        """For a body that changes nothing: what `run` was asked before, by whatever Runner, is not asked again."""
        Runner._memory = {}
        try:
            yield
        finally:
            Runner._memory = None

    def run(
        self,
        argv: t.Sequence[str],
        *,
        timeout: float,
        stdin: str | None = None,
        env: t.Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Completed:
        """Run `argv` to its end and return what it left.

        timeout: seconds; past it the program's whole process group is killed and CommandError raised.
        stdin: text for standard input (secrets go here, never on argv); none means /dev/null.
        Raises CommandError when the program cannot be started. A bad exit status is the caller's to judge.
        """
        memory, question = Runner._memory, (tuple(argv), stdin, tuple(sorted((env or {}).items())), cwd)
        if memory is None:
            return self._run(argv, timeout, stdin, env, cwd)
        if question not in memory:
            memory[question] = self._run(argv, timeout, stdin, env, cwd)
        return memory[question]

    def _run(
        self, argv: t.Sequence[str], timeout: float, stdin: str | None, env: t.Mapping[str, str] | None, cwd: str
    ) -> Completed:
        process = self._start(argv, stdin is not None, env, cwd)
        try:
            out, err = process.communicate(None if stdin is None else stdin.encode(), timeout=timeout)
        except subprocess.TimeoutExpired as exc:
            _kill_group(process)
            raise _too_late(argv, timeout) from exc
        except BaseException:
            _kill_group(process)
            raise
        return Completed(tuple(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def stream(
        self,
        argv: t.Sequence[str],
        on_line: t.Callable[[str], None],
        *,
        timeout: float,
        env: t.Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Completed:
        """Like `run`, and give each line of standard error to `on_line` as soon as it is complete.

        What `on_line` raises ends the program. Completed has only the end of standard error.
        """
        process = self._start(argv, False, env, cwd)
        deadline = time.monotonic() + timeout
        try:
            out, err = _Pipes(process, on_line).drain(deadline)
            process.wait(max(1.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired) as exc:
            _kill_group(process)
            raise _too_late(argv, timeout) from exc
        except BaseException:
            _kill_group(process)
            raise
        return Completed(tuple(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def _start(self, argv: t.Sequence[str], speaks: bool, env: t.Mapping[str, str] | None, cwd: str) -> subprocess.Popen[bytes]:
        self.started += 1
        Runner.total += 1
        try:
            return subprocess.Popen(  # pylint: disable=ansible-bad-function
                list(argv),
                stdin=subprocess.PIPE if speaks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(env),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as exc:
            raise CommandError(
                f"{argv[0]}: cannot be started: {exc.strerror}. Install it, or check its path and mode.",
                command=argv[0],
            ) from exc
        except ValueError as exc:  # a NUL character in an argument
            raise CommandError(f"{argv[0]}: cannot be started: {exc}. Check the options given.", command=argv[0]) from exc


class _Pipes:
    """Reads both outputs of a program as they come."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: t.Callable[[str], None]) -> None:
        self._process = process
        self._on_line = on_line
        self._out = bytearray()
        self._err = bytearray()
        self._partial = bytearray()

    def drain(self, deadline: float) -> tuple[bytes, bytes]:
        """Read both to their end. TimeoutError at `deadline` (monotonic)."""
        takers = {self._process.stdout: self._out.extend, self._process.stderr: self._take}
        with selectors.DefaultSelector() as selector:
            for stream in takers:
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                for key, _events in selector.select(left):
                    block = os.read(key.fd, 65536)
                    if block:
                        takers[t.cast(t.Any, key.fileobj)](block)
                    else:
                        selector.unregister(key.fileobj)
                        t.cast(t.Any, key.fileobj).close()
        if self._partial:
            self._on_line(self._partial.decode(errors="replace"))
        return bytes(self._out), bytes(self._err)

    def _take(self, block: bytes) -> None:
        self._err += block
        del self._err[:-_KEPT]
        self._partial += block
        *lines, rest = self._partial.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], bytearray()
        self._partial = rest
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def _too_late(argv: t.Sequence[str], timeout: float) -> CommandError:
    return CommandError(
        f"{argv[0]}: no end after {timeout:g} s, stopped. Arguments: {' '.join(argv[1:])}", command=argv[0], timeout=timeout
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and what it started, and reap it.

    A descendant that made a session of its own survives and may keep the pipes open: they are closed, not read to their end.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only zombies are left in the group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def find_program(name: str, *candidates: str) -> str:
    """The first of `candidates` (absolute paths) that can be executed; CommandError names them all."""
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise CommandError(f"{name}: not found as {', '.join(candidates)}. Install it first.", command=name)
