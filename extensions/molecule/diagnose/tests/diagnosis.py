# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis of the Mac, as a user gets it, and root in its guest for what only root can break there."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import typing as t

import macs
import pytest

# Seconds that the VM gets to answer again: it boots under software emulation here, on a machine busy with tests.
BOOT = 240
FEATURES = ["benchmark", "big-parallel"]
_COMMAND = re.compile(r"`([^`]+)`")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What builder_info told with `deep`. links: name -> link."""

    links: dict[str, dict[str, t.Any]]
    broken: str | None
    report: list[str]
    processes: int

    @property
    def first(self) -> str:
        """`link.cause` to begin with: the first that is broken, else the first that is weak, else nothing."""
        for state in ("broken", "weak"):
            for name, link in self.links.items():
                if link["state"] == state:
                    return f"{name}.{link['cause']}"
        return ""

    @property
    def others(self) -> list[str]:
        """`link.cause` of all that is broken behind the first."""
        return [f"{name}.{link['cause']}" for name, link in self.links.items() if link["state"] == "broken"][1:]

    @property
    def seconds(self) -> float:
        """That looking at the links took."""
        return sum(float(link["seconds"]) for link in self.links.values())


def diagnose(mac: macs.Mac, **options: t.Any) -> Diagnosis:
    """One execution of builder_info."""
    arguments = {"deep": True, "features": FEATURES, **options}
    result = mac.module("nixmac.linux_builder.builder_info", arguments)
    assert result.get("changed") is False, result
    links = {link["name"]: link for link in result["links"]}
    return Diagnosis(links, result["broken"], result["report"], result["processes"])


def verify(mac: macs.Mac) -> dict[str, t.Any]:
    """One execution of builder_verify, which has to pass."""
    result: dict[str, t.Any] = mac.module("nixmac.linux_builder.builder_verify", {"boot_timeout": BOOT})
    assert result.get("verified") is True, result
    return result


def follow(stand_in: macs.StandIn, fix: str) -> list[str]:
    """Do what a fix says: the first of its commands, as an administrator would type it. Returns what was run."""
    commands = _COMMAND.findall(fix)
    assert commands, f"no command in: {fix}"
    if commands[0].startswith("ansible-playbook "):
        played = macs.play(*commands[0].split("nixmac.linux_builder.")[1].split())
        assert played.rc == 0, played.output[-6000:]
    else:
        stand_in.root("/bin/sh", "-c", commands[0])
    return commands[:1]


class Guest:
    """Root in the guest, for faults that only root can make there.

    The guest's Nix trusts `builder`, so a hook of a build starts a shell as root that runs what appears in the directory
    of public keys, which the Mac shares with it. So it also works while the guest's sshd or Nix does not. It says when a
    script is done on the console, which is the log on the Mac.
    """

    KEYS = f"{macs.WORKING_DIRECTORY}/keys"

    def __init__(self, stand_in: macs.StandIn) -> None:
        self._stand_in = stand_in
        self._boot_id = ""
        self._number = int(time.time())

    def root(self, script: str) -> None:
        """Run a script as root in the guest and wait for its end."""
        self._install()
        name = f"{self.KEYS}/fault.{self._number}"
        self._stand_in.root("/bin/sh", "-c", f"cat > {name}.new && mv {name}.new {name}", stdin=script)
        done = f"grep -q 'fault {self._number} done' {macs.LOG} && echo yes || echo no"
        macs.poll(f"{script} in the guest", lambda: "yes" in self._stand_in.root("/bin/sh", "-c", done), 120)
        self._stand_in.root("/bin/rm", name)
        self._number += 1

    def _install(self) -> None:
        if self._boot_id and self._boot_id == self._mac_side_boot():
            return
        hook = (
            f"#!/bin/sh\nsetsid nohup /bin/sh -c 'n={self._number}; while :; do f=/var/keys/fault.$n; "
            'if [ -e $f ]; then /bin/sh $f > /tmp/fault.out 2>&1; echo "fault $n done" > /dev/console; n=$((n+1)); fi; '
            "sleep 0.2; done' > /dev/null 2>&1 < /dev/null &\n"
        )
        expression = (
            f'derivation {{ name = "hook-{time.time_ns()}"; system = "x86_64-linux"; builder = "/bin/sh"; '
            'args = [ "-c" "echo x > $out" ]; allowSubstitutes = false; }'
        )
        script = (
            "cat > /tmp/hook.sh && chmod +x /tmp/hook.sh && nix-build --no-out-link --option substitute false "
            f"--option post-build-hook /tmp/hook.sh -E {macs.shlex.quote(expression)} > /dev/null"
        )
        ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null linux-builder"
        self._stand_in.root("/bin/sh", "-c", f"{ssh} {macs.shlex.quote(script)}", stdin=hook)
        self._boot_id = self._mac_side_boot()

    def _mac_side_boot(self) -> str:
        """The VM's process id: another VM has no helper."""
        return self._stand_in.root("/bin/cat", f"{macs.WORKING_DIRECTORY}/run/vm.pid").strip()


@pytest.fixture(scope="session")
def guest(stand_in: macs.StandIn) -> Guest:
    """Root in the guest."""
    return Guest(stand_in)


def wait_until_sound(mac: macs.Mac) -> None:
    """Diagnose until no link is broken, for as long as a VM may take to boot."""
    last: list[Diagnosis] = []

    def probe() -> bool:
        last[:] = [diagnose(mac)]
        return last[0].broken is None

    try:
        macs.poll("no link is broken", probe, BOOT)
    except AssertionError as exc:
        raise AssertionError("\n".join([str(exc), *last[0].report])) from None


def as_json(value: t.Any) -> str:
    """For messages."""
    return json.dumps(value, indent=1)
