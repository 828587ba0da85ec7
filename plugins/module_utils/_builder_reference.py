# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A package as it was asked for, and what it became."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

STORE = "/nix/store"
_ATTRIBUTE = re.compile(r"^[A-Za-z0-9_'+-]+(\.[A-Za-z0-9_'+-]+)*$")
_STORE_PATH = re.compile(r"^/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+$")


class Reference(t.NamedTuple):
    """A package as it was asked for: a flake and an attribute in it, or a store path."""

    text: str
    flake: str | None
    attribute: tuple[str, ...]

    @property
    def store_path(self) -> str | None:
        """The store path, when it is one."""
        return None if self.flake is not None else self.text


class Realised(t.NamedTuple):
    """What a reference became: the locked reference, the VM's store path, the name of its start script."""

    locked: str
    store_path: str
    program: str


def parse_reference(text: str) -> Reference:
    """Split a package into flake and attribute. ConfigError when it is neither flake reference nor store path."""
    if text.startswith(STORE + "/"):
        if not _STORE_PATH.match(text):
            raise ConfigError(f"package: {text} is no store path (they look like {STORE}/<32 characters>-<name>).")
        return Reference(text, None, ())
    flake, separator, attribute = text.partition("#")
    if not flake:
        raise ConfigError(f"package: {text} names no flake before the #. Write for example github:NixOS/nixpkgs/<revision>#...")
    attribute = attribute if separator and attribute else "default"
    if not _ATTRIBUTE.match(attribute):
        raise ConfigError(f"package: {attribute} is no attribute path such as darwin.linux-builder.")
    return Reference(text, flake, tuple(attribute.split(".")))
