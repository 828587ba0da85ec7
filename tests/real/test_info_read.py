# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_info against the stand-in's own launchd, Nix and sockets. Run as root inside a stand-in."""

from __future__ import annotations

import contextlib
import os
import plistlib
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _info, _preflight
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import DIRECTORY as MANIFESTS

PORT = 22098
LABEL = "org.nixmac.test-info"
DAEMON = "org.nixos.nix-daemon"
# Listens and leaves its pid in a file.
LISTEN = """
import os, socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
open(sys.argv[3] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[3] + ".new", sys.argv[3])
time.sleep(120)
"""


def read(**question: t.Any) -> tuple[dict[str, t.Any], int]:
    host = _info.Host()
    question.setdefault("label", LABEL)
    question.setdefault("port", PORT)
    return _info.read(_info.Question(**question), host), host.runner.started


def problems(info: dict[str, t.Any]) -> dict[str, str]:
    wanted = _preflight.Wanted(disk_mib=0, reserve_mib=0)
    return {problem.code: problem.message for problem in _preflight.problems(info, wanted)}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


@pytest.fixture(name="listen")
def fixture_listen(tmp_path: Path) -> t.Iterator[t.Callable[[str], int]]:
    started: list[subprocess.Popen[bytes]] = []

    def listen(address: str) -> int:
        mark = tmp_path / f"listening-{len(started)}"
        started.append(subprocess.Popen([sys.executable, "-c", LISTEN, address, str(PORT), str(mark)]))
        wait_for(mark)
        return started[-1].pid

    yield listen
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(name="nothing_noted")
def fixture_nothing_noted() -> t.Iterator[None]:
    """A Mac on which no run has noted down what needs not be asked again; other tests leave such notes here."""
    notes = Path(MANIFESTS)
    aside = notes.with_name(f"{notes.name}.aside")
    there = notes.exists()
    if there:
        notes.rename(aside)
    yield
    if there:
        shutil.rmtree(notes, ignore_errors=True)
        aside.rename(notes)


@pytest.mark.usefixtures("nothing_noted")
def test_the_stand_in_can_have_the_builder_and_six_processes_tell() -> None:
    info, processes = read()
    assert problems(info) == {}
    assert processes == 6
    assert info["macos"]["version"]
    assert info["nix"]["variant"] == "upstream"
    assert info["daemon"]["label"] == DAEMON
    assert info["daemon"]["state"] == "running"
    assert info["port"]["listening"] is False


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_stranger_on_the_port_is_named(listen: t.Callable[[str], int], address: str) -> None:
    pid = listen(address)
    info, _processes = read()
    assert f"(pid {pid}, user root)" in problems(info)["port_taken"]


def test_a_listener_on_another_address_is_no_rival(listen: t.Callable[[str], int]) -> None:
    listen("127.0.0.2")
    assert problems(read()[0]) == {}


def test_port_22_is_remote_login() -> None:
    assert "Remote Login" in problems(read(port=22)[0])["port_taken"]


@pytest.mark.parametrize("detour", ["exec", "", "/usr/bin/setsid /usr/bin/env sh -c '\"$@\"; :' x"])
def test_a_listener_of_the_builders_job_is_ours_however_deep(tmp_path: Path, detour: str) -> None:
    mark = tmp_path / "listening"
    (tmp_path / "listen.py").write_text(LISTEN)
    command = f"{detour} {sys.executable} {tmp_path}/listen.py 127.0.0.1 {PORT} {mark}; :"
    plist = Path(f"/Library/LaunchDaemons/{LABEL}.plist")
    plist.write_bytes(plistlib.dumps({"Label": LABEL, "ProgramArguments": ["/bin/sh", "-c", command], "RunAtLoad": True}))
    launchctl = Launchctl(Runner())
    try:
        launchctl.checked(launchctl.bootstrap("system", str(plist)))
        wait_for(mark)
        info, _processes = read()
        assert info["port"]["ours"] is True
        assert info["builder"]["state"] == "running"
        assert problems(info) == {}
        # The same socket is a stranger's for another builder.
        assert "port_taken" in problems(read(label="org.nixmac.another")[0])
    finally:
        launchctl.bootout(f"system/{LABEL}")
        plist.unlink()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(mark.read_text()), signal.SIGKILL)


def test_broken_nix_speaks_for_itself() -> None:
    conf = Path("/etc/nix/nix.conf")
    content = conf.read_bytes()
    conf.write_bytes(content + b"max-jobs=3\n")
    try:
        info, _processes = read()
    finally:
        conf.write_bytes(content)
    assert "max-jobs=3" in problems(info)["nix_broken"]
    assert info["nix"]["version"]


def test_a_daemon_that_is_not_loaded_is_told_with_the_command_that_loads_it() -> None:
    launchctl = Launchctl(Runner())
    launchctl.bootout(f"system/{DAEMON}")
    deadline = time.monotonic() + 20
    while launchctl.print_service(f"system/{DAEMON}") is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        message = problems(read()[0])["nix_daemon_not_loaded"]
        command = message.rpartition("; ")[2]
        assert command.startswith("sudo launchctl bootstrap system ")
    finally:
        path = f"/Library/LaunchDaemons/{DAEMON}.plist"
        launchctl.checked(launchctl.bootstrap("system", path))
    assert command.split()[-1] == path
    assert problems(read()[0]) == {}
