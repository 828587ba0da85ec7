# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds the table of variables (docs/variables.md) to the roles: every variable is in it once, with its default.

Prints one line per fault; exit status 1 if there is one.
"""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

import yaml

TABLE = Path("docs") / "variables.md"
_HEADER = re.compile(r"^\|\s*variable\s*\|\s*default\s*\|\s*roles\s*\|")
_ROW = re.compile(r"^\|\s*`(?P<name>linux_builder_\w+)`\s*\|\s*(?P<default>[^|]*?)\s*\|\s*(?P<roles>[^|]*?)\s*\|")


class Row(t.NamedTuple):
    """One row of the table: variable, default as it is shown, names of the roles that read it."""

    name: str
    default: str
    roles: set[str]


def rows(text: str) -> t.Iterator[Row]:
    """The rows of the table whose columns are variable, default, roles; other tables are for other variables."""
    inside = False
    for line in text.splitlines():
        inside = bool(_HEADER.match(line)) or (inside and line.startswith("|"))
        match = _ROW.match(line) if inside else None
        if match:
            yield Row(match["name"], match["default"], {role.strip() for role in match["roles"].split(",")})


def fits(text: str, value: t.Any) -> bool:
    """Whether the table's text stands for this default. Words in parentheses describe a default too long to show."""
    if text.startswith("("):
        return isinstance(value, str) and len(value) > 80
    shown = {repr(value), json.dumps(value)} | ({value} if isinstance(value, str) and value else set())
    return text.strip("`") in shown


def read_roles(root: Path) -> tuple[dict[str, t.Any], dict[str, set[str]]]:
    """(variable -> default, variable -> roles that have it)."""
    defaults: dict[str, t.Any] = {}
    roles: dict[str, set[str]] = {}
    for path in sorted((root / "roles").glob("*/defaults/main.yml")):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            defaults[name] = value
            roles.setdefault(name, set()).add(path.parts[-3])
    return defaults, roles


def faults(listed: list[Row], defaults: dict[str, t.Any], roles: dict[str, set[str]]) -> t.Iterator[str]:
    """Where the table differs from the roles."""
    names = [row.name for row in listed]
    for name in sorted({*names, *defaults}):
        if name not in defaults:
            yield f"{name} is in the table, but no role has it"
        elif names.count(name) != 1:
            yield f"{name} is in the table {names.count(name)} times, not once"
    for row in listed:
        if row.name in defaults and not fits(row.default, defaults[row.name]):
            yield f"{row.name}: the table says {row.default}, the default is {defaults[row.name]!r}"
        if row.name in roles and row.roles != roles[row.name]:
            yield f"{row.name}: the table says roles {sorted(row.roles)}, it is in {sorted(roles[row.name])}"


def main(root: Path) -> int:
    """Compare the table with the roles' defaults; returns the exit status."""
    defaults, roles = read_roles(root)
    found = list(faults(list(rows((root / TABLE).read_text())), defaults, roles))
    for fault in found:
        print(f"{TABLE}: {fault}")
    print(f"{len(defaults)} variables, {len(found)} faults")
    return 1 if found or not defaults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
