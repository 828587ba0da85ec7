# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The slots that `drain` makes are those that real Nix looks for: its first build for a builder waits while they are held."""

from __future__ import annotations

import os
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_drain
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import CURRENT_LOAD

NIX = "/nix/var/nix/profiles/default/bin/nix"
URI = "ssh-ng://builder@no-such-builder.invalid"
STEM = "ssh-ng:__builder@no-such-builder.invalid"
PATIENCE = 300.0  # seconds that a busy machine may take
BUILD = 'derivation { name = "held-off"; system = "x86_64-linux"; builder = "/bin/sh"; }'


def slots() -> list[str]:
    return sorted(path.name for path in Path(CURRENT_LOAD).glob(f"{STEM}-*"))


@pytest.fixture(name="machines")
def fixture_machines(tmp_path: Path) -> t.Iterator[Path]:
    machines = tmp_path / "machines"
    machines.write_text(f"{URI} x86_64-linux - 2 1 - - -\n")
    yield machines
    for name in slots():
        os.unlink(os.path.join(CURRENT_LOAD, name))


def test_a_first_build_is_held_off_and_then_goes_on(machines: Path, tmp_path: Path) -> None:
    assert slots() == []
    hold = _builder_drain.drain(URI, 1, False, machines=str(machines))
    assert slots() == [f"{STEM}-0", f"{STEM}-1"]
    log = tmp_path / "log"
    words = ["build", "--impure", "--no-link", "--expr", BUILD, "--option", "builders", f"@{machines}", "--debug"]
    argv = [NIX, "--extra-experimental-features", "nix-command", *words, "--option", "build-poll-interval", "1"]
    with log.open("wb") as stream, subprocess.Popen(argv, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL) as nix:
        try:
            # Looked for again: the first time there was none.
            wait_for(nix, lambda: log.read_text(errors="replace").count(f"considering building on remote machine '{URI}'") > 1)
            assert "cannot build on" not in log.read_text(errors="replace")
            assert slots() == [f"{STEM}-0", f"{STEM}-1"]
            hold.release()
            assert nix.wait(PATIENCE) != 0
        finally:
            nix.kill()
            hold.release()
    # It got a slot, and only the builder was not there.
    assert f"cannot build on '{URI}'" in log.read_text(errors="replace")
    assert slots() == [f"{STEM}-0", f"{STEM}-1"]


def wait_for(nix: subprocess.Popen[bytes], condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert nix.poll() is None, "Nix has ended instead of waiting for a slot"
        assert time.monotonic() < deadline
        time.sleep(0.1)
