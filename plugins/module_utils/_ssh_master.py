# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One ssh connection to the guest for all builds (ControlMaster), and where that is known to fail."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _machines_effective
from ansible_collections.nixmac.linux_builder.plugins.module_utils._preflight import Problem

_FIX = "Set linux_builder_ssh_control_master: false"
_DETERMINATE = re.compile(r"\(Determinate Nix (\d+)\.(\d+)")
_SINCE = (3, 22)  # Determinate Nix; before, it opens 64 connections over one master, which breaks its protocol
_CONNECTIONS = re.compile(r"[?&]max-connections=([^&]*)")


def problems(info: t.Mapping[str, t.Any], alias: str, content: t.Callable[[str], bytes | None]) -> t.Iterator[Problem]:
    """Why this Mac's Nix cannot have it. content: a file's content, None without one."""
    words = _of_nix(info["nix"]) or _of_entries(info["nix"], alias, content)
    if words:
        yield Problem("ssh_control_master", words)


def _of_nix(nix: t.Mapping[str, t.Any]) -> str:
    version = str(nix.get("version") or "")
    if nix.get("variant") == "upstream" and version.startswith("2.15."):
        return (
            f"Nix {version} hangs with a ControlMaster (https://github.com/NixOS/nix/issues/8329). {_FIX}, or upgrade Nix to "
            "2.16 or later."
        )
    if nix.get("variant") != "determinate":
        return ""
    found = _DETERMINATE.search(str(nix.get("version_text", "")))
    if found and (int(found.group(1)), int(found.group(2))) >= _SINCE:
        return ""
    return (
        f"{nix.get('version_text')}: before Determinate Nix 3.22.0 many connections over one ControlMaster break the protocol "
        f"(https://github.com/DeterminateSystems/nix-src/pull/569). {_FIX}, or upgrade Determinate Nix."
    )


def _of_entries(nix: t.Mapping[str, t.Any], alias: str, content: t.Callable[[str], bytes | None]) -> str:
    """An entry for the same host with more connections than one: they would share the master."""
    value = str((nix.get("settings") or {}).get("builders") or "@/etc/nix/machines")
    for machine in _machines_effective.read(value, content).found:
        found = _CONNECTIONS.search(machine.uri)
        host = machine.uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
        if found and host == alias and found.group(1) != "1":
            return (
                f"{machine.uri}: with more than one connection over a ControlMaster the protocol breaks "
                f"(https://github.com/NixOS/nix/issues/14132). {_FIX}, or take max-connections out of that entry."
            )
    return ""
