# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each cause of a builder that does not answer, brought about once: what the message then says.

That a client's key is refused and that another host key is shown, test_builder_vm_life.py provokes. Run by name:
`tests/lab/lab pytest tests/real/full_ready.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest
from builder_under_test import Mac, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

MUTE_TIMEOUT = 240  # seconds; a guest whose daemon is dead has to boot in them


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Mac]:
    mac = Mac(tmp_path_factory.mktemp("ready"), "vm-ready", 31942)
    mac.params["stop_timeout"] = 3  # most of what stands for the VM here never hears the question
    yield mac
    mac.close()


@pytest.fixture(name="definition", scope="module")
def fixture_definition(mac: Mac) -> dict[str, t.Any]:
    """The builder is there, but has never run."""
    definition: dict[str, t.Any] = mac.run(state="present").result["definition"]
    return definition


@pytest.fixture(autouse=True)
def _log_of_its_own(mac: Mac) -> None:
    """Causes of the last minutes count too, and here these are the other tests'."""
    Path(mac.layout.log_path).unlink(missing_ok=True)


@contextlib.contextmanager
def program(mac: Mac, script: str) -> t.Iterator[None]:
    """Another program in the place of the VM's; `$REAL` is the VM's."""
    directory = mac.directory / "program"
    (directory / "bin").mkdir(parents=True, exist_ok=True)
    path = directory / "bin/run-nixos-vm"
    path.write_text(f"#!/bin/sh\nREAL={os.path.realpath(mac.layout.profile)}/bin/run-nixos-vm\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    aside = mac.layout.profile + ".away"
    os.rename(mac.layout.profile, aside)
    os.symlink(directory, mac.layout.profile)
    try:
        yield
    finally:
        mac.unload()
        os.unlink(mac.layout.profile)
        os.rename(aside, mac.layout.profile)


def failure(mac: Mac, timeout: float) -> StateError:
    """What the module says of a builder that does not come."""
    with pytest.raises(StateError) as caught:
        mac.run(state="ready", timeout=timeout)
    error = caught.value
    print(error.message)
    assert error.details["job"] in error.message
    assert error.details["cause"] in error.message
    assert f"Last lines of {mac.layout.log_path}: " in error.message
    assert error.details["log"] == [] or error.details["log"][-1] in error.message
    return error


def test_a_job_that_is_not_loaded(mac: Mac, definition: dict[str, t.Any]) -> None:
    assert definition["Label"] == mac.label
    assert failure(mac, 2).details["cause_name"] == "not-loaded"


def test_a_crash_loop(mac: Mac, definition: dict[str, t.Any]) -> None:
    with program(mac, "echo hopeless\nexit 3"):
        mac.load(definition)
        wait_for(lambda: mac.log().count("the VM has ended with status 3") >= 3)
        error = failure(mac, 2)
    assert error.details["cause_name"] == "crash-loop"
    assert "last exit code 3" in error.message
    assert "hopeless" in " ".join(error.details["log"])


def test_a_port_that_another_program_has(mac: Mac, definition: dict[str, t.Any]) -> None:
    def refuse(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    with socket.create_server(("127.0.0.1", mac.port)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        mac.load(definition)
        wait_for(lambda: "Could not set up host forwarding rule" in mac.log())
        error = failure(mac, 2)
        listener.shutdown(socket.SHUT_RDWR)
    mac.unload()
    assert error.details["cause_name"] == "port-taken"
    assert f"lsof -nP -iTCP:{mac.port}" in error.message


def test_a_closure_that_is_gone(mac: Mac, definition: dict[str, t.Any]) -> None:
    with program(mac, ""):
        os.unlink(mac.directory / "program/bin/run-nixos-vm")
        mac.load(definition)
        wait_for(lambda: "run-nixos-vm is missing" in mac.log())
        error = failure(mac, 2)
    assert error.details["cause_name"] == "closure-gone"
    assert "last exit code 78" in error.message


def test_certificates_that_are_missing(mac: Mac, definition: dict[str, t.Any]) -> None:
    environment = {**definition["EnvironmentVariables"], "NIX_SSL_CERT_FILE": "/nonexistent/ca.pem"}
    with program(mac, "exec sleep 1000"):
        mac.load({**definition, "EnvironmentVariables": environment})
        wait_for(lambda: "NIX_SSL_CERT_FILE (/nonexistent/ca.pem) is missing" in mac.log())
        assert failure(mac, 2).details["cause_name"] == "no-certificates"


def test_a_volume_of_the_mac_that_is_full(mac: Mac, definition: dict[str, t.Any]) -> None:
    small = Path("/dev/shm/vm-ready")  # a stand-in may not mount; this is a file system of its own
    small.mkdir()
    status = os.statvfs(small)
    with open(small / "other-files", "wb") as stream:
        stream.write(bytes(status.f_bavail * status.f_frsize - 1024 * 1024))
    try:
        with program(mac, f"export TMPDIR={small}\nexec $REAL"):
            mac.load(definition)
            wait_for(lambda: "has ended with status" in mac.log())
            print(mac.log())
            assert failure(mac, 2).details["cause_name"] == "disk-full"
    finally:
        shutil.rmtree(small)


def test_a_vm_with_too_little_memory(mac: Mac, definition: dict[str, t.Any]) -> None:
    with program(mac, 'export QEMU_OPTS="-m 72"\nexec $REAL'):
        mac.load(definition)
        wait_for(lambda: "emory" in mac.log().rpartition("Store image created.")[2], MUTE_TIMEOUT)
        error = failure(mac, 20)
    assert error.details["cause_name"] == "out-of-memory"


def test_a_guest_whose_nix_daemon_is_dead(mac: Mac, definition: dict[str, t.Any]) -> None:
    words = "systemd.mask=nix-daemon.service systemd.mask=nix-daemon.socket"
    with program(mac, f'export QEMU_KERNEL_PARAMS="{words}"\nexec $REAL'):
        mac.load(definition)
        wait_for(lambda: answers(mac), MUTE_TIMEOUT)
        error = failure(mac, 15)
    assert error.details["cause_name"] == "guest-daemon"
    assert "ssh works, but the guest's Nix daemon does not answer" in error.message


def answers(mac: Mac) -> bool:
    """Whether the guest lets us in."""
    return subprocess.run(mac.ssh("true"), capture_output=True, check=False, timeout=60).returncode == 0


def test_nothing_of_all_that_stays(mac: Mac) -> None:
    assert Path(mac.layout.profile).is_symlink()
    assert not mac.run(state="present").changed
