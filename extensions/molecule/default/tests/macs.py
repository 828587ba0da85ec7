# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handles for the tests: the Mac (through Ansible, as a user reaches it), its launchd, its stand-in, and the playbooks.

`Launchd` and `Mac` know nothing of the lab, so they serve against a real Mac too. pytest-testinfra only carries the
commands: its own idea of macOS has no services, and wants BSD's stat, which a stand-in lacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import testinfra

ROOT = Path(__file__).resolve().parents[4]
STATE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = Path(os.environ["LINUX_BUILDER_TEST_INVENTORY"])
NAME = os.environ["LINUX_BUILDER_TEST_MAC"]
# What a scenario gives each run of its tests, as its molecule.yml has it.
VARIABLES = [f"--extra-vars={word}" for word in os.environ.get("LINUX_BUILDER_TEST_VARIABLES", "").split()]

LABEL = "org.nixmac.linux-builder"
PLIST = f"/Library/LaunchDaemons/{LABEL}.plist"
KEY = "/etc/nix/builder_ed25519"
WORKING_DIRECTORY = "/var/lib/linux-builder"
PROFILE = "/nix/var/nix/profiles/linux-builder"
MACHINES = "/etc/nix/machines"
SSH_ALIAS = "/etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf"
LOG = "/var/log/linux-builder.log"
PORT = 31022


def poll(what: str, probe: t.Callable[[], t.Any], seconds: float) -> t.Any:
    """The first true value that `probe` returns; an AssertionError that says `what` was awaited, after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(1)


@dataclasses.dataclass(frozen=True)
class Played:
    """One run of a playbook: exit status, output, and the recap's counters by host."""

    rc: int
    output: str = dataclasses.field(repr=False)
    recap: dict[str, dict[str, int]]

    @classmethod
    def of(cls, rc: int, output: str) -> Played:
        """What ansible-playbook said, standard error in its place."""
        recap = {
            match[1]: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match[2])}
            for match in re.finditer(r"^(\S+)\s+: (ok=.*)$", output, re.MULTILINE)
        }
        return cls(rc, output, recap)

    def says(self, word: str) -> bool:
        """Whether the output has the word. A test asserts this, as pytest would print the output more than once."""
        return word in self.output

    def changed(self) -> int:
        """Changed tasks over all hosts."""
        return sum(counters["changed"] for counters in self.recap.values())

    def modules(self) -> list[str]:
        """The modules that were executed on the Mac, in order. Only the output of -vvv tells."""
        used = re.findall(r"Using module file (\S+)", self.output)
        return [path.rpartition("/")[2].removesuffix(".py") for path in used]


def argv(name: str, *arguments: str, mac: str = NAME) -> list[str]:
    """ansible-playbook for that Mac: a playbook of the installed artifact (`site`, `verify`, `teardown`) or a file (its path)."""
    playbook = name if name.endswith(".yml") else f"nixmac.linux_builder.{name}"
    only = f"--extra-vars=linux_builder_hosts={mac}"
    return ["ansible-playbook", playbook, f"--inventory={INVENTORY}", only, *VARIABLES, *arguments]


def environment() -> dict[str, str]:
    """Of ansible-playbook. The playbooks say themselves where they need root."""
    plain = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_BECOME": "false", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **plain}


def run(command: t.Sequence[str], environ: t.Mapping[str, str]) -> Played:
    """Run a command that ends as a playbook does, in that environment; nobody is there to answer it."""
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
        env=dict(environ),
    )
    return Played.of(done.returncode, done.stdout)


def play(name: str, *arguments: str, mac: str = NAME, under: t.Sequence[str] = (), **more: str) -> Played:
    """Run a playbook to its end. under: a command that the run is an argument of. more: for its environment."""
    return run([*under, *argv(name, *arguments, mac=mac)], {**environment(), **more})


@contextlib.contextmanager
def running(
    command: t.Sequence[str], environ: t.Mapping[str, str], output: int | t.IO[str] = subprocess.PIPE
) -> t.Iterator[subprocess.Popen[str]]:
    """A run that goes on inside the block and is killed at its end, as a power cut on the controller would."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environ),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def playing(name: str, *arguments: str, mac: str = NAME) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """A run of a playbook that goes on inside the block."""
    return running(argv(name, *arguments, mac=mac), environment())


def interrupt(name: str, task: str, *arguments: str) -> None:
    """Run a playbook and kill it when `task` begins."""
    said: list[str] = []
    with playing(name, *arguments) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("TASK [") and task in line:
                return
    raise AssertionError(f"the run ended before {task}:\n{''.join(said)}")


class Mac:
    """Commands on the Mac, as root through Ansible and sudo. `host` is pytest-testinfra's."""

    def __init__(self, host: t.Any) -> None:
        self._host = host

    def run(self, *argv: str) -> t.Any:
        """Run and return rc, stdout, stderr."""
        return self._host.run(shlex.join(argv))

    def module(self, name: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """The result of one execution of a module as root, also of one that failed."""
        try:
            # An empty object would be taken for free text.
            words = json.dumps(arguments) if arguments else None
            result: dict[str, t.Any] = self._host.ansible(name, words, check=False, become=True)
        except self._host.ansible.AnsibleException as exc:
            result = exc.result
        return result

    def out(self, *argv: str) -> str:
        """Standard output of a command that must succeed, stripped."""
        done = self.run(*argv)
        assert done.rc == 0, f"{shlex.join(argv)}: exit {done.rc}\n{done.stdout}\n{done.stderr}"
        return str(done.stdout).strip()

    def shell(self, script: str) -> str:
        """Standard output of a shell script that must succeed; Nix's programs are on its PATH, wherever they are."""
        return self.out("/bin/sh", "-c", f"PATH=/nix/var/nix/profiles/default/bin:/usr/bin:/bin:/usr/sbin:/sbin; {script}")

    def nix_setting(self, name: str) -> str:
        """A setting as Nix itself reads it from the files."""
        shown = self.shell("nix --extra-experimental-features nix-command show-config 2>/dev/null")
        (value,) = re.findall(rf"^{re.escape(name)} = (.*)$", shown, re.MULTILINE)
        return str(value)

    def read(self, path: str) -> str:
        """A text file's content."""
        return self.out("/bin/cat", path)

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        return bool(self.run("/bin/test", "-e", path).rc == 0)

    def listing(self, path: str) -> tuple[str, str, str]:
        """(mode as ls shows it, owner, group): the one form that ls has everywhere."""
        mode, _links, owner, group = self.out("/bin/ls", "-ld", path).split()[:4]
        return mode.rstrip("@+."), owner, group

    def listeners(self, port: int) -> list[str]:
        """The addresses on which something listens on that TCP port."""
        lines = self.run("/usr/sbin/lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN").stdout.splitlines()
        return [line.split()[-2] for line in lines[1:]]

    def guest(self, *argv: str) -> t.Any:
        """Run in the VM, over the ssh alias that the Nix daemon uses."""
        return self.run(
            "/usr/bin/ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "ConnectTimeout=5", "linux-builder", shlex.join(argv),
        )  # fmt: skip

    def guest_system(self) -> str:
        """What Nix calls the guest's kind of machine."""
        return f"{self.guest('uname', '-m').stdout.strip()}-linux"

    def guest_boot_id(self) -> str:
        """The VM's boot id, '' while it does not answer."""
        done = self.guest("cat", "/proc/sys/kernel/random/boot_id")
        return str(done.stdout).strip() if done.rc == 0 else ""


def reach(name: str) -> Mac:
    """A Mac as root through Ansible: same inventory, same connection, same sudo password as the playbooks."""
    # testinfra's own `sudo` calls sudo, which would ask; Ansible knows the password.
    os.environ["ANSIBLE_BECOME"] = "true"
    return Mac(testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY), force_ansible=True))


@dataclasses.dataclass(frozen=True)
class Job:
    """What `launchctl print` says of a job."""

    state: str
    pid: int | None
    runs: int
    path: str
    text: str


class Launchd:
    """launchd's system domain on the Mac."""

    def __init__(self, mac: Mac) -> None:
        self._mac = mac

    def job(self, label: str) -> Job | None:
        """The job as launchd has it, None where it is not loaded."""
        done = self._mac.run("/bin/launchctl", "print", f"system/{label}")
        if done.rc != 0:
            return None
        # Values of the job itself are indented once; deeper ones belong to its parts.
        values = dict(re.findall(r"^\t([a-z][a-z ]*) = (.*)$", done.stdout, re.MULTILINE))
        pid = values.get("pid")
        return Job(
            values.get("state", ""), int(pid) if pid else None, int(values.get("runs", 0)), values.get("path", ""), done.stdout
        )

    def labels(self) -> set[str]:
        """Labels of all jobs that are loaded."""
        lines = self._mac.out("/bin/launchctl", "list").splitlines()[1:]
        return {line.split("\t")[-1] for line in lines}


class StandIn:
    """The container that plays the Mac. Only for what nobody does to a Mac over SSH: pulling its plug, reading all of it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _lab(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [str(ROOT / "tests" / "lab" / "lab"), *arguments],
            input=stdin, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"lab {shlex.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def root(self, *argv: str, stdin: str = "") -> str:
        """Standard output of a command run as root inside, past Ansible and SSH."""
        return self._lab("exec", self.name, "--", *argv, stdin=stdin)

    def restart(self) -> None:
        """Stop and start it, as a Mac's power button does: /tmp and /var/run come back empty."""
        self._lab("restart", self.name)

    def snapshot(self) -> dict[str, t.Any]:
        """See snapshot.py, which runs inside."""
        source = (Path(__file__).parent / "snapshot.py").read_text()
        snapshot: dict[str, t.Any] = json.loads(self.root("/usr/bin/python3", "-", stdin=source))
        return snapshot


def differences(before: dict[str, t.Any], after: dict[str, t.Any]) -> list[str]:
    """One line for each entry in which two snapshots differ."""
    lines = []
    for part in sorted({*before, *after}):
        old, new = before.get(part, {}), after.get(part, {})
        lines += [f"{part}: gone: {key} {old[key]}" for key in sorted(set(old) - set(new))]
        lines += [f"{part}: new: {key} {new[key]}" for key in sorted(set(new) - set(old))]
        lines += [f"{part}: {key}: {old[key]} -> {new[key]}" for key in sorted(set(old) & set(new)) if old[key] != new[key]]
    return lines
