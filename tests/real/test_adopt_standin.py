# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adoption and manifest with a real launchd and the stand-in's own /etc: a job that others wrote is retired and given back.

No VM: that is what the molecule scenario `adopt` has.
"""

from __future__ import annotations

import os
import plistlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt, _launchd_service, _manifest, _manifest_apply
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import STOCK_KEY

LABEL = "org.example.hand-made"
PLIST = Path(f"/Library/LaunchDaemons/{LABEL}.plist")
NIX_CONF = Path("/etc/nix/nix.conf")
LINE = f"builders = ssh-ng://builder@localhost x86_64-linux /etc/nix/builder_ed25519 4 - - - {STOCK_KEY}\n"


@pytest.fixture(name="directory")
def fixture_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Path]:
    """A builder after the manual under a daemon of its own, whose VM has crashed: the job runs, and no QEMU."""
    monkeypatch.setattr(_manifest, "DIRECTORY", str(tmp_path / "manifest"))
    before = NIX_CONF.read_bytes()
    NIX_CONF.write_bytes(before + LINE.encode())
    directory = tmp_path / "hand"
    (directory / "keys").mkdir(parents=True)
    (directory / "nixos.qcow2").write_bytes(b"the disk")
    # create-builder is only a word here, by which the job is recognised.
    arguments = ["/bin/sh", "-c", "exec sleep 600 # create-builder"]
    PLIST.write_bytes(plistlib.dumps({"Label": LABEL, "ProgramArguments": arguments, "WorkingDirectory": str(directory)}))
    PLIST.chmod(0o644)
    launchctl = Launchctl(Runner())
    launchctl.checked(launchctl.bootstrap("system", str(PLIST)))
    yield directory
    launchctl.bootout(f"system/{LABEL}")
    PLIST.unlink(missing_ok=True)
    NIX_CONF.write_bytes(before)


def loaded() -> bool:
    return Launchctl(Runner()).print_service(f"system/{LABEL}") is not None


def adopt(directory: Path, state: str, check_mode: bool = False) -> t.Any:
    params = {
        "state": state, "working_directory": str(directory.parent / "ours"), "label": "org.example.ours",
        "client_key": str(directory.parent / "key"), "alias": "linux-builder", "public_host_key": STOCK_KEY, "directory": None,
        "drain_timeout": 60, "stop_timeout": 60, "force": False,
    }  # fmt: skip
    return _adopt.execute(params, check_mode)


def test_a_daemon_of_others_is_retired_and_given_back(directory: Path) -> None:
    ours, plist, conf = directory.parent / "ours", PLIST.read_bytes(), NIX_CONF.read_bytes()
    told = adopt(directory, "present", check_mode=True)
    assert loaded()
    done = adopt(directory, "present")
    assert (done.changed, done.result["actions"]) == (True, told.result["actions"])
    assert not loaded()
    assert not PLIST.exists()
    assert (ours / "nixos.qcow2").read_bytes() == b"the disk"
    assert LINE.encode() not in NIX_CONF.read_bytes().splitlines(keepends=True)
    assert not adopt(directory, "present").changed

    assert adopt(directory, "absent").changed
    assert NIX_CONF.read_bytes() == conf
    options = {"state": "absent", "keep_data": False, "working_directory": str(ours), "path": None, "parts": None}
    back = _manifest_apply.execute(options, False)
    assert back.result["disk_given_back"]
    assert back.result["left"] == []
    assert loaded()
    assert PLIST.read_bytes() == plist
    assert (directory / "nixos.qcow2").read_bytes() == b"the disk"
    assert not ours.exists()
    assert not os.path.exists(_manifest.DIRECTORY)
    assert not _manifest_apply.execute(options, False).changed


def test_a_jobs_property_list_from_before_comes_back(directory: Path) -> None:
    """launchd_service overwrites the property list of somebody's job; the manifest has it."""
    plist = PLIST.read_bytes()
    definition = {"Label": LABEL, "ProgramArguments": ["/bin/sleep", "601"], "RunAtLoad": True}
    options = {"label": LABEL, "domain": "system", "path": None, "enabled": None, "ready_when": None, "timeout": 60}
    for change in (True, False):
        done = _launchd_service.execute({**options, "state": "started", "definition": definition, "manifest": True}, False)
        assert done.changed is change
    assert PLIST.read_bytes() != plist
    absent = {"state": "absent", "keep_data": False, "working_directory": str(directory), "path": None, "parts": ["builder"]}
    assert _manifest_apply.execute(absent, False).result["restored"] == [str(PLIST)]
    assert PLIST.read_bytes() == plist
