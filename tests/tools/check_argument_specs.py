# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds each role's defaults/main.yml and meta/argument_specs.yml to each other.

Same set of variables, same default values, the same default wherever a variable occurs in more than one role,
and every user variable begins with the collection's prefix. Prints one line per fault; exit status 1 if there is one.
"""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import yaml

PREFIX = "linux_builder_"
_MISSING = object()


def read_defaults(role: Path) -> dict[str, t.Any]:
    """The role's defaults, {} where the file is empty."""
    return yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}


def read_options(role: Path) -> dict[str, dict[str, t.Any]]:
    """The options of the role's entry point `main`."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return specs["argument_specs"]["main"].get("options") or {}


def compare(role: str, defaults: dict[str, t.Any], options: dict[str, dict[str, t.Any]]) -> t.Iterator[str]:
    """Faults of one role."""
    for name in sorted({*defaults, *options}):
        if not name.startswith(PREFIX):
            yield f"{role}: {name} does not begin with {PREFIX}"
        if name not in options:
            yield f"{role}: {name} has a default but is not in meta/argument_specs.yml"
        elif name not in defaults:
            if not options[name].get("required"):
                yield f"{role}: {name} is in meta/argument_specs.yml but has no default and is not required"
        else:
            documented = options[name].get("default", _MISSING)
            actual = defaults[name]
            if documented is _MISSING or (type(documented), documented) != (type(actual), actual):
                shown = "none" if documented is _MISSING else repr(documented)
                yield f"{role}: {name} is {actual!r} in defaults/main.yml, but {shown} in meta/argument_specs.yml"


def across(defaults: dict[str, dict[str, t.Any]]) -> t.Iterator[str]:
    """Variables that have different defaults in different roles."""
    first: dict[str, tuple[str, t.Any]] = {}
    for role, variables in defaults.items():
        for name, value in variables.items():
            owner, known = first.setdefault(name, (role, value))
            if known != value:
                yield f"{name} is {known!r} in role {owner}, but {value!r} in role {role}"


def main(root: Path) -> int:
    """Check all roles below `root`; returns the exit status."""
    roles = sorted(path for path in (root / "roles").iterdir() if path.is_dir())
    defaults = {role.name: read_defaults(role) for role in roles}
    faults = [fault for role in roles for fault in compare(role.name, defaults[role.name], read_options(role))]
    faults += across(defaults)
    for fault in faults:
        print(fault)
    print(f"{len(roles)} roles, {len({name for names in defaults.values() for name in names})} variables, {len(faults)} faults")
    return 1 if faults or not roles else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
