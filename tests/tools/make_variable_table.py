# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes plugins/plugin_utils/_variable_table.py from the argument specs of the roles and the tables of docs/variables.md.

With --check nothing is written; exit status 1 when the file is not what they make.
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = Path("plugins") / "plugin_utils" / "_variable_table.py"
_ROW = re.compile(r"^\| `(linux_builder_\w+)` \|", re.M)
_KEYS = ("type", "elements", "choices")

# This file's own header, so that it stands here once.
HEADER = Path(__file__).read_text().split("\n\n")[0]
HEAD = '''

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""All variables of users. Made by tests/tools/make_variable_table.py from the roles' argument specs; change them there."""

from __future__ import annotations

import typing as t

# fmt: off
'''


def options(root: Path) -> dict[str, dict[str, t.Any]]:
    """Variable -> type, elements and choices, which are the same in all roles that read it."""
    found: dict[str, dict[str, t.Any]] = {}
    for path in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            for name, option in (entry.get("options") or {}).items():
                short = {key: option[key] for key in _KEYS if key in option}
                if found.setdefault(name, short) != short:
                    raise SystemExit(f"{path}: {name} is {short}, but {found[name]} in another role")
    return found


def text(root: Path) -> str:
    """The whole file."""
    known = options(root)
    others = sorted(set(_ROW.findall((root / "docs" / "variables.md").read_text())) - known.keys())
    lines = ["OPTIONS: dict[str, dict[str, t.Any]] = {", *(_line(name, known[name]) for name in sorted(known)), "}"]
    lines += [
        "# Read by the playbooks, or set by the roles.",
        "OTHERS = frozenset({",
        *(f'    "{name}",' for name in others),
        "})",
    ]
    return HEADER + HEAD + "\n".join(lines) + "\n# fmt: on\n"


def _line(name: str, option: dict[str, t.Any]) -> str:
    choices = option.get("choices", [])
    pairs = [f'"{key}": "{option[key]}"' for key in ("type", "elements") if key in option]
    if choices:
        pairs.append('"choices": [\n        ' + "\n        ".join(f'"{choice}",' for choice in choices) + "\n    ]")
    return f'    "{name}": {{{", ".join(pairs)}}},'


def main(arguments: list[str], root: Path = ROOT) -> int:
    """See the module's text."""
    if "--check" not in arguments:
        (root / FILE).write_text(text(root))
        return 0
    if (root / FILE).read_text() != text(root):
        print(f"{FILE}: is not what the argument specs make; run tests/tools/make_variable_table.py")
        return 1
    print(f"{FILE} is what the argument specs make")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
