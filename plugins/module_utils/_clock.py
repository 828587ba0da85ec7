# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""How far the guest's clock is from the Mac's.

The stock image has no time synchronisation, and a guest lags by what the Mac slept; beyond some minutes TLS fails in the
guest. `builder` may do nothing there but power off, so the cure is a restart: the guest takes the Mac's time at boot.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest, argv
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

DEFAULT_LIMIT = 60  # seconds
_TIMEOUT = 30.0  # seconds
_NO_CONNECTION = 255  # ssh's own failure; any other status is about the guest's Nix daemon


class Skew(t.NamedTuple):
    """seconds: guest minus Mac, negative when the guest lags. uncertainty: seconds, half the way there and back and more."""

    seconds: float
    uncertainty: float

    @property
    def least(self) -> float:
        """How far off the guest is at least, whatever the measurement missed; not negative."""
        return max(0.0, abs(self.seconds) - self.uncertainty)

    def exceeds(self, limit: float) -> bool:
        """Whether the clock is off by more than `limit` seconds for certain; a limit of 0 is none."""
        return limit > 0 and self.least > limit

    @property
    def words(self) -> str:
        """For a message or a plan's reason."""
        return f"the guest's clock is {abs(self.seconds):.0f} s {'behind' if self.seconds < 0 else 'ahead of'} the Mac's"


def measure(guest: Guest, runner: Runner, *, now: t.Callable[[], float] = time.time) -> Skew | None:
    """Ask the guest for its time over ssh; None when it does not answer."""
    before = now()
    try:
        done = runner.run(argv(guest), timeout=_TIMEOUT)
    except CommandError:
        return None
    return judge(done, before, now())


def judge(done: Completed, before: float, after: float) -> Skew | None:
    """The skew from the time that the guest printed between two readings of the Mac's clock; None when it printed none.

    The guest read its clock at some moment in between, and cut the fraction of its second off.
    """
    answer = (done.stdout.split() or [""])[0]
    if done.rc == _NO_CONNECTION or not (answer.isascii() and answer.isdigit()) or after < before:
        return None
    seconds = int(answer) + 0.5 - (before + after) / 2
    return Skew(round(seconds, 1), round((after - before) / 2 + 0.5, 1))


def restart_reason(skew: Skew | None, limit: float) -> str | None:
    """Why the guest should be restarted, None when it should not: unknown skew is no reason."""
    if skew is None or not skew.exceeds(limit):
        return None
    return f"{skew.words}, more than the {limit:g} s of max_clock_skew"
