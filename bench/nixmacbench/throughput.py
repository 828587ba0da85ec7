# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a real VM builder builds, with the settings of the nixpkgs manual and with the collection's."""

from __future__ import annotations

import json
import time
import typing as t
import uuid

from nixmaclab import engine, image

from . import core, fleet, measure
from .core import BenchError

# cores of the VM, builds at once, seconds between two looks for a free slot: the manual's text has 1 core and "pick 4", and 5
# is what Nix does unasked.
_SETTINGS = {
    "manual": {"linux_builder_cores": 1, "linux_builder_max_jobs": 4, "linux_builder_build_poll_interval": 5},
    # The defaults of a Mac with eight cores, the fewest that Apple silicon has: half of them, and as many builds. Those of a
    # stand-in would be the ones of this machine.
    "collection": {"linux_builder_cores": 4},
    "master": {"linux_builder_cores": 4, "linux_builder_ssh_control_master": True},
}
# Without a program, as the guest's sandbox has none but its shell (bash). It waits and does not compute: all cores of the
# emulated VM are one thread of QEMU.
_SECOND = "read -t 1 -u 3 3<> <(:); echo > $out"
_WORK = {"seconds": (12, _SECOND), "tiny": (40, "echo > $out")}


def expression(count: int, script: str) -> str:
    """That many derivations that never were before and do not depend on each other."""
    mark = uuid.uuid4().hex[:12]
    return (
        f'map (n: derivation {{ name = "bench-{mark}-${{toString n}}"; system = "x86_64-linux"; builder = "/bin/sh"; '
        f'args = [ "-c" "{script}" ]; allowSubstitutes = false; }}) (builtins.genList (n: n) {count})'
    )


def extra_vars(settings: t.Mapping[str, t.Any]) -> list[str]:
    """As JSON, so that numbers and truth keep their type."""
    return ["--extra-vars", json.dumps(settings)]


def _build(host: fleet.Host, count: int, script: str) -> float:
    """Seconds for so many builds, through the Nix daemon."""
    text = expression(count, script)
    program = "NIX_REMOTE=daemon /nix/var/nix/profiles/default/bin/nix-build --no-out-link --max-jobs 0 -E"
    begin = time.monotonic()
    done = host.enter(f"{program} '{text}'", check=False)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        raise BenchError(f"The builds in the VM failed: {done.stderr[-2000:]}")
    if len(done.stdout.split()) != count:
        raise BenchError(f"{len(done.stdout.split())} of {count} builds in the VM")
    return seconds


def run(repetitions: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by settings and kind of work."""
    vm = fleet.Fleet("vm")
    vm.hosts = [fleet.start("bench-vm", image.build(), light=False)]
    fleet.write_inventory([vm], measure.FORKS)
    found: dict[str, dict[str, list[float]]] = {}
    host = vm.hosts[0]
    for name, settings in _SETTINGS.items():
        core.say(f"builds in a real VM: {name}")
        measure.converge(vm, extra=extra_vars(settings))
        found[name] = _repeat(host, repetitions)
    engine.call("kill", "nixmac-bench-vm", check=False, capture=True)
    engine.call("rm", "--force", "nixmac-bench-vm", check=False, capture=True)
    return found


def _repeat(host: fleet.Host, repetitions: int) -> dict[str, list[float]]:
    # Once unmeasured: the first connection to a VM that has just booted takes its time.
    _build(host, 2, _SECOND)
    found: dict[str, list[float]] = {work: [] for work in _WORK}
    for _number in range(repetitions):
        for work in _WORK:
            found[work].append(round(_build(host, *_WORK[work]), 2))
            core.say(f"    {work}: {found[work][-1]:.1f} s")
    return found
