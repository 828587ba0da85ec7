# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Waiting for a job: until it is gone, until it holds, until it is ready. Polls with a deadline, never a fixed sleep."""

from __future__ import annotations

import re
import socket
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plan import (
    CONTINUOUS,
    EX_CONFIG,
    ON_DEMAND,
    ONCE,
    UNTIL_SUCCESS,
)

THROTTLE = 10  # seconds: launchd's ThrottleInterval where a property list gives none
SPAWN_GRACE = 2.0  # seconds that a run-at-load job gets before it is kickstarted
DEATHS = 2  # that many ends of a process that should run are a crash loop
DEATHS_UNREADY = 3  # one more where a readiness check decides: a first start may wait for something else


class Clock:
    """Time as the waits see it; the tests bring their own."""

    def now(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        time.sleep(seconds)

    def polls(self, seconds: float, first: float = 0.1, longest: float = 1.0) -> t.Iterator[None]:
        """Yield at once, then after growing pauses, the last time when `seconds` have passed."""
        end, pause = self.now() + seconds, first
        while True:
            yield
            left = end - self.now()
            if left <= 0:
                return
            self.sleep(min(pause, left))
            pause = min(pause * 2, longest)


_ADDRESS = re.compile(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):)?([0-9]{1,5})")


class Ready(t.NamedTuple):
    """A readiness check: a TCP port that accepts, or a command that ends with 0."""

    address: tuple[str, int] | None = None
    command: tuple[str, ...] = ()

    @classmethod
    def parse(cls, option: t.Mapping[str, t.Any] | None) -> Ready | None:
        """From the module's option: `tcp` is `host:port`, `[v6]:port` or a port; `command` a list. ConfigError."""
        option = option or {}
        tcp, command = option.get("tcp"), option.get("command")
        if tcp is None and not command:
            return None
        if tcp is not None and command:
            raise ConfigError("ready_when: give tcp or command, not both.")
        if command:
            if not command[0].startswith("/"):
                raise ConfigError(f"ready_when: command begins with {command[0]!r}. Give the program's absolute path.")
            return cls(command=tuple(command))
        match = _ADDRESS.fullmatch(str(tcp))
        if match is None or not 0 < int(match.group(3)) < 65536:
            raise ConfigError(f"ready_when: tcp is {tcp!r}. Give host:port, [IPv6 address]:port, or a port of 127.0.0.1.")
        return cls(address=(match.group(1) or match.group(2) or "127.0.0.1", int(match.group(3))))

    def __str__(self) -> str:
        return f"TCP {self.address[0]} port {self.address[1]}" if self.address else " ".join(self.command)

    def answers(self, runner: Runner, timeout: float) -> bool:
        """Ask once, for at most `timeout` seconds."""
        if self.address is not None:
            try:
                socket.create_connection(self.address, timeout=timeout).close()
            except OSError:
                return False
            return True
        try:
            return runner.run(self.command, timeout=timeout).rc == 0
        except CommandError:
            return False


class Failed(StateError):
    """The job was seen not to hold; `service` is the last that was seen of it."""

    def __init__(self, message: str, service: Service | None) -> None:
        super().__init__(message)
        self.service = service


class Life:
    """Follows one job from print to print and tells whether it holds, has ended well, or will not come up.

    kind: of `_launchd_plan`. runs: how often it had run before it was started (None: freshly loaded).
    """

    def __init__(self, kind: str, ready: Ready | None, runs: int | None) -> None:
        self.kind = kind
        self.ready = ready
        self.fresh = runs is None
        self.base = runs or 0
        self.pid: int | None = None
        self.since = 0.0
        self.deaths = 0
        self.counted = 0

    def see(self, service: Service, now: float) -> bool:
        """Note what print showed at `now`; True when the job holds (a readiness check is the caller's)."""
        self._count(service, now)
        if service.running:
            return self.kind == ON_DEMAND or self.ready is not None or self._outlived(service, now)
        if self.kind == ON_DEMAND:
            return True
        if self._ended_well(service):
            return True
        self._judge(service)
        return False

    def not_spawned(self, service: Service) -> bool:
        """Whether a job that should have been started at load never was."""
        idle = not service.running and service.state != "spawn scheduled"
        return self.kind != ON_DEMAND and idle and self.pid is None and not self._ended(service)

    def _count(self, service: Service, now: float) -> None:
        if service.running and service.pid is not None and service.pid != self.pid:
            self.pid, self.since = service.pid, now
            self.counted += 1
        runs = max((service.runs or 0) - self.base, self.counted)
        self.deaths = runs - 1 if service.running else runs

    def _outlived(self, service: Service, now: float) -> bool:
        window = THROTTLE if service.minimum_runtime is None else service.minimum_runtime
        if self.deaths >= DEATHS:
            raise Failed(f"crash loop: {self.deaths} processes of it ended within the throttle window of {window} s", service)
        return service.pid is not None and now - self.since >= window

    def _ended(self, service: Service) -> bool:
        # Whether launchd counts a run whose process it could not make is not recorded, so an exit counts too.
        exited = service.last_exit_code is not None or service.last_signal is not None
        return self.deaths > 0 or (self.fresh and exited)

    def _ended_well(self, service: Service) -> bool:
        return self.kind in (ONCE, UNTIL_SUCCESS) and service.last_exit_code == 0 and self._ended(service)

    def _judge(self, service: Service) -> None:
        if service.last_exit_code == EX_CONFIG and self._ended(service):
            raise Failed("launchd could not set up its process", service)
        if self.kind == ONCE and self._ended(service):
            raise Failed("its process ended", service)
        if self.kind in (CONTINUOUS, UNTIL_SUCCESS) and self.deaths >= (DEATHS if self.ready is None else DEATHS_UNREADY):
            raise Failed(f"crash loop: {self.deaths} processes of it ended one after the other", service)
