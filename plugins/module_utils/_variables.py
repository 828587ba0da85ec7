# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a variable of the roles stands for: `-e name=value` makes a text of everything."""

from __future__ import annotations

import typing as t


def plain(value: t.Any) -> t.Any:
    """A variable's value as the module would get it: `-e linux_builder_port=31023` arrives as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, str) and value.lower() in ("true", "yes", "on", "false", "no", "off"):
        return value.lower() in ("true", "yes", "on")
    return value


def as_list(value: t.Any) -> list[t.Any]:
    """A list variable's value: a text is split at its commas, as Ansible does it for a module's options."""
    if isinstance(value, str):
        return [word for word in map(str.strip, value.split(",")) if word]
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [str(value)]
