# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Python values as expressions of the Nix language."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

_INT = range(-(2**63) + 1, 2**63)  # the smallest one cannot be written: its positive half is read first
_ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("${", "\\${"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))


def string(text: str) -> str:
    """A Nix string literal on one line. ConfigError for a NUL character, which no Nix string can have."""
    if "\0" in text:
        raise ConfigError("A string for Nix has a NUL character, which Nix does not know. Remove it.")
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return f'"{text}"'


def value(data: t.Any, where: str = "config") -> str:
    """`data` (what JSON can say) as a Nix expression; keys of mappings become attribute names as they are, dots included.

    where: what an error calls the place. ConfigError for what Nix has no value for.
    """
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    if isinstance(data, (int, float)):
        return _number(data, where)
    if isinstance(data, str):
        return string(data)
    if isinstance(data, (list, tuple)):
        return "".join(("[ ", *(f"({value(entry, f'{where}[{index}]')}) " for index, entry in enumerate(data)), "]"))
    if isinstance(data, t.Mapping):
        return "".join(("{ ", *(f"{_name(key, where)} = {value(entry, f'{where}.{key}')}; " for key, entry in data.items()), "}"))
    raise ConfigError(f"{where}: a value of type {type(data).__name__} has no form in Nix. Write it as a string.")


def _name(key: t.Any, where: str) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"{where}: {key!r} is no name. Put it in quotes.")
    return string(key)


def _number(data: float, where: str) -> str:
    if isinstance(data, int):
        if data not in _INT:
            raise ConfigError(f"{where}: {data} does not fit into 64 bits, and Nix has no larger numbers.")
        return str(data)
    if not math.isfinite(data):
        raise ConfigError(f"{where}: {data} is no number for Nix.")
    text = repr(data)
    # Nix wants a point in every float, before the exponent.
    mantissa, separator, exponent = text.partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + separator + exponent
