# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests do: playbooks of the installed artifact through the engines' own environment, for chosen Macs."""

from __future__ import annotations

import os
import re
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


def run(command: t.Sequence[str], **more: str) -> macs.Played:
    """Run a command to its end. more: for its environment."""
    return macs.run(command, environment(**more))


def argv(name: str, limit: str, *arguments: str) -> list[str]:
    """ansible-playbook for these Macs, with a playbook of the installed artifact."""
    return ["ansible-playbook", f"nixmac.linux_builder.{name}", f"--inventory={macs.INVENTORY}", f"--limit={limit}", *arguments]


def play(name: str, limit: str, *arguments: str, **more: str) -> macs.Played:
    """Run a playbook of the installed artifact for these Macs."""
    return run(argv(name, limit, *arguments), **more)


def proved(played: macs.Played) -> list[str]:
    """The Macs of which a run says that a build proved their builder."""
    return sorted(set(proofs(played.output)))


def proofs(output: str) -> list[str]:
    """The Macs of which an output says so, in its order."""
    return re.findall(r"(mac-\w+): x86_64-linux built in ", output)
