# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Mac after teardown: as it was before the first run."""

from __future__ import annotations

import typing as t

import macs


def test_everything_is_as_before_the_first_run(stand_in: macs.StandIn, kept: t.Any) -> None:
    """Files byte for byte, jobs, processes, ports, Nix's roots."""
    differences = macs.differences(kept("before"), stand_in.snapshot())
    assert not differences, "\n".join(differences)


def test_the_vm_is_garbage(mac: macs.Mac, kept: t.Any) -> None:
    """Nothing holds the VM's closure: the next garbage collection may take it."""
    path = kept("vm")
    assert mac.exists(path)
    assert mac.shell(f"nix-store --query --roots {path}") == ""
