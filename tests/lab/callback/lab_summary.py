# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback of the demo: what each Mac's verified builds were, and how much the run changed."""

from __future__ import annotations

import os
import threading
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_summary
type: aggregate
short_description: Shows the verified builds of the demo and what the run changed
description:
  - Prints one block for each build that M(nixmac.linux_builder.builder_verify) proved.
  - The last line has the time and the changes.
author: "The nixmac authors (@nixmac)"
"""


BEAT = 15.0


class CallbackModule(CallbackBase):
    """Collects results of builder_verify and prints them when the play is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "lab_summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.start = time.monotonic()
        self.builds: dict[str, list[dict[str, t.Any]]] = {}
        self.task = ("", self.start)
        self.over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        """Show every `BEAT` seconds that a long task still runs."""
        while not self.over.wait(BEAT):
            name, start = self.task
            seconds = time.monotonic() - start
            if name and seconds >= BEAT:
                self._display.display(f"  ... still at it after {seconds:.0f} s: {name}", color="dark gray")

    def _end_task(self) -> None:
        name, start = self.task
        seconds = time.monotonic() - start
        if name and seconds >= 5:
            self._display.display(f"  ({seconds:.0f} s)", color="dark gray")

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Remember what runs since when."""
        self._end_task()
        self.task = (task.get_name(), time.monotonic())

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Keep the builds that a host proved."""
        # Public properties from ansible-core 2.19 on, private ones before.
        values = getattr(result, "result", None) or result._result
        host = (getattr(result, "host", None) or result._host).get_name()
        task = getattr(result, "task", None) or result._task
        if task.action.endswith("builder_verify"):
            self.builds[host] = [build for build in values.get("builds") or [] if not build["features"]]

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Print the builds and the sum of changes; leave both in a file for the demo."""
        self._end_task()
        self.over.set()
        changed = 0
        for host in sorted(stats.processed):
            changed += stats.summarize(host)["changed"]
            for build in self.builds.get(host, []):
                lines = [
                    f"{host}: {build['system']} built in {float(build['seconds']):.1f} s",
                    f"  store path  {build['store_path']}",
                    f"  kernel      {build['kernel']}",
                ]
                self._display.display("\n".join(lines), color="green")
        seconds = time.monotonic() - self.start
        self._display.display(f"changed: {changed}, {seconds:.0f} s", color="yellow" if changed else "green")
        path = os.environ.get("LAB_SUMMARY")
        if path:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(f"{changed} {sum(len(builds) for builds in self.builds.values())}\n")
