# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two fleets of light stand-ins, one for the collection and one for the baseline: start, first state, counters."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import typing as t
import uuid

from nixmaclab import core as lab
from nixmaclab import engine, guest, image, macs, processes

from .core import BENCH, CACHE, BenchError

PACKAGE = "path:/opt/lab/builder#darwin.linux-builder"
INVENTORY = CACHE / "inventory.json"
_FOLDERS = CACHE / "macs"
_ACCOUNTS = CACHE / "accounting"
_READY_SECONDS = 120
_SHORT = {"collection": "own", "baseline": "base"}

# What both ways leave behind, but for the closure in the store: that is the image which is present at a first converge.
_UNDO = """\
cp -p /var/db/bench-nix.conf /etc/nix/nix.conf
for label in org.nixmac.linux-builder org.example.linux-builder; do
    /bin/launchctl bootout "system/$label" > /dev/null 2>&1 || true
    /bin/launchctl enable "system/$label" > /dev/null 2>&1 || true
    rm -f "/Library/LaunchDaemons/$label.plist" "/etc/newsyslog.d/$label.conf"
done
i=0
while /usr/bin/pgrep -f '[l]ight-guest' > /dev/null && [ "$i" -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
rm -rf /var/lib/linux-builder* /var/log/linux-builder* /etc/nix/builder_ed25519* /etc/nix/machines
rm -f /etc/ssh/ssh_config.d/100-* /nix/var/nix/profiles/linux-builder*
# What the collection remembers of the Mac: whose files are its own, what the Nix daemon started with.
rm -rf /var/db/nixmac.linux_builder
"""

# A Mac's Nix daemon has long run with the nix.conf that the Mac has. Where both are about as old as each other, nobody can tell
# whether it read that file, and it is restarted once more.
_FRESH = """\
while [ $(($(date +%s) - $(stat -c %Z /etc/nix/nix.conf))) -lt 3 ]; do sleep 0.1; done
/bin/launchctl kickstart -k system/org.nixos.nix-daemon > /dev/null 2>&1
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A stand-in that runs: process id of its launchd on this machine, its address."""

    name: str
    pid: int
    address: str

    @property
    def container(self) -> str:
        """Its name for the engine."""
        return f"nixmac-{self.name}"

    @property
    def account(self) -> pathlib.Path:
        """The file in which the kernel writes down its processes."""
        return _ACCOUNTS / self.name

    def enter(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script as root inside, without the engine and without ssh."""
        argv = ["nsenter", "--target", str(self.pid), "--all", "/bin/sh", "-c", script]
        return lab.run(argv, check=check, capture=True)

    def traffic(self) -> tuple[int, int]:
        """(received, sent) bytes of its network."""
        return parse_traffic(pathlib.Path(f"/proc/{self.pid}/net/dev").read_text(encoding="utf-8"))


def parse_traffic(text: str) -> tuple[int, int]:
    """(received, sent) bytes out of /proc/net/dev, its own loopback left out."""
    received = sent = 0
    for name, numbers in re.findall(r"^\s*(\S+):\s*(.*)$", text, re.MULTILINE):
        if name != "lo":
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def names(contender: str, count: int) -> list[str]:
    """Names of the first hosts of a contender's fleet."""
    return [f"bench-{_SHORT.get(contender, _SHORT['collection'])}-{number:02}" for number in range(1, count + 1)]


def build() -> str:
    """Name of the image: the lab's with a light guest."""
    base = image.build()
    total = hashlib.sha256(base.encode())
    for path in sorted((BENCH / "image").iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    name = f"{lab.IMAGE}-bench:{total.hexdigest()[:16]}"
    if not engine.image_exists(name):
        words = ["--layers"] if lab.ENGINE == "podman" else []
        arguments = ["--build-arg", f"BASE={base}", "--network", "host", "--tag", name]
        engine.call("build", *words, *arguments, os.fspath(BENCH / "image"), log=CACHE / "log/image.log")
    return name


class Fleet:
    """The hosts of one contender."""

    def __init__(self, contender: str) -> None:
        self.contender = contender
        self.hosts: list[Host] = []
        # What the one setting that is changed stands at; None: as it comes.
        self.setting: int | None = None

    def grow(self, count: int) -> None:
        """Have at least so many hosts. Those that join others are copies of the first, so that they are converged as it is."""
        wanted = [name for name in names(self.contender, count) if name not in {host.name for host in self.hosts}]
        if not wanted:
            return
        made = build()
        if self.hosts:
            made = f"{made}-{self.contender}"
            engine.call("commit", "--quiet", self.hosts[0].container, made, capture=True)
        engine.network()
        copies = bool(self.hosts)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.hosts += pool.map(lambda name: start(name, made), wanted)
        if not copies:
            self._renew_daemons()
        for host in self.hosts if copies else ():
            _wait(host, _LISTENS.format(port=31022))

    def undo(self) -> None:
        """Take all of them back to before a first converge, the closure in the store left in place."""
        self._everywhere(_UNDO)
        self.setting = None
        self._renew_daemons()

    def _renew_daemons(self) -> None:
        self._everywhere(_FRESH)
        for host in self.hosts:
            _wait(host)

    def _everywhere(self, script: str) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in pool.map(lambda host: host.enter(script), self.hosts):
                done.check_returncode()


def start(name: str, image_name: str, light: bool = True) -> Host:
    """One stand-in, made anew. light: with a light guest."""
    container = f"nixmac-{name}"
    mac = dataclasses.replace(macs.known()["mac-a"], name=name)
    folder = _FOLDERS / name
    macs.write_folder(mac, folder)
    engine.call("rm", "--force", container, check=False, capture=True)
    words = ["--detach", "--name", container, "--hostname", name, "--network", engine.network(), "--stop-timeout", "1"]
    engine.call("run", *words, "--volume", f"{folder}:/lab/mac:ro", image_name, capture=True)
    shape = "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}"
    pid, address = (engine.output("container", "inspect", "--format", shape, container) or "0 -").split()
    host = Host(name, int(pid), address)
    _wait(host)
    if light:
        _guest_of(host)
    _account(host)
    return host


_LISTENS = "grep -q ':{port:04X} .* 0A ' /proc/net/tcp"
_READY = "test -S /nix/var/nix/daemon-socket/socket && " + _LISTENS.format(port=22)


def _wait(host: Host, ready: str = _READY) -> None:
    """Until its sshd and its Nix daemon are there, or what else `ready` asks for."""
    deadline = time.monotonic() + _READY_SECONDS
    while host.enter(ready, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise BenchError(f"{host.name} is not ready after {_READY_SECONDS} s. Look: podman logs nixmac-{host.name}")
        time.sleep(0.2)


def _guest_of(host: Host) -> None:
    """What a container may not mount itself: the light guest's /proc and /dev, and a boot id of its own, as a VM has."""
    root, boot, kept = "/opt/lab/guest", "/run/lab-guest-boot-id", "/var/db/bench-nix.conf"
    host.enter(
        f"set -e; mount --bind /proc {root}/proc; mount --rbind /dev {root}/dev; echo {uuid.uuid4()} > {boot}; "
        f"mount --bind {boot} {root}/proc/sys/kernel/random/boot_id; test -e {kept} || cp -p /etc/nix/nix.conf {kept}"
    )


def _account(host: Host) -> None:
    """Have the kernel write down the processes of its namespace; only from inside that can be switched on."""
    _ACCOUNTS.mkdir(parents=True, exist_ok=True)
    host.account.write_bytes(b"")
    try:
        processes.account(str(host.pid), os.fspath(host.account))
    except lab.LabError as problem:
        raise BenchError(f"Does this kernel keep accounts of processes (CONFIG_BSD_PROCESS_ACCT_V3)? {problem}") from problem


def write_inventory(fleets: t.Iterable[Fleet], forks: int) -> None:
    """Inventory and settings of Ansible, the same for all contenders."""
    public = (guest.host_key() / "ssh_host_ed25519_key.pub").read_bytes()
    options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "LogLevel=ERROR"]
    facts = {
        "ansible_user": "admin",
        "ansible_become_password": macs.PASSWORD.read_text(encoding="utf-8").strip(),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": os.fspath(macs.KEY),
        "ansible_ssh_common_args": " ".join(f"-o {option}" for option in options),
        "linux_builder_package": PACKAGE,
        "linux_builder_public_host_key": base64.b64encode(public).decode(),
    }
    hosts = {host.name: {"ansible_host": host.address} for fleet in fleets for host in fleet.hosts}
    descriptor = os.open(INVENTORY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"all": {"hosts": hosts, "vars": facts}}, stream)
    folder = CACHE / "collections" / "ansible_collections" / "nixmac"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "linux_builder"
    if not link.is_symlink():
        link.symlink_to(BENCH.parent)
    settings = (
        f"[defaults]\ncollections_path = {CACHE / 'collections'}\nhome = {CACHE / 'ansible-home'}\nforks = {forks}\n"
        "timeout = 60\nhost_key_checking = False\ngathering = explicit\ninject_facts_as_vars = False\n"
        "retry_files_enabled = False\n[ssh_connection]\npipelining = True\n"
    )
    (CACHE / "ansible.cfg").write_text(settings, encoding="utf-8")


def remove() -> None:
    """All stand-ins of the benchmark."""
    listed = (engine.output("ps", "--all", "--format", "{{.Names}}") or "").split()
    end([name for name in listed if name.startswith("nixmac-bench-")])
    shutil.rmtree(_FOLDERS, ignore_errors=True)


def end(containers: t.Sequence[str]) -> None:
    """Remove these stand-ins without giving them time to shut down, of which nothing is measured."""
    if containers:
        engine.call("kill", *containers, check=False, capture=True)
        engine.call("rm", "--force", *containers, check=False, capture=True)
