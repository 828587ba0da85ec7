# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Where the builder is and how it is reached where nobody says otherwise. Held once, for all modules and their options.

The doc fragment `builder` describes the same options; validate-modules holds the two to each other.
"""

from __future__ import annotations

import dataclasses
import typing as t

ALIAS = "linux-builder"
KEY = "/etc/nix/builder_ed25519"
LOG = "/var/log/linux-builder.log"
# The stock image's host key, as base64 of its line.
STOCK_KEY = (
    "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUpCV2N4Yi9CbGFxdDFhdU90RStGOFFVV3JVb3RpQzVxQkorVXVFV2RWQ2Igcm9vdEBuaXhvcwo="
)


@dataclasses.dataclass(frozen=True)
class Place:
    """The builder's launchd label, profile and directory, the address and port at which it is reached, its store URI."""

    label: str = "org.nixmac.linux-builder"
    profile: str = "/nix/var/nix/profiles/linux-builder"
    working_directory: str = "/var/lib/linux-builder"
    host_address: str = "127.0.0.1"
    port: int = 31022
    uri: str = f"ssh-ng://builder@{ALIAS}"


_OPTIONS: dict[str, dict[str, t.Any]] = {
    "label": {"type": "str", "default": Place.label},
    "working_directory": {"type": "path", "default": Place.working_directory},
    "profile": {"type": "path", "default": Place.profile},
    "host_address": {"type": "str", "default": Place.host_address},
    "port": {"type": "int", "default": Place.port},
    "log_path": {"type": "path", "default": LOG},
    "alias": {"type": "str", "default": ALIAS},
    "uri": {"type": "str", "default": Place.uri},
    "client_key": {"type": "path", "default": KEY, "no_log": False},
    "host_key": {"type": "str", "choices": ["stock", "per_mac"], "default": "stock", "no_log": False},
    "nested_virtualization": {"type": "bool", "default": False},
    "max_clock_skew": {"type": "int", "default": 60},
    "public_host_key": {"type": "str", "default": STOCK_KEY, "no_log": False},
    "drain_timeout": {"type": "int", "default": 600},
    "stop_timeout": {"type": "int", "default": 60},
    "force": {"type": "bool", "default": False},
}


def options(*names: str) -> dict[str, dict[str, t.Any]]:
    """Argument specs of these options, the same in every module that has them."""
    return {name: dict(_OPTIONS[name]) for name in names}
