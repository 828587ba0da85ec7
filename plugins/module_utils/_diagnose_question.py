# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a diagnosis is asked, and the time that it has."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verify_ssh
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import ALIAS, KEY, LOG, Place

SHARE = 20.0  # seconds that one program gets at most
_LEAST = 0.5  # seconds; with less left nothing is started any more


@dataclasses.dataclass(frozen=True)
class Question(Place):
    """Which builder, and what is expected of it. Nothing here has to be right: that is what is looked at.

    systems, features: that builds ask for; None: what the entry offers. trusted_users: that the Nix daemon shall trust.
    max_clock_skew, budget: seconds.
    """

    key: str = KEY
    alias: str = ALIAS
    public_host_key: str = ""
    log: str = LOG
    systems: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    trusted_users: tuple[str, ...] = ()
    minimum_macos: str = "13.0"
    max_clock_skew: float = 60.0
    budget: float = 60.0

    @property
    def host(self) -> tuple[str, str, str]:
        """(user, host, port) of the URI; ConfigError for none."""
        return _verify_ssh.Target(uri=self.uri, key=self.key).parts()

    @property
    def uses_alias(self) -> bool:
        """Whether the URI's host is a name of the ssh configuration."""
        return self.host[1] == self.alias


class OutOfTime(CommandError):
    """The diagnosis' time is over; what is left is not looked at."""


class BoundedRunner(Runner):
    """Starts programs as long as there is time, and gives none more than its share. clock: seconds."""

    def __init__(self, budget: float, clock: t.Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._end = clock() + budget

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - self._clock()

    def run(
        self,
        argv: t.Sequence[str],
        *,
        timeout: float,
        stdin: str | None = None,
        env: t.Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Completed:
        """As Runner.run, with at most SHARE and what is left of the budget. OutOfTime when that is nothing."""
        left = self.left
        if left < _LEAST:
            raise OutOfTime(f"{argv[0]}: was not started, the time of the diagnosis is over.")
        return super().run(argv, timeout=min(timeout, SHARE, left), stdin=stdin, env=env, cwd=cwd)
