#!/usr/bin/env python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's launchd: PID 1 of a Mac stand-in, or an ordinary process with `--root` for tests.

launchd.py [--root DIR] [--socket PATH] [--foreground-log]
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
import typing as t

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lab_launchd.boot import adopt_orphans, clear, log_limits, make_run, reopen_standard_files
from lab_launchd.config import Places
from lab_launchd.manager import Manager
from lab_launchd.server import Server

LAST_WORDS_SECONDS = 2.0


class Log:
    """launchd's log file; lines also go to stderr until (as PID 1) boot is over."""

    def __init__(self, path: str, echo: bool) -> None:
        self.path = path
        self.echo = echo
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)

    def __call__(self, text: str) -> None:
        line = "{} {}\n".format(time.strftime("%Y-%m-%d %H:%M:%S"), text)
        try:
            log_limits(self.path)
            with open(self.path, "a", encoding="utf-8", errors="replace") as handle:
                handle.write(line)
            if self.echo:
                sys.stderr.write(line)
                sys.stderr.flush()
        except OSError:
            self.echo = False


class Daemon:
    """The event loop: sleeps until a child ends, a client calls, or something is due."""

    def __init__(self, places: Places, echo: bool) -> None:
        self.first = os.getpid() == 1
        self.log = Log(places.log, echo)
        config, problem = places.read_config()
        if problem:
            self.log(problem)
        self.places = places
        self.manager = Manager(places, config, self.log)
        self.selector = selectors.DefaultSelector()
        self.asked_to_stop = False
        self.wake_in, self.wake_out = os.pipe()
        for descriptor in (self.wake_in, self.wake_out):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self.wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *dummy: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, lambda *dummy: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_asked)
        self.selector.register(self.wake_in, selectors.EVENT_READ, self._drain)

    def _stop_asked(self, *dummy: t.Any) -> None:
        self.asked_to_stop = True

    def _drain(self) -> None:
        try:
            while os.read(self.wake_in, 4096):
                pass
        except BlockingIOError:
            pass

    def run(self) -> int:
        """Boot, serve, shut down."""
        adopt_orphans()
        clear(self.manager.config.clear_at_boot)
        make_run(self.places, self.manager.config.run_dirs)
        self.server = Server(self.places.socket, self.manager, self.selector)
        self.log(f"launchd stand-in, era {self.manager.config.era:d}, pid {os.getpid():d}")
        self.manager.boot()
        while not self.asked_to_stop:
            self.turn(self.manager.next_deadline())
        self.shut_down()
        return 0

    def turn(self, deadline: float | None) -> None:
        """Wait for one event at most until `deadline`, then handle all that is due."""
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = self.selector.select(timeout)
        try:
            for key, _mask in events:
                key.data()
            self.manager.reap()
            self.manager.tick()
        except Exception:
            # PID 1 must not die of a bug, and must not spin on it either.
            self.log(traceback.format_exc())
            time.sleep(0.2)

    def shut_down(self) -> None:
        """SIGTERM to the jobs, SIGKILL at their exit timeouts, then (as PID 1) everybody else."""
        self.log("shutting down")
        self.manager.stop()
        while self.manager.by_pid:
            self.turn(self.manager.next_deadline())
        self.server.close()
        if self.first:
            self._end_everybody()
        self.log("bye")

    def _end_everybody(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(-1, number)
            except OSError:
                return
            limit = time.monotonic() + LAST_WORDS_SECONDS
            while time.monotonic() < limit:
                self.turn(min(limit, time.monotonic() + 0.1))
                try:
                    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                except ChildProcessError:
                    return


def main(words: list[str]) -> int:
    """Parse the (few) options and run."""
    root, path, echo = os.environ.get("LAB_LAUNCHD_ROOT", "/"), os.environ.get("LAB_LAUNCHD_SOCKET"), os.getpid() == 1
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--root" and words:
            root = words.pop(0)
        elif word == "--socket" and words:
            path = words.pop(0)
        elif word == "--foreground-log":
            echo = True
        else:
            sys.stderr.write("usage: launchd.py [--root DIR] [--socket PATH] [--foreground-log]\n")
            return 64
    reopen_standard_files()
    return Daemon(Places(root, path), echo).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
