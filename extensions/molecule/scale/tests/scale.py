# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests do: playbooks of the installed artifact through the engines' own environment, for chosen Macs."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

import macs

FIRST, SECOND = "mac-a", "mac-b"
BOTH = f"{FIRST},{SECOND}"
ENGINES = macs.ROOT / ".cache" / "scale" / "venv"
INSTALLED = macs.ROOT / ".cache" / "installed"
# As it is in the artifact, so that what is tested is what users get.
EXAMPLE = INSTALLED / "ansible_collections" / "nixmac" / "linux_builder" / "docs" / "examples" / "fleet"
MITOGEN: t.Final = next(ENGINES.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"))


def environment(**more: str) -> dict[str, str]:
    """Of a controller that has nothing but these: the engines first on its PATH, no setting of molecule's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    plain = {"ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1", "ANSIBLE_HOME": str(macs.ROOT / ".cache" / "ansible-home")}
    path = {"PATH": f"{ENGINES}/bin:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED)}
    return {**kept, **plain, **path, **more}


def run(argv: t.Sequence[str], **more: str) -> macs.Played:
    """Run a command to its end. more: for its environment."""
    done = subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
        env=environment(**more),
    )
    return macs.Played.of(done)


def play(name: str, limit: str, *arguments: str, **more: str) -> macs.Played:
    """Run a playbook of the installed artifact for these Macs."""
    argv = ["ansible-playbook", f"nixmac.linux_builder.{name}", f"--inventory={macs.INVENTORY}", f"--limit={limit}"]
    return run([*argv, *arguments], **more)


def proved(played: macs.Played) -> list[str]:
    """The Macs of which a run says that a build proved their builder."""
    return sorted(set(re.findall(r"(mac-\w+): x86_64-linux built in ", played.output)))
