# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds what each molecule scenario verifies to the tests that are there.

Where a directory has no tests, or is not there at all, molecule passes it over, and the scenario is green. Prints one line per
fault; exit status 1 if there is one.

check_scenarios.py DIRECTORY [SCENARIO...]: DIRECTORY has config.yml and the scenarios; without names all of them are held.
"""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import yaml


def places(shared: dict[str, t.Any], own: dict[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    """(step, directory) of all that `molecule test` and `molecule verify` look into, from config.yml and molecule.yml."""
    default = {**shared.get("verifier", {}), **own.get("verifier", {})}["directory"]
    sequence = {**shared.get("scenario", {}), **own.get("scenario", {})}["test_sequence"]
    # The last is `molecule verify` by itself.
    for step in [*sequence, "verify"]:
        action, *directories = step.split()
        if action == "verify":
            yield from ((step, directory) for directory in directories or [default])


def faults(root: Path, scenario: str) -> list[str]:
    """Faults of one scenario."""
    shared = yaml.safe_load((root / "config.yml").read_text())
    own = yaml.safe_load((root / scenario / "molecule.yml").read_text())
    empty = {place: None for place in places(shared, own) if not any((root / scenario / place[1]).rglob("test_*.py"))}
    return [f"{scenario}: the step {step!r} finds no tests in {directory}" for step, directory in empty]


def main() -> int:
    """Command line."""
    root = Path(sys.argv[1])
    scenarios = sys.argv[2:] or sorted(path.parent.name for path in root.glob("*/molecule.yml"))
    found = [fault for scenario in scenarios for fault in faults(root, scenario)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
