# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the stand-in as an ordinary process below a directory of its own, for tests on any Linux (as root)."""

from __future__ import annotations

import json
import os
import plistlib
import select
import signal
import socket
import subprocess
import sys
import time
import typing as t

HERE = os.path.dirname(os.path.realpath(__file__))
PATIENCE = 60.0  # seconds: what a busy machine may take for anything


class Answer(t.NamedTuple):
    """What a launchctl call gave."""

    rc: int
    out: str
    err: str


class Launchd:
    """One daemon. `config` is the content of /etc/lab/launchd.json."""

    def __init__(self, root: str, **config: t.Any) -> None:
        self.root = root
        self.socket = os.path.join(root, "control")
        self.daemons = os.path.join(root, "Library/LaunchDaemons")
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("Library/LaunchDaemons", "Library/LaunchAgents", "System/Library/LaunchDaemons", "etc/lab", "work"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
        os.chmod(root, 0o755)
        self.configure(**config)

    def configure(self, **config: t.Any) -> None:
        """Write the configuration (read at the next start)."""
        config.setdefault("run_dirs", [])
        with open(os.path.join(self.root, "etc/lab/launchd.json"), "w", encoding="utf-8") as handle:
            json.dump(config, handle)

    # The daemon

    def start(self) -> Launchd:
        """Start it and wait until it answers."""
        command = [sys.executable, "-IS", os.path.join(HERE, "launchd.py"), "--root", self.root, "--socket", self.socket]
        environment = {"LC_ALL": "C.UTF-8", "LAUNCHD_OWN": "must not reach jobs"}
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        self.until(self._answers, "the daemon answers")
        return self

    def _answers(self) -> bool:
        try:
            return self.ctl("version").rc == 0
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Signal it and return its exit status."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            # A pidfd wakes at once; Popen.wait(timeout) looks only now and then.
            watch = os.pidfd_open(process.pid)
            process.send_signal(number)
            ended = select.select([watch], [], [], timeout)[0]
            os.close(watch)
            if not ended:
                process.kill()
                process.wait()
                raise TimeoutError(f"launchd did not end within {timeout} s")
        return process.wait()

    def stop_quickly(self) -> None:
        """For the end of a test: no job gets time to end by itself."""
        if self.process is None or self.process.poll() is not None:
            return
        pids = [line.split("\t")[0] for line in self.ctl("list").out.splitlines()[1:]]
        self.process.send_signal(signal.SIGTERM)
        for pid in pids:
            if pid != "-":
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.stop()

    # launchctl

    def ctl(self, *words: str, uid: int = 0, cwd: str = "/") -> Answer:
        """One launchctl call, without starting a process; `uid` is who asks."""
        return self._ask({"argv": list(words), "cwd": cwd}, uid)

    def lab(self, *words: t.Any, uid: int = 0) -> Answer:
        """A command that no Mac has: fault, clear, list, login, logout, era."""
        return self._ask({"lab": list(words)}, uid)

    def fault(self, name: str, **options: t.Any) -> None:
        """Arm a fault."""
        answer = self.lab("fault", dict(options, name=name))
        if answer.rc:
            raise ValueError(answer.err)

    def _ask(self, request: dict[str, t.Any], uid: int) -> Answer:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        with connection:
            # The kernel notes the effective uid at connect(2): that is what the daemon sees.
            if uid:
                os.seteuid(uid)
            try:
                connection.connect(self.socket)
            finally:
                if uid:
                    os.seteuid(0)
            connection.sendall(json.dumps(request).encode() + b"\n")
            pieces = list(iter(lambda: connection.recv(65536), b""))
        answer = json.loads(b"".join(pieces))
        return Answer(answer["rc"], answer["out"], answer["err"])

    # Jobs

    def plist(self, label: str, directory: str | None = None, **keys: t.Any) -> str:
        """Write a property list (a `script` becomes `/bin/sh -c`); returns its path."""
        script = keys.pop("script", None)
        if script is not None:
            keys["ProgramArguments"] = ["/bin/sh", "-c", script]
        path = os.path.join(directory or self.daemons, label + ".plist")
        with open(path, "wb") as handle:
            plistlib.dump({"Label": label, **keys}, handle, sort_keys=False)
        os.chmod(path, 0o644)
        return path

    def load(self, label: str, **keys: t.Any) -> str:
        """Write a property list and bootstrap it into the system domain; returns its path."""
        path = self.plist(label, **keys)
        answer = self.ctl("bootstrap", "system", path)
        if answer.rc:
            raise RuntimeError(f"bootstrap: {answer!r}\n{self.log()}")
        return path

    def load_ready(self, label: str, script: str, **keys: t.Any) -> str:
        """Load a RunAtLoad job whose script says `: ready` after setting its traps; wait until it did."""
        flag = self.work("ready." + label)
        path = self.load(label, script=script.replace(": ready", f"touch '{flag}'"), RunAtLoad=True, **keys)
        self.until(lambda: os.path.exists(flag), f"{label} is ready")
        return path

    def show(self, label: str, domain: str = "system") -> dict[str, str]:
        """The one-tab lines of print as a dict; empty when the job is not loaded."""
        answer = self.ctl("print", f"{domain}/{label}")
        found: dict[str, str] = {}
        for line in answer.out.splitlines():
            if line.startswith("\t") and not line.startswith("\t\t") and " = " in line:
                key, dummy, value = line[1:].partition(" = ")
                found.setdefault(key, value)
        return found

    def pid(self, label: str) -> int:
        """The job's process, 0 without one."""
        return int(self.show(label).get("pid", "0"))

    def work(self, name: str) -> str:
        """A path that jobs may write to."""
        return os.path.join(self.root, "work", name)

    def read(self, name: str) -> str:
        """What a job wrote there; empty if nothing yet."""
        try:
            with open(self.work(name), encoding="utf-8") as handle:
                return handle.read()
        except FileNotFoundError:
            return ""

    def log(self) -> str:
        """launchd's own log."""
        with open(os.path.join(self.root, "var/log/com.apple.xpc.launchd/launchd.log"), encoding="utf-8") as handle:
            return handle.read()

    def until(self, condition: t.Callable[[], t.Any], words: str, seconds: float = PATIENCE) -> t.Any:
        """Poll until the condition holds and return its value; AssertionError with the log otherwise."""
        limit = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > limit:
                raise AssertionError(f"not within {seconds} s: {words}")
            time.sleep(0.02)

    def state_is(self, label: str, state: str, seconds: float = PATIENCE) -> None:
        """Wait for a state."""
        self.until(lambda: self.show(label).get("state") == state, f"{label} is {state}", seconds)

    def gone(self, label: str, seconds: float = PATIENCE) -> None:
        """Wait until the label is not known any more."""
        self.until(lambda: self.ctl("print", "system/" + label).rc == 113, f"{label} is gone", seconds)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid:d}/stat", encoding="utf-8") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
