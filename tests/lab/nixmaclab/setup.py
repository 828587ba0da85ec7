# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a bare Debian or Ubuntu machine needs before the lab runs: packages, and the controller's Python environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

from . import core

PODMAN = ["podman", "runc", "iptables", "netavark", "aardvark-dns"]
TOOLS = ["mmdebstrap", "debian-archive-keyring", "zstd", "xz-utils", "openssh-client", "python3-venv", "git", "make"]


def _installed(name: str) -> bool:
    argv = ["dpkg-query", "-W", "-f", "${Status}", name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "install ok installed" in done.stdout


def deps() -> int:
    """Install what is missing with apt-get; as root, or through sudo."""
    core.need("apt-get")
    wanted = [*TOOLS, *(PODMAN if core.ENGINE == "podman" else [])]
    missing = [name for name in wanted if not _installed(name)]
    if not missing:
        core.say("all packages are there")
        return 0
    prefix = [] if os.geteuid() == 0 else [core.need("sudo")]
    log = core.CACHE / "log"
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with core.step(f"apt-get install {' '.join(missing)}"):
        core.run([*prefix, "apt-get", "update", "-q"], log=log / "apt-update.log", env=quiet)
        # Another apt may be at work, the system's own for example.
        install = ["apt-get", "install", "-o", "DPkg::Lock::Timeout=600", "-q", "-y", "--no-install-recommends", *missing]
        core.run([*prefix, *install], log=log / "apt.log", env=quiet)
    return 0


def venv() -> int:
    """Make the controller's environment if it is missing or its requirements changed."""
    requirements = core.REPO / "tests" / "requirements.txt"
    if not requirements.exists():
        requirements = core.REPO / "tests" / "requirements.in"
    stamp = core.VENV / ".requirements"
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        core.say("the controller's environment is there")
        return 0
    with core.step(f"controller's environment from {requirements.relative_to(core.REPO)}"):
        if not (core.VENV / "bin/python").exists():
            shutil.rmtree(core.VENV, ignore_errors=True)
            core.run([sys.executable, "-m", "venv", core.VENV], log=core.CACHE / "log/venv.log")
        pip: list[str | os.PathLike[str]] = [
            core.VENV / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            requirements,
        ]
        core.run(pip, log=core.CACHE / "log/pip-controller.log")
        stamp.write_text(key, encoding="utf-8")
    return 0
