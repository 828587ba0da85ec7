# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests do: playbooks for one Mac of the two, a fleet's key and cache, runs that lose their connection."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import typing as t
from pathlib import Path

import macs

FIRST, SECOND = "mac-a", "mac-b"
OTHER_PORT = 31055  # the second Mac's, from test_2_published on
KEY = "/etc/nix/linux-builder-cache.key"
JOBS = "/var/run/nixmac-linux-builder"
NIX = "/nix/var/nix/profiles/default/bin/nix --extra-experimental-features 'nix-command flakes'"
# A guest that only Linux can build, with a host key of each Mac's own.
CONFIGURED = ("--extra-vars=linux_builder_host_key=per_mac",)


@dataclasses.dataclass
class Cache:
    """The binary cache: its URL, its directory on the controller, and the public key once there is one."""

    url: str
    directory: Path
    public_key: str = ""

    @property
    def options(self) -> list[str]:
        """For ansible-playbook."""
        return [
            *CONFIGURED,
            f"--extra-vars=linux_builder_cache={self.url}",
            f"--extra-vars=linux_builder_cache_public_key={self.public_key}",
        ]

    def narinfos(self) -> list[str]:
        """The texts of all that it has."""
        return [path.read_text() for path in sorted(self.directory.glob("*.narinfo"))]


def gateway() -> str:
    """The controller's address in the network of the stand-ins."""
    (network,) = (macs.ROOT / ".cache" / "lab" / "networks").glob("*.json")
    return str(json.loads(network.read_text())["subnets"][0]["gateway"])


def make_key(stand_in: macs.StandIn) -> str:
    """A new pair on that Mac, as its administrator would make it; returns the public half."""
    make = f"umask 077; {NIX} key generate-secret --key-name fleet-1 > {KEY}; {NIX} key convert-secret-to-public < {KEY}"
    return stand_in.root("/bin/sh", "-c", make).strip()


def play(name: str, mac: str, *arguments: str, **more: str) -> macs.Played:
    """Run a playbook for that Mac alone. more: for its environment."""
    return macs.play(name, f"--limit={mac}", *arguments, mac=mac, **more)


def playing(name: str, mac: str, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """A run that goes on inside the block and is killed at its end, with all that it started."""
    return macs.playing(name, f"--limit={mac}", *arguments, mac=mac)


def jobs(stand_in: macs.StandIn) -> list[dict[str, t.Any]]:
    """The jobs on that Mac: their directory and status."""
    script = f"for f in {JOBS}/*/status.json; do [ ! -e $f ] || {{ echo $f; cat $f; }}; done"
    lines = stand_in.root("/bin/sh", "-c", script).splitlines()
    return [{"path": path, **json.loads(status)} for path, status in zip(lines[::2], lines[1::2])]


def cut(stand_in: macs.StandIn) -> None:
    """Kill every ssh session of the Mac's, as a network that goes away would end them; the listener stays."""
    stand_in.root("/bin/sh", "-c", "pkill -KILL -f '^sshd(-session)?: admin'")
