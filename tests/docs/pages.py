# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages whose examples and links are tested, and what the collection really has."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
]
PLAYBOOKS = {path.stem: path for path in sorted((ROOT / "playbooks").glob("*.yml"))}
ROLES = {path.name: path for path in sorted((ROOT / "roles").iterdir()) if path.is_dir()}
MODULES = {path.stem: path for path in sorted((ROOT / "plugins" / "modules").glob("*.py"))}

EXAMPLES = ROOT / "docs" / "examples"

_ROW = re.compile(r"^\| `(linux_builder_\w+)` \|", re.M)


def name_of(page: Path) -> str:
    """The page as messages name it."""
    return str(page.relative_to(ROOT))


def role_options() -> dict[str, dict[str, t.Any]]:
    """Variable -> its option in the argument specs of the roles, which agree in type and choices."""
    found: dict[str, dict[str, t.Any]] = {}
    for role in ROLES.values():
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
        for entry in specs.values():
            for name, option in (entry.get("options") or {}).items():
                found.setdefault(name, option)
    return found


def variables() -> set[str]:
    """Every variable that users may set or read: the tables of docs/variables.md, which lint holds to the roles."""
    return set(_ROW.findall((ROOT / "docs" / "variables.md").read_text()))
