# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac that was left is converged anew; its Nix store still has the image."""

from __future__ import annotations

import re

import macs

# A builder with a host key of its own starts twice, at first with that of the image, and is delegated to and proved each time.
MOST = 20 if any("per_mac" in variable for variable in macs.VARIABLES) else 12


def begun(played: macs.Played) -> list[str]:
    """The modules of the run. Of builder_vm a task's first execution: how often it asks depends on how fast a VM starts."""
    found: list[str] = []
    for task in re.split(r"^TASK \[", played.output, flags=re.MULTILINE):
        used = macs.Played(0, task, {}).modules()
        found += [name for number, name in enumerate(used) if name != "builder_vm" or name not in used[:number]]
    return found


def test_the_first_run_is_few_executions() -> None:
    played = macs.play("site", "-vvv")
    assert played.rc == 0, played.output
    assert played.changed() > 0, played.output
    modules = begun(played)
    assert modules[0] == "builder_info"
    assert modules[-1] == "builder_verify"
    assert "builder_vm" in modules
    assert len(modules) <= MOST, " ".join(modules)
    assert not played.says("AnsiballZ_"), "a file was transferred"
