# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A builder of a test file's own inside a stand-in: real Nix, launchd's stand-in, a real VM, and ways to do it harm."""

from __future__ import annotations

import contextlib
import os
import plistlib
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder, _builder_plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest, ssh_argv
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_slots import busy
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import layout_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

PACKAGE = "path:/opt/lab/builder#darwin.linux-builder"
STOCK_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"
NIX = "/nix/var/nix/profiles/default/bin"
BOOT_TIMEOUT = 300  # seconds for a boot under emulation on a busy machine
PATIENCE = 120.0  # seconds for launchd and QEMU to come or go


def parameters(directory: Path, name: str, port: int) -> dict[str, t.Any]:
    """Options of builder_vm for a builder of this name with its files below `directory`, and its client key."""
    key = str(directory / "key")
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return {
        "state": "running",
        "package": PACKAGE,
        "update": False,
        "profile": f"/nix/var/nix/profiles/{name}",
        "working_directory": str(directory / f"lib/{name}"),
        "memory_mib": 1024,
        "cores": 1,
        "disk_mib": 3072,
        "host_address": "127.0.0.1",
        "port": port,
        "accept_any_address": False,
        "client_key": key,
        "public_host_key": STOCK_KEY,
        "label": f"org.example.{name}",
        "log_path": str(directory / f"{name}.log"),
        "ca_file": None,
        "stop_timeout": 60,
        "timeout": BOOT_TIMEOUT,
        "uri": "ssh-ng://builder@linux-builder",
        "drain_timeout": 60,
        "force": False,
        "prove": True,
        "keep_generations": 3,
        "keep_data": False,
    }


def forget(profile: str) -> None:
    """Remove a profile with its generations."""
    for path in (profile, *generation_links(profile)):
        if os.path.islink(path):
            os.unlink(path)


class Mac:
    """The builder `name` on `port`, and what the tests do to it; `changes` are options of builder_vm."""

    def __init__(self, directory: Path, name: str, port: int, **changes: t.Any) -> None:
        self.directory = directory
        self.port = port
        self.params = {**parameters(directory, name, port), "public_host_key": guest_key(), **changes}
        self.key = self.params["client_key"]
        self.label = self.params["label"]
        self.plist = f"/Library/LaunchDaemons/{self.label}.plist"
        self.layout = layout_from(self.params)
        self.launchctl = Launchctl(Runner())

    def run(self, progress: Progress = SILENT, **changes: t.Any) -> _builder.Outcome:
        """One run of the module."""
        return _builder.execute({**self.params, **changes}, False, progress)

    def variant(self, word: str) -> str:
        """A package whose guest has `word` among its kernel's parameters; it needs nothing that is built on Linux."""
        flake = self.directory / f"flake-{word.replace('=', '-')}"
        if not flake.exists():
            subprocess.run(["/bin/cp", "-R", "/opt/lab/builder", str(flake)], check=True)
            text = (flake / "vm.nix").read_text(encoding="utf-8")
            assert text.count("console=ttyS0 quiet") == 1
            (flake / "vm.nix").write_text(text.replace("console=ttyS0 quiet", f"console=ttyS0 quiet {word}"), encoding="utf-8")
        return f"path:{flake}#darwin.linux-builder"

    def load(self, definition: dict[str, t.Any]) -> None:
        """Start the job by hand, with nothing that waits for it or puts it right."""
        Path(self.plist).write_bytes(plistlib.dumps(definition))
        os.chmod(self.plist, 0o644)
        self.launchctl.checked(self.launchctl.bootstrap("system", self.plist))

    def unload(self) -> None:
        """Boot the job out and wait until it and its VM are gone."""
        self.launchctl.bootout(f"system/{self.label}")
        wait_for(lambda: self.launchctl.print_service(f"system/{self.label}") is None)
        if os.path.exists(self.plist):
            os.unlink(self.plist)

    def runner(self) -> int:
        """Process id of the runner; 0 while there is none."""
        service = self.launchctl.print_service(f"system/{self.label}")
        return int(service.pid or 0) if service else 0

    def vm(self) -> int:
        """Process id of QEMU or vzvm as the runner recorded it."""
        return int(Path(self.layout.state_directory, "vm.pid").read_text(encoding="utf-8"))

    def vms(self) -> list[int]:
        """Every QEMU on our disk, whoever started it."""
        return processes(lambda argv: argv[0].endswith("qemu-system-x86_64") and any(self.layout.disk in word for word in argv))

    def ssh(self, command: str) -> list[str]:
        """The words of an ssh call into the guest."""
        return ssh_argv(Guest(self.layout, "127.0.0.1", self.port, self.key), command)

    def ask(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest, whatever becomes of it."""
        return subprocess.run(self.ssh(command), capture_output=True, text=True, timeout=120, check=False)

    def guest(self, command: str) -> str:
        """What a command in the guest prints."""
        done = self.ask(command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def boot_id(self) -> str:
        return self.guest("cat /proc/sys/kernel/random/boot_id")

    def link(self) -> _builder_plan.Generation:
        """The profile's generation."""
        return _builder_plan.read_generation(self.layout.profile)

    def log(self) -> str:
        try:
            return Path(self.layout.log_path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def building(self) -> t.Iterator[None]:
        """The lock that Nix holds while it builds in this VM."""
        directory = Path("/nix/var/nix/current-load")
        directory.mkdir(exist_ok=True)
        slot = directory / "ssh-ng:__builder@linux-builder-0"
        with subprocess.Popen(["/usr/bin/flock", "--no-fork", str(slot), "/bin/sleep", "600"]) as build:
            try:
                wait_for(lambda: busy(self.params["uri"]))
                yield
            finally:
                build.kill()
        wait_for(lambda: not busy(self.params["uri"]))

    def settled(self) -> None:
        """All belongs together, nothing is left over, and one more run changes nothing."""
        again = self.run()
        assert not again.changed, again.after
        assert again.result["ready"]
        assert again.result["phases"] == []
        assert self.link().store_path == again.result["store_path"]
        assert _builder_plan.read_record(self.layout)["store_path"] == again.result["store_path"]
        assert not os.path.lexists(self.layout.journal)
        assert not os.path.lexists(self.layout.staged)
        assert len(self.vms()) == 1

    def close(self) -> None:
        """Leave nothing behind."""
        self.unload()
        for pid in self.vms():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.vms())
        self.run(state="absent")


def guest_key() -> str:
    """The public host key of the lab's guest, which is the lab's own and not STOCK_KEY."""
    (archive,) = Path("/nix/store").glob("*-rootfs.tar")
    argv = ["/usr/bin/tar", "-xOf", str(archive), "./etc/ssh/ssh_host_ed25519_key.pub"]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode()


def processes(wanted: t.Callable[[list[str]], bool]) -> list[int]:
    """Numbers of the processes whose arguments are as wanted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if wanted(argv) and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: t.Callable[[], t.Any], seconds: float = PATIENCE) -> t.Any:
    """Poll until the condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.1)
