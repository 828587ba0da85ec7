# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Work that outlives the connection it was asked for over: a module hands it to a process of its own and looks in.

A job is a directory, named after the work and a digest of its parameters, so that the next run with the same
parameters finds it. Its process holds flock(2) on the file `lock` as long as it lives, whatever becomes of it; with the
lock free, `result.json` tells how it ended, and without that file it was killed. The directory is removed by who reads
the result. It lies in /var/run, which a restart of the Mac empties: no job survives one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _job_start
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import Status, read_status

ROOT = "/var/run/nixmac-linux-builder"
PARAMETER = "_job"  # what the action plugin passes: {"wait": seconds, "token": which job, for all but the first call}
ANSWER = "still_at_it"  # what it gets back while the work goes on

_POLL = 0.1  # seconds between two looks at the lock
_LONGEST_WAIT = 60.0  # seconds that one execution of the module may wait

_AGAIN = "The work of an earlier run had failed, and it is done again: {}"

Execute = t.Callable[[dict[str, t.Any], bool], Outcome]


class Work(t.Protocol):
    """What a module does: `execute(params, check_mode)` of an area, with a third argument for its progress."""

    __module__: str
    __name__: str

    def __call__(self, params: dict[str, t.Any], check_mode: bool, /) -> Outcome:
        """Do it. Raises the collection's errors."""


class Job(t.NamedTuple):
    """The places of one job."""

    directory: str

    def path(self, name: str) -> str:
        """A file of the job."""
        return os.path.join(self.directory, name)

    @property
    def lock(self) -> str:
        """Held by the job's process."""
        return self.path(_job_start.LOCK)

    def record(self) -> dict[str, t.Any]:
        """What was written when it began; {} where that was cut short."""
        return _read(self.path(_job_start.RECORD))

    @property
    def process(self) -> int | None:
        """Its process; None where it has not said so yet."""
        number = _read(self.path(_job_start.PROCESS)).get("pid")
        return number if isinstance(number, int) else None

    def status(self) -> Status:
        """How far it is."""
        return read_status(self.path(_job_start.STATUS))

    def running(self) -> bool:
        """Whether its process lives."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def wait(self, seconds: float) -> bool:
        """Wait until its process has ended, at most `seconds`; whether it has."""
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        return True

    def end(self, seconds: float) -> bool:
        """Ask its process to end, and what it started with it; whether it has within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.process is None and self.running() and time.monotonic() < deadline:
            time.sleep(_POLL)  # it has just begun
        process = self.process
        if process is not None and self.running():  # which holds the lock, so that the number is still its
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        return self.wait(deadline - time.monotonic())


def running(root: str, area: str) -> list[Job]:
    """The jobs of a kind of work that go on now. area: of the work, as in the name of a job's directory."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    jobs = [Job(os.path.join(root, name)) for name in names if name.rpartition("-")[0] == area]
    return [job for job in jobs if job.running()]


def detachable(execute: Work) -> Execute:
    """`execute` as a module runs it: in a job where the action plugin asks for one, else here and to its end."""
    return functools.partial(_detachable, execute)


def _detachable(execute: Work, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    own = {name: value for name, value in params.items() if name != PARAMETER}
    ask = params.get(PARAMETER)
    if not ask or check_mode or _job_start.code() is None:
        return execute(own, check_mode)
    wait = min(max(float(ask.get("wait") or 0), 0.0), _LONGEST_WAIT)
    desk = Desk(ROOT, execute, own)
    token = ask.get("token")
    return desk.look_in(str(token), wait) if token else desk.hand_in(wait)


class Desk:
    """Where one kind of work with one set of parameters is handed in and asked after."""

    def __init__(self, root: str, execute: Work, params: dict[str, t.Any]) -> None:
        self._root = root
        self._execute = execute
        self._params = params
        area = execute.__module__.rpartition(".")[2].strip("_")
        digest = hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode()).hexdigest()
        self.job = Job(os.path.join(root, f"{area}-{digest[:20]}"))

    def hand_in(self, wait: float) -> Outcome:
        """Find the job or start it, and wait a little. What an earlier run left is taken up or cleared away."""
        warnings: list[str] = []
        with _registry(self._root):
            picked_up = os.path.isdir(self.job.directory)
            earlier: dict[str, t.Any] = {}
            if picked_up and not self.job.running():
                try:
                    earlier = self._left_over(warnings)
                finally:
                    shutil.rmtree(self.job.directory)
                self._start(earlier)
            elif not picked_up:
                self._start(earlier)
            token = str(self.job.record().get("token"))
        try:
            outcome = self._answer(token, wait)
        except LinuxBuilderError as exc:
            exc.details.update({"picked_up": True} if picked_up else {})
            raise
        outcome.warnings += warnings
        if picked_up:
            outcome.result["picked_up"] = True
        return outcome

    def look_in(self, token: str, wait: float) -> Outcome:
        """Wait for the job that `hand_in` named. The answer `gone`: another run has read it, or the Mac was restarted."""
        if self.job.record().get("token") != token:
            return Outcome(changed=False, result={ANSWER: {"state": "gone"}})
        return self._answer(token, wait)

    def _start(self, earlier: dict[str, t.Any]) -> None:
        record = {"token": secrets.token_hex(8), "params": self._params, "began": time.time(), "earlier": earlier}
        _job_start.start(self.job.directory, f"{self._execute.__module__}:{self._execute.__name__}", record)

    def _left_over(self, warnings: list[str]) -> dict[str, t.Any]:
        """What an ended job, whose result nobody read, tells the one that starts now.

        Its result is not passed on: that time has gone by since. The work is done again, which finds most of it done; what
        was changed then counts as changed now. Only work that was undone has an end that doing it again would not find: its
        error is raised, once, and the run after that tries it again.
        """
        try:
            outcome = self._read_result()
        except LinuxBuilderError as exc:
            if exc.details.get("rolled_back"):
                raise self._undone(exc) from exc
            warnings.append(_AGAIN.format(exc))
            return {}
        except (OSError, RuntimeError) as exc:
            warnings.append(_AGAIN.format(exc))
            return {}
        return {"changed": outcome.changed, "before": outcome.before, "after": outcome.after}

    def _undone(self, error: LinuxBuilderError) -> LinuxBuilderError:
        status = _files.lstat(self.job.path(_job_start.RESULT))
        when = "" if status is None else time.strftime(" at %Y-%m-%d %H:%M:%S UTC", time.gmtime(status.st_mtime))
        words = f"That was the end{when} of an earlier run's work, which no run had reported yet. Run again to try it again."
        return LinuxBuilderError(f"{error.message} {words}", **{**error.details, "picked_up": True})

    def _answer(self, token: str, wait: float) -> Outcome:
        if not self.job.wait(wait):
            return Outcome(changed=False, result={ANSWER: self._still_at_it(token)})
        with _registry(self._root):
            record = self.job.record()
            if record.get("token") != token:  # somebody else has read it meanwhile
                return Outcome(changed=False, result={ANSWER: {"state": "gone"}})
            try:
                return _with_earlier(self._read_result(), record.get("earlier") or {})
            finally:
                shutil.rmtree(self.job.directory, ignore_errors=True)

    def _still_at_it(self, token: str) -> dict[str, t.Any]:
        status = self.job.status()
        began = self.job.record().get("began")
        now = time.time()
        seconds = now - began if isinstance(began, (int, float)) else 0.0
        return {
            "state": "running",
            "token": token,
            "phase": status.phase,
            "done": status.done,
            "total": status.total,
            "unit": status.unit,
            "seconds": round(max(0.0, seconds), 1),
        }

    def _read_result(self) -> Outcome:
        result = _read(self.job.path(_job_start.RESULT))
        if "outcome" in result:
            return Outcome(**result["outcome"])
        if "error" in result:
            raise LinuxBuilderError(result["error"]["message"], **result["error"]["details"])
        if "os_error" in result:
            raise OSError(*result["os_error"])
        if "crash" in result:
            raise RuntimeError(result["crash"])
        phase = self.job.status().phase
        raise StateError(
            f"{self.job.directory}: the work was killed"
            + (f" in phase {phase}" if phase else "")
            + " before it had a result. Run again: it goes on from what was done."
        )


def _with_earlier(outcome: Outcome, earlier: dict[str, t.Any]) -> Outcome:
    if not earlier.get("changed"):
        return outcome
    before, after = earlier.get("before"), earlier.get("after")
    return dataclasses.replace(
        outcome,
        changed=True,
        before=None if before is None and outcome.before is None else (before or "") + (outcome.before or ""),
        after=None if after is None and outcome.after is None else (after or "") + (outcome.after or ""),
    )


def _read(path: str) -> dict[str, t.Any]:
    try:
        content = _files.read(path, limit=64 * 1024 * 1024).content
        table = json.loads(content) if content else {}
    except (FileError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


@contextlib.contextmanager
def _registry(root: str) -> t.Iterator[None]:
    """Alone with the jobs: nobody starts, reads or removes one meanwhile. The directory goes when it is empty."""
    descriptor = _open_registry(root)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(root)
        os.close(descriptor)


def _open_registry(root: str) -> int:
    while True:
        try:
            os.mkdir(root, 0o700)
        except FileExistsError:
            pass
        except OSError as exc:
            raise FileError(f"{root}: cannot be made: {exc.strerror}. Run as root (become: true).", path=root) from exc
        try:
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # removed in this moment by who was last
        except OSError as exc:
            raise FileError(f"{root}: is no directory of root's: {exc.strerror}. Remove it.", path=root) from exc
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        mine = os.fstat(descriptor)
        if mine.st_uid != os.geteuid() or stat.S_IMODE(mine.st_mode) & 0o077:
            os.close(descriptor)
            raise FileError(f"{root}: belongs to somebody else, or others may look into it. Remove it.", path=root)
        now = _files.lstat(root)
        if now is not None and (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino):
            return descriptor
        os.close(descriptor)
