# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Starting programs: argv lists, C locale, absolute paths, a deadline on every call."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

# What launchd gives its jobs (launchctl print, "default environment"), plus Nix' default profile.
_PATH = "/nix/var/nix/profiles/default/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclasses.dataclass(frozen=True)
class Completed:
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
    """Starts programs and counts them (`started`), so that a budget of processes can be tested."""

    def __init__(self) -> None:
        self.started = 0

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
        self.started += 1
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
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
        try:
            out, err = process.communicate(None if stdin is None else stdin.encode(), timeout=timeout)
        except subprocess.TimeoutExpired as exc:
            _kill_group(process)
            raise CommandError(
                f"{argv[0]}: no end after {timeout:g} s, stopped. Arguments: {' '.join(argv[1:])}",
                command=argv[0],
                timeout=timeout,
            ) from exc
        except BaseException:
            _kill_group(process)
            raise
        return Completed(tuple(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


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
