# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a builder builds, with the settings of the nixpkgs manual and with the collection's.

Through a real VM, which is emulated here, and through the light guest, to which a connection is as fast as this machine.
"""

from __future__ import annotations

import json
import time
import typing as t
import uuid

from nixmaclab import image

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
# Both wait and do not compute. In the VM without a program, as its sandbox has none but its shell (bash); the light guest has no
# sandbox, and another shell.
_SECOND = {core.VM: "read -t 1 -u 3 3<> <(:); echo > $out", core.LIGHT: "/bin/sleep 1; echo > $out"}
_TINY = "echo > $out"

# The lab's QEMU runs all virtual processors on one thread, for the sake of boots that never hang. How many a VM has would then
# make no difference, as it does on a Mac, where each is a thread.
_THREADS = "sed -i 's/-accel tcg,thread=single/-accel tcg,thread=multi/w /dev/stdout' /opt/lab/builder/scripts/run-nixos-vm.sh"


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
        raise BenchError(f"The builds failed: {done.stderr[-2000:]}")
    if len(done.stdout.split()) != count:
        raise BenchError(f"{len(done.stdout.split())} of {count} builds")
    return seconds


def run(repetitions: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Seconds by guest, settings and kind of work."""
    return {guest: _through(guest, repetitions) for guest in core.GUESTS}


def _through(guest: str, repetitions: int) -> dict[str, dict[str, list[float]]]:
    light = guest == core.LIGHT
    mac = fleet.Fleet(guest)
    mac.hosts = [fleet.start(f"bench-{guest}", fleet.build() if light else image.build(), light=light)]
    fleet.write_inventory([mac], measure.FORKS)
    found: dict[str, dict[str, list[float]]] = {}
    host = mac.hosts[0]
    if not light and not host.enter(_THREADS).stdout:
        raise BenchError("The lab's VM has no thread=single to replace.")
    for name, settings in _SETTINGS.items():
        core.say(f"builds through the {core.GUESTS[guest]}: {name}")
        measure.converge(mac, extra=extra_vars(settings))
        found[name] = _repeat(host, _SECOND[guest], repetitions)
    fleet.end([host.container])
    return found


def _repeat(host: fleet.Host, second: str, repetitions: int) -> dict[str, list[float]]:
    # Once unmeasured: the first connection to a guest that has just booted takes its time.
    _build(host, 2, second)
    work = {"seconds": (12, second), "tiny": (40, _TINY)}
    found: dict[str, list[float]] = {name: [] for name in core.WORKS}
    for _number in range(repetitions):
        for name in core.WORKS:
            found[name].append(round(_build(host, *work[name]), 2))
            core.say(f"    {name}: {found[name][-1]:.1f} s")
    return found
