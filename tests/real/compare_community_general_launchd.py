# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""community.general.launchd and launchd_service side by side on the launchd stand-in: changed, seconds, processes.

compare_community_general_launchd.py <directory that holds ansible_collections/community/general> [era]

The directory may come from an installed `ansible` package; nothing of it is kept here. Needs root and ansible-core.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.tests.real.test_launchd_service_standin import Mac

LABEL = "org.example.web"
SLEEPER = {"ProgramArguments": ["/bin/sleep", "600"], "KeepAlive": True, "RunAtLoad": True, "ThrottleInterval": 1}
FLAKY = {"ProgramArguments": ["/bin/sh", "-c", "test -e $FLAG && exec sleep 600; touch $FLAG; exit 1"], "KeepAlive": True}
CRASHING = {
    "ProgramArguments": ["/bin/sh", "-c", "sleep 0.2; exit 0"],
    "KeepAlive": True,
    "RunAtLoad": True,
    "ThrottleInterval": 1,
}


class Outcome(t.NamedTuple):
    """changed: true, false or `failed`."""

    changed: t.Any
    seconds: float
    processes: int


class Old:
    """community.general.launchd, which finds the property list below HOME and launchctl in PATH."""

    def __init__(self, mac: Mac, collections: str) -> None:
        self.mac = mac
        self.module = os.path.join(collections, "ansible_collections/community/general/plugins/modules/launchd.py")
        self.bin, self.count = mac.work("bin"), mac.work("calls")
        os.mkdir(self.bin)
        with open(os.path.join(self.bin, "launchctl"), "w", encoding="utf-8") as handle:
            handle.write(f'#!/bin/sh\necho x >> {self.count}\nexec {mac.launchctl} "$@"\n')
        os.chmod(os.path.join(self.bin, "launchctl"), 0o755)

    def lay(self, definition: dict[str, t.Any]) -> None:
        """What a template task would do."""
        self.mac.plist(LABEL, os.path.join(self.mac.root, "Library/LaunchAgents"), **definition)

    def run(self, state: str) -> Outcome:
        """One run of the module in a process of its own."""
        before, calls = time.monotonic(), len(self.mac.read("calls").split())
        path = os.pathsep.join([self.bin, os.environ["PATH"]])
        words = json.dumps({"ANSIBLE_MODULE_ARGS": {"name": LABEL, "state": state}})
        environment = dict(os.environ, HOME=self.mac.root, PATH=path, PYTHONPATH=os.pathsep.join(sys.path))
        done = subprocess.run([sys.executable, self.module, words], env=environment, capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
        changed = "failed" if answer.get("failed") else answer["changed"]
        return Outcome(changed, time.monotonic() - before, len(self.mac.read("calls").split()) - calls)


class New:
    """launchd_service with the same property list as its definition."""

    def __init__(self, mac: Mac) -> None:
        self.mac = mac
        self.definition: dict[str, t.Any] = {}

    def lay(self, definition: dict[str, t.Any]) -> None:
        """Nothing to do: the module writes it."""
        self.definition = definition

    def run(self, state: str) -> Outcome:
        """One run of the module's core."""
        before = time.monotonic()
        try:
            changed: t.Any = self.mac.run(LABEL, self.definition, state=state, ready_when=None).changed
        except LinuxBuilderError:
            changed = "failed"
        return Outcome(changed, time.monotonic() - before, self.mac.runner.started)


def compare(side: Old | New, mac: Mac) -> dict[str, Outcome]:
    """The same steps for both."""
    found = {}
    side.lay(SLEEPER)
    found["first start"] = side.run("started")
    found["no change"] = side.run("started")
    found["restart"] = side.run("restarted")
    mac.run(LABEL, state="stopped")
    flag = mac.work(f"flag{id(side)}")
    side.lay(dict(FLAKY, EnvironmentVariables={"FLAG": flag}, ThrottleInterval=1))
    side.run("started")
    mac.state_is(LABEL, "running", 15)
    found["no change, previous run had failed"] = side.run("started")
    mac.run(LABEL, state="stopped")
    side.lay(CRASHING)
    found["start of a job in a crash loop"] = side.run("started")
    mac.run(LABEL, state="absent")
    return found


def main(collections: str, era: int) -> None:
    """Print a table."""
    root = tempfile.mkdtemp(prefix="ld")
    mac = Mac(root, era=era).start()
    try:
        old, new = compare(Old(mac, collections), mac), compare(New(mac), mac)
    finally:
        mac.stop(timeout=30)
        shutil.rmtree(root)
    for name, before in old.items():
        texts = [f"changed={side.changed!s:6} {side.seconds:5.1f} s {side.processes:3} launchctl" for side in (before, new[name])]
        sys.stdout.write(f"{name:36} {' | '.join(texts)}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 15)
