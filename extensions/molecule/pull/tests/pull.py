# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a fleet that pulls: repository, reports, and the one run that makes a Mac part of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import typing as t
from pathlib import Path

import macs

INSTALLED = macs.ROOT / ".cache" / "installed"
# As it is in the artifact, so that what is tested is what users get.
EXAMPLE = INSTALLED / "ansible_collections" / "nixmac" / "linux_builder" / "docs" / "examples" / "fleet"
LABEL = "org.example.fleet-pull"
LOG = "/var/log/fleet-pull.log"
SHARE = "/Volumes/reports"
INTERVAL = 20
PATIENCE = 900  # seconds; a run on a busy machine takes minutes


@dataclasses.dataclass(frozen=True)
class Reports:
    """Where the Macs send their reports: the URL, and the directory behind it."""

    url: str
    directory: Path

    def mine(self) -> dict[str, t.Any] | None:
        """This Mac's row of the report that it left, None before there is one."""
        path = self.directory / f"{macs.NAME}.json"
        return row(path.read_text()) if path.exists() else None


def row(text: str) -> dict[str, t.Any]:
    """The one row of a Mac's own report."""
    (mac,) = json.loads(text)["macs"]
    assert mac["name"] == macs.NAME
    return dict(mac)


class Repository:
    """The fleet's repository: a work tree to commit in, and what is served."""

    def __init__(self, directory: Path, reports: str) -> None:
        self.tree = directory / "tree"
        self._bare = directory / "served" / "fleet.git"
        shutil.copytree(EXAMPLE, self.tree)
        shutil.copytree(INSTALLED, self.tree / "collections")
        lab = json.loads(macs.INVENTORY.read_text())["all"]["children"]["macs"]["vars"]
        self.vars = {name: value for name, value in lab.items() if name.startswith("linux_builder_")}
        self.vars["fleet_reports"] = reports
        self._git("init", "--quiet", "--initial-branch=main", str(self.tree))
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self._bare)], check=True)
        self.url = ""
        self.commit()

    def _git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Fleet", "-c", "user.email=fleet@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.tree), *identity, *arguments], check=True, timeout=120)

    def commit(self, **more: t.Any) -> None:
        """Write the inventory with these variables too, and publish it."""
        self.vars.update(more)
        inventory = {"macs": {"hosts": {macs.NAME: {}}, "vars": self.vars}}
        (self.tree / "inventory.yml").write_text(json.dumps(inventory, indent=2))
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--message=Fleet")
        self._git("push", "--quiet", str(self._bare), "main")

    @contextlib.contextmanager
    def served(self, address: str) -> t.Iterator[None]:
        """Over git's own protocol, for the time of the block."""
        with socket.socket() as probe:
            probe.bind((address, 0))
            port = probe.getsockname()[1]
        base = str(self._bare.parent)
        options = [f"--base-path={base}", f"--listen={address}", f"--port={port}", "--export-all", "--reuseaddr", base]
        process = subprocess.Popen(["git", "daemon", *options], env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1"})
        self.url = f"git://{address}:{port}/fleet.git"
        try:
            asked = ["git", "ls-remote", self.url]
            macs.poll("git is served", lambda: subprocess.run(asked, capture_output=True, check=False).returncode == 0, 60)
            yield
        finally:
            process.terminate()
            process.wait()


def schedule(repository: Repository) -> macs.Played:
    """Tell the Mac to pull. Its nixpkgs is a flake of the scenario's, and it has no other locale."""
    settings = {
        "pull_url": repository.url,
        "pull_packages": ["path:/opt/tools#ansible", "path:/opt/tools#git"],
        "pull_interval": INTERVAL,
        "pull_spread": 2,
        "pull_locale": "C.UTF-8",
    }
    return macs.play(str(EXAMPLE / "schedule.yml"), f"--limit={macs.NAME}", f"--extra-vars={json.dumps(settings)}")
