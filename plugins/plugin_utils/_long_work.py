# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""The controller's side of work that goes on by itself on the Mac: ask now and then, bear a lost connection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._play_progress import HostStatus

PARAMETER = "_job"  # as in module_utils/_job.py
ANSWER = "still_at_it"

FIRST_WAIT = 7.0  # seconds that the first execution waits on the Mac, so that short work needs no second one
POLL_WAIT = 9.5  # seconds that each further one waits there; with its own start a question takes about 10
PATIENCE = 6  # lost connections in a row that are borne
PAUSE = 10.0  # seconds before the next try

Result = dict[str, t.Any]


class LostConnection(Exception):
    """The Mac could not be reached, or not any more. Its text is that of the connection plugin."""


class LongWork:
    """One task on one host. call: runs the module with these additional arguments; raises LostConnection."""

    def __init__(
        self,
        host: str,
        call: t.Callable[[dict[str, t.Any]], Result],
        report: t.Callable[[HostStatus], None],
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._call = call
        self._report = report
        self._sleep = sleep
        self._clock = clock
        self.polls = 0
        self.picked_up = False
        self._last = HostStatus(host)

    def run(self) -> Result:
        """Until the module has a result. LostConnection when the Mac stays away; the work goes on without us."""
        began = self._clock()
        result = self._ask({"wait": FIRST_WAIT})
        anew = 0
        while ANSWER in result:
            answer = result[ANSWER]
            if answer.get("state") == "gone":
                # Read by another run, or the Mac was restarted. Handed in anew, it finds done what was done.
                anew += 1
                if anew > 2:
                    return {"failed": True, "changed": False, "msg": self._gone()}
                result = self._ask({"wait": POLL_WAIT})
                continue
            self._report(self._status(answer))
            self.polls += 1
            result = self._poll({"wait": POLL_WAIT, "token": answer.get("token")})
        result["work"] = {
            "polls": self.polls,
            "seconds": round(self._clock() - began, 1),
            "picked_up": self.picked_up,
        }
        return result

    def _ask(self, ask: dict[str, t.Any]) -> Result:
        result = self._call({PARAMETER: ask})
        self.picked_up = bool(result.pop("picked_up", False)) or self.picked_up
        arguments = result.get("invocation", {}).get("module_args")
        if isinstance(arguments, dict):
            arguments.pop(PARAMETER, None)
        return result

    def _poll(self, ask: dict[str, t.Any]) -> Result:
        for _missed in range(PATIENCE):
            try:
                return self._ask(ask)
            except LostConnection:
                self._report(HostStatus(**{**vars(self._last), "lost": True}))
                self._sleep(PAUSE)
        return self._ask(ask)

    def _status(self, answer: dict[str, t.Any]) -> HostStatus:
        self._last = HostStatus(
            host=self._host,
            phase=str(answer.get("phase", "")),
            done=int(answer.get("done", 0)),
            total=int(answer.get("total", 0)),
            unit=str(answer.get("unit", "")),
            seconds=float(answer.get("seconds", 0.0)),
        )
        return self._last

    def _gone(self) -> str:
        return (
            f"{self._host}: the work vanished there three times before it had a result; was the Mac restarted, or does another "
            "run ask for the same? Look at its log, then run again."
        )
