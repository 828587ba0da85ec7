# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Property lists: read in either format, written as XML, compared by value and type."""

from __future__ import annotations

import copy
import datetime
import plistlib
import typing as t
import xml.parsers.expat

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError

# All that plistlib of 3.9 to 3.14 was seen to raise for bytes that are no property list.
_UNREADABLE = (
    plistlib.InvalidFileException,
    xml.parsers.expat.ExpatError,
    ValueError,
    TypeError,
    LookupError,  # an encoding nobody knows, besides keys and indexes
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    AssertionError,
)
HIDDEN = "********"

Definition = dict[str, t.Any]


def decode(path: str, content: bytes) -> Definition:
    """The dictionary in a property list, XML or binary. FileError when it is none (launchd: 109)."""
    try:
        value = plistlib.loads(content)
    except _UNREADABLE as exc:
        raise FileError(
            f"{path}: is not a property list that launchd reads ({type(exc).__name__}). Check it with `plutil -lint`.", path=path
        ) from exc
    if not isinstance(value, dict):
        raise FileError(f"{path}: is not a dictionary but {type(value).__name__}. Check it with `plutil -p`.", path=path)
    return value


def encode(definition: Definition) -> bytes:
    """XML with sorted keys, so that the same definition always gives the same bytes. ConfigError for what cannot be written."""
    try:
        return plistlib.dumps(definition, fmt=plistlib.FMT_XML, sort_keys=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ConfigError(f"definition: cannot be written as a property list: {exc}. Correct that value.") from exc


def same(left: t.Any, right: t.Any) -> bool:
    """Equal by value and type: true is not 1 and 1 is not 1.0, as in a property list; the order of keys is nothing."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right))
    return bool(left == right)


def readable(definition: Definition | None, hidden: t.Sequence[str], other: Definition | None = None) -> str:
    """The definition as text for a diff; the values of the environment variables named in `hidden` are not in it.

    A hidden value that differs from the one in `other` is marked, so that the change is seen and the value is not.
    """
    if definition is None:
        return ""
    shown = copy.deepcopy(definition)
    environment = shown.get("EnvironmentVariables")
    if isinstance(environment, dict):
        before = (other or {}).get("EnvironmentVariables")
        before = before if isinstance(before, dict) else {}
        for name in set(hidden) & environment.keys():
            moved = name in before and before[name] != environment[name]
            environment[name] = f"{HIDDEN} (changed)" if moved else HIDDEN
    return _lines(shown, 0)


def _lines(value: t.Any, depth: int) -> str:
    indent = "  " * depth
    if isinstance(value, dict):
        return "".join(f"{indent}{key}:{_leaf(value[key], depth)}" for key in sorted(value, key=str))
    return "".join(f"{indent}-{_leaf(item, depth)}" for item in value)


def _leaf(value: t.Any, depth: int) -> str:
    if isinstance(value, (dict, list)):
        return "\n" + _lines(value, depth + 1) if value else (" {}\n" if isinstance(value, dict) else " []\n")
    if isinstance(value, bool):
        return f" {str(value).lower()}\n"
    if isinstance(value, (bytes, datetime.datetime)):
        return f" {value!s}\n"
    return f" {value!r}\n"
