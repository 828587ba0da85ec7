# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Builders that somebody else set up on this Mac: by hand after the nixpkgs manual, or with nix-darwin's module.

Told by three things, the surest first: a VM that runs, a launchd daemon that runs one, and a disk that lies beside the key
pair of `create-builder`. Processes are started only where there is some sign: one ps(1) for the VM, and one launchctl for
each daemon's property list that is found.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_port import descends
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import decode

DAEMONS = "/Library/LaunchDaemons"
NIX_DARWIN = "org.nixos.linux-builder"
# Jobs of other tools that run a Linux builder, and whose they are.
OTHER_BUILDERS = {
    NIX_DARWIN: "nix-darwin (nix.linux-builder)",
    "org.nixos.nixos-vm-based-linux-builder": "Determinate's nix-darwin module",
}
# Where nix-darwin kept it, now and before April 2025.
DIRECTORIES = ("/var/lib/linux-builder", "/var/lib/darwin-builder")
DISK = "nixos.qcow2"
KEY = "keys/builder_ed25519"
INSTALLED_KEY = "/etc/nix/builder_ed25519.pub"
PS = "/bin/ps"

_OUR_MARK = b"LINUX_BUILDER_DIGEST"
_PROGRAM = re.compile(r"create-builder|run-builder|run-nixos-vm|darwin[.-](?:linux-)?builder|linux-builder-start|macos-builder")
_DRIVE = re.compile(r"file=(/[^,]*/nixos\.qcow2)(?:,|\s|$)")
_FORWARD = re.compile(r"hostfwd=tcp:[^:,]*:(\d+)-[^:,]*:22\b")


@dataclasses.dataclass(frozen=True)
class Found:
    """A builder of somebody else's. directory: its working directory. disk: its data disk, None where none was made yet.

    owner: who set it up, in words. pid, port: of the VM, None while none runs. plist, label: of its launchd daemon, if any.
    """

    owner: str
    directory: str
    disk: str | None = None
    pid: int | None = None
    port: int | None = None
    plist: str | None = None
    label: str | None = None
    loaded: bool = False

    @property
    def rank(self) -> int:
        """How sure it is that this is the one in use: 2 a VM runs, 1 a daemon would run it, 0 only files."""
        return 2 if self.pid is not None else 1 if self.plist is not None else 0

    @property
    def words(self) -> str:
        """For a message."""
        how = f"process {self.pid}" if self.pid else f"job {self.label}" if self.label else "not running"
        return f"the builder of {self.owner} in {self.directory} ({how})"


@dataclasses.dataclass(frozen=True)
class Machine:
    """A running VM: its process, disk, forwarded port, and the table of parents (pid -> parent's pid)."""

    pid: int
    disk: str
    port: int | None
    parents: t.Mapping[int, int]


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A property list that runs a builder. directory: its WorkingDirectory, None where it names none."""

    path: str
    label: str
    directory: str | None


class Seeker:
    """Looks for builders of others. label, working_directory: this collection's own. root: another root, for tests only."""

    def __init__(self, runner: Runner, label: str, working_directory: str, root: str = "/") -> None:
        self.runner = runner
        self.launchctl = Launchctl(runner)
        self.label = label
        self.working_directory = working_directory
        self.root = root

    def find(self, directory: str = "") -> list[Found]:
        """What is there, only the surest kind. directory: where the user says it is, '' to look everywhere.

        Nothing where this collection's own builder is: that one is not to be adopted.
        """
        if os.path.exists(self._inside(os.path.join(self.working_directory, "builder.json"))):
            return []
        daemons = self._daemons()
        # By hand or not, whoever ran create-builder has its key there. A Mac without any sign costs no process.
        hint = daemons or directory or os.path.exists(self._inside(INSTALLED_KEY))
        machines = self.machines() if hint else []
        found = [self._running(machine, daemons) for machine in machines]
        known = {builder.plist for builder in found}
        found += [self._stopped(daemon) for daemon in daemons if daemon.path not in known]
        known_directories = {builder.directory for builder in found}
        found += [builder for builder in self._idle(directory) if builder.directory not in known_directories]
        if directory:
            found = [builder for builder in found if _same(builder.directory, directory)]
        best = max((builder.rank for builder in found), default=0)
        return [builder for builder in found if builder.rank == best]

    # -- running -------------------------------------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        """Builders' VMs that run now, without this collection's own."""
        try:
            # One -o each: BSD's ps takes everything behind the first `=` for the text of that header.
            done = self.runner.run([PS, "-axww", "-o", "pid=", "-o", "ppid=", "-o", "args="], timeout=30)
        except CommandError:
            return []
        mine = os.path.join(self.working_directory, "run-builder")
        return [machine for machine in parse_machines(done.stdout) if not self._is_ours(machine, mine)]

    def _is_ours(self, machine: Machine, runner: str) -> bool:
        return machine.disk == os.path.join(self.working_directory, DISK) and os.path.exists(self._inside(runner))

    def _running(self, machine: Machine, daemons: t.Sequence[Daemon]) -> Found:
        directory = os.path.dirname(machine.disk)
        for daemon in daemons:
            pid = self._pid(daemon.label)
            if pid is not None and descends(machine.pid, pid, machine.parents):
                owner = OTHER_BUILDERS.get(daemon.label, "somebody who wrote a launchd daemon for it")
                return Found(owner, directory, machine.disk, machine.pid, machine.port, daemon.path, daemon.label, True)
        return Found("somebody who started it by hand", directory, machine.disk, machine.pid, machine.port)

    def _pid(self, label: str) -> int | None:
        try:
            service = self.launchctl.print_service(f"system/{label}")
        except LinuxBuilderError:
            return None
        return service.pid if service is not None else None

    # -- launchd daemons -----------------------------------------------------------------------------------------

    def _daemons(self) -> list[Daemon]:
        directory = self._inside(DAEMONS)
        try:
            names = sorted(name for name in os.listdir(directory) if name.endswith(".plist"))
        except OSError:
            return []
        found = (self._daemon(os.path.join(directory, name), f"{DAEMONS}/{name}") for name in names)
        return [daemon for daemon in found if daemon is not None]

    def _daemon(self, path: str, shown: str) -> Daemon | None:
        try:
            content = _files.read(os.path.realpath(path)).content or b""
            if b"builder" not in content or _OUR_MARK in content:
                return None
            data = decode(path, content)
        except LinuxBuilderError:
            return None
        return parse_daemon(shown, data, self.label)

    def _stopped(self, daemon: Daemon) -> Found:
        owner = OTHER_BUILDERS.get(daemon.label, "somebody who wrote a launchd daemon for it")
        places = (daemon.directory,) if daemon.directory else DIRECTORIES
        directory = next((place for place in places if self._disk(place)), places[0])
        try:
            loaded = self.launchctl.print_service(f"system/{daemon.label}") is not None
        except LinuxBuilderError:
            loaded = False
        return Found(owner, directory, self._disk(directory), plist=daemon.path, label=daemon.label, loaded=loaded)

    # -- files only ----------------------------------------------------------------------------------------------

    def _idle(self, directory: str) -> t.Iterator[Found]:
        """A disk beside the private key that create-builder leaves there: a disk alone may be any NixOS VM's."""
        homes = self._inside("/Users")
        users = sorted(os.listdir(homes)) if os.path.isdir(homes) else []
        places = [directory] if directory else [*DIRECTORIES, "/var/root", *(f"/Users/{name}" for name in users)]
        for place in dict.fromkeys(places):
            disk = self._disk(place)
            if disk is not None and (directory or os.path.exists(self._inside(os.path.join(place, KEY)))):
                yield Found("somebody who started it by hand, or of nix-darwin,", place, disk)

    def _disk(self, directory: str) -> str | None:
        disk = os.path.join(directory, DISK)
        return disk if os.path.isfile(self._inside(disk)) else None

    def _inside(self, path: str) -> str:
        return path if self.root == "/" else os.path.join(self.root, path.lstrip("/"))


def resumed(adoption: t.Mapping[str, t.Any], machines: t.Iterable[Machine]) -> Found:
    """What an interrupted adoption had found, with the process that runs now, if any."""
    disk = adoption["disk"]
    found = Found(
        owner=adoption["owner"],
        directory=adoption["directory"],
        disk=disk["from"] if disk else None,
        port=adoption["port"],
        plist=adoption["plist"],
        label=adoption["label"],
        loaded=bool(adoption["loaded"]),
    )
    running = next((machine for machine in machines if machine.disk == found.disk), None)
    return found if running is None else dataclasses.replace(found, pid=running.pid, port=running.port)


def parse_machines(text: str) -> list[Machine]:
    """Builders' VMs in the output of `ps -o pid= -o ppid= -o args=`: QEMU with that disk, the keys and an ssh forward."""
    rows = [line.split(None, 2) for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[0].isdecimal() and row[1].isdecimal()]
    parents = {int(row[0]): int(row[1]) for row in rows}
    found = []
    for pid, _parent, command in rows:
        drive, forward = _DRIVE.search(command), _FORWARD.search(command)
        is_qemu = os.path.basename(command.split()[0]).startswith("qemu-system-")
        if is_qemu and drive and forward and "mount_tag=keys" in command:
            found.append(Machine(int(pid), drive[1], int(forward[1]), parents))
    return found


def parse_daemon(path: str, data: t.Any, own_label: str) -> Daemon | None:
    """A property list if it runs a builder of somebody else's."""
    if not isinstance(data, dict) or not isinstance(data.get("Label"), str) or data["Label"] == own_label:
        return None
    arguments = [data.get("Program", ""), *(data.get("ProgramArguments") or [])]
    if data["Label"] not in OTHER_BUILDERS and not any(_PROGRAM.search(str(word)) for word in arguments):
        return None
    directory = data.get("WorkingDirectory")
    return Daemon(path, data["Label"], os.path.normpath(directory) if isinstance(directory, str) else None)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
