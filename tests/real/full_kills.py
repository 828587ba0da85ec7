# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 of QEMU, of the runner and of the Nix daemon at each step of a change, and a power cut of a guest that builds.

After each one more run has to bring the builder that was asked for. That the run itself is killed, full_change.py tests.
The tests of this file share one builder. Run by name: `tests/lab/lab pytest -s tests/real/full_kills.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from builder_under_test import BOOT_TIMEOUT, NIX, Mac, alive, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import PHASES
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos import builder_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Daemon, Options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

SYSTEM = "x86_64-linux"


class Fuse:
    """Does something when a phase begins, and notes the phases."""

    def __init__(self, phase: str, blow: t.Callable[[], None]) -> None:
        self._wanted = phase
        self._blow = blow
        self.phases: list[str] = []

    def phase(self, name: str) -> None:
        if name in self.phases:
            return
        self.phases.append(name)
        if self._wanted in ("every", name):
            self._blow()

    def detail(self, done: int, total: int, unit: str) -> None:
        pass


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Mac]:
    mac = Mac(tmp_path_factory.mktemp("kills"), "vm-kills", 31952)
    mac.run()
    yield mac
    mac.close()


@pytest.fixture(autouse=True)
def _seconds(request: pytest.FixtureRequest) -> t.Iterator[None]:
    begin = time.monotonic()
    yield
    print(f"\n{request.node.name}: {time.monotonic() - begin:.0f} s")


def other_options(mac: Mac) -> None:
    """Ask for what needs a restart and nothing else."""
    mac.params["cores"] = 3 - mac.params["cores"]


def other_package(mac: Mac) -> None:
    """Ask for another store path, that needs nothing that is built on Linux."""
    mac.params["disk_mib"] = None
    mac.params["package"] = mac.variant(f"builder.variant={time.monotonic_ns()}")


def kill(pid: int) -> None:
    """kill -9, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))


def victim(mac: Mac, name: str) -> int | None:
    """Process id of QEMU or of the runner; None while there is none."""
    if name == "runner":
        return mac.runner() or None
    return next(iter(mac.vms()), None)


def change(mac: Mac, fuse: Fuse) -> str:
    """One run of the module with that fuse; how it ended, in a word."""
    try:
        mac.run(fuse)
    except StateError as exc:
        print(f"\nfailed: {exc.message}")
        return "rolled back" if exc.details.get("rolled_back") else "failed"
    return "done"


def converges(mac: Mac) -> None:
    """One more run brings what was asked for."""
    mac.run()
    mac.settled()
    assert mac.guest("nproc") == str(mac.params["cores"])
    variant = re.search(r"builder\.variant-(\d+)", mac.params["package"])
    assert variant is None or f"builder.variant={variant.group(1)}" in mac.guest("cat /proc/cmdline")


# What there is to kill at the beginning of a phase: from `stop` on to `start` there is no VM.
CASES = [(phase, who) for phase in ("fetch", "drain", "stop", "start", "ready", "prove") for who in ("qemu", "runner")]


@pytest.mark.parametrize(("phase", "who"), CASES)
def test_killed_at_a_step_of_a_change(mac: Mac, phase: str, who: str) -> None:
    killed: list[int] = []

    def blow() -> None:
        if phase == "start":  # there will be one within this phase
            threading.Thread(target=strike, daemon=True).start()
        else:
            strike()

    def strike() -> None:
        pid = wait_for(lambda: victim(mac, who))
        killed.append(pid)
        kill(pid)

    (other_package if phase in ("fetch", "prove") else other_options)(mac)
    fuse = Fuse(phase, blow)
    print(f"\n{change(mac, fuse)} after {', '.join(fuse.phases)}")
    assert phase in fuse.phases
    assert len(killed) == 1
    converges(mac)
    assert not alive(killed[0])


def test_the_nix_daemon_is_killed_at_every_step_of_a_change(mac: Mac) -> None:
    daemon = Daemon(Options())
    killed: list[int] = []

    def strike() -> None:
        # Its throttle may keep launchd from starting it again before the next step.
        pid = daemon.service().pid
        if pid:
            killed.append(pid)
            kill(pid)

    other_package(mac)
    mac.params.update(disk_mib=2560, allow_disk_recreate=True)
    mac.guest("echo old > marker")
    fuse = Fuse("every", strike)
    assert change(mac, fuse) == "done"
    assert fuse.phases[0] == "fetch"
    assert [phase for phase in fuse.phases if phase in PHASES] == list(PHASES)
    assert len(set(killed)) >= 2
    converges(mac)
    assert mac.guest("cat marker 2>/dev/null || echo anew") == "anew"
    wait_for(lambda: daemon.service().pid)
    store = [f"{NIX}/nix", "--extra-experimental-features", "nix-command", "store", "ping", "--store", "daemon"]
    wait_for(lambda: subprocess.run(store, capture_output=True, check=False).returncode == 0)


# --- a power cut ---------------------------------------------------------------------------------------------------


def start_build(mac: Mac, name: str, script: str) -> subprocess.Popen[bytes]:
    """A build of root's through this VM. The guest's own words come on standard error."""
    options, more = builder_options(mac.layout, mac.key, SYSTEM, "127.0.0.1", mac.port)
    text = f'derivation {{ name = "{name}"; system = "{SYSTEM}"; builder = "/bin/sh"; args = [ "-c" "{script}" ]; }}'
    argv = [f"{NIX}/nix-build", "--no-out-link", "--max-jobs", "0", *options, "-E", text]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(mac.directory), **more}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def built(process: subprocess.Popen[bytes]) -> str:
    """The build's output path."""
    out, err = process.communicate(timeout=BOOT_TIMEOUT)
    assert process.returncode == 0, err.decode(errors="replace")
    return out.decode().strip()


def verify(mac: Mac) -> tuple[int, str]:
    """What the guest's store says of itself."""
    command = "nix-store --verify --check-contents --store daemon 2>&1"
    done = subprocess.run(mac.ssh(command), capture_output=True, check=False, timeout=600)
    print(done.stdout.decode())
    return done.returncode, done.stdout.decode()


def after_a_cut(mac: Mac) -> None:
    """Cut the power, and wait until the guest is back."""
    before, (vm,) = mac.run(state="ready").result["boot_id"], mac.vms()
    kill(vm)
    wait_for(lambda: mac.run(state="ready").result["boot_id"] != before, BOOT_TIMEOUT)


def repair(mac: Mac, said: str) -> list[str]:
    """Delete what the store's check named, as docs/operations.md says; returns it."""
    paths = sorted(set(re.findall(r"path '(/nix/store/[^']+)' was modified", said)))
    for path in paths:
        mac.guest(f"nix-store --delete {path} --store daemon 2>&1")
    return paths


def test_a_power_cut_in_the_middle_of_a_build(mac: Mac) -> None:
    # 24 MiB in many files and no end: what is written is on its way to the disk when the power goes.
    work = "echo at work >&2; n=0; while [ $n -lt 400 ]; do n=$((n + 1)); echo $n > $TMP/$n; done; echo written >&2; "
    name = f"cut-{time.monotonic_ns()}"
    with start_build(mac, name, work.replace("$", "\\$") + "while :; do :; done") as build:
        assert build.stderr is not None
        seen = b""
        while b"written" not in seen:
            line = build.stderr.readline()
            assert line, seen
            seen += line
        after_a_cut(mac)
        build.kill()
    code, said = verify(mac)
    damaged = repair(mac, said)
    assert code == 0 or damaged, said
    assert verify(mac)[0] == 0
    out = built(start_build(mac, name, "echo done > \\$out"))
    assert Path(out).read_text(encoding="utf-8") == "done\n"


def cut_after_a_build(mac: Mac) -> list[str]:
    """Build, cut the power at once, put the store right and build again; what the cut had damaged."""
    name, script = f"fresh-{time.monotonic_ns()}", "n=0; while [ \\$n -lt 2000 ]; do n=\\$((n + 1)); echo \\$n; done > \\$out"
    out = built(start_build(mac, name, script))
    expected = Path(out).read_bytes()
    after_a_cut(mac)
    code, said = verify(mac)
    damaged = repair(mac, said)
    assert code == 0 or damaged, said
    assert verify(mac)[0] == 0
    subprocess.run([f"{NIX}/nix-store", "--delete", out], check=True, capture_output=True, env={"NIX_REMOTE": "local"})
    assert built(start_build(mac, name, script)) == out
    assert Path(out).read_bytes() == expected
    return damaged


def test_a_power_cut_right_after_a_build(mac: Mac) -> None:
    """Nix marks a path valid before its content is on the disk; the store's check finds such a path, and a build replaces it."""
    print(f"damaged by the cut: {cut_after_a_build(mac) or 'nothing'}")


def test_a_configured_guest_loses_nothing_that_is_built(mac: Mac) -> None:
    mac.run(time_sync=True, prove=False)
    settings = mac.guest("nix show-config 2>/dev/null").splitlines()
    assert {"fsync-store-paths = true", "sync-before-registering = true"} <= set(settings)
    assert cut_after_a_build(mac) == []
