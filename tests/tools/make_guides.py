# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/docsite/rst/guides.rst: the index of docs/README.md for the documentation site. With --check only looks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# This file's own header, so that it stands here once.
HEADER = Path(__file__).read_text().split("\n\n")[0].replace("# ", "  ")
HEAD = """
.. _ansible_collections.nixmac.linux_builder.docsite.guides:

Guides
======

In reading order.
"""
ROOT = Path(__file__).resolve().parents[2]
BASE = "https://github.com/nixmac/linux_builder/blob/main/"
_LINE = re.compile(r"^(?:## (?P<heading>.+)|(?P<number>\d+)\. \[(?P<title>[^\]]+)\]\((?P<path>[^)]+)\).*)$", re.M)


def page(index: str) -> str:
    """The page that the index makes."""
    text = f"..\n{HEADER}\n{HEAD}"
    for line in _LINE.finditer(index):
        if line["heading"]:
            text += f"\n{line['heading']}\n{'-' * len(line['heading'])}\n\n"
        else:
            path = line["path"][3:] if line["path"].startswith("../") else f"docs/{line['path']}"
            text += f"{line['number']}. `{line['title']} <{BASE}{path}>`__\n"
    return text


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the page, or say whether it is what the index makes."""
    target = root / "docs" / "docsite" / "rst" / "guides.rst"
    text = page((root / "docs" / "README.md").read_text())
    if "--check" not in arguments:
        target.write_text(text)
        return 0
    if target.read_text() != text:
        print(f"{target.relative_to(root)}: is not what docs/README.md makes; run tests/tools/make_guides.py")
        return 1
    print(f"{target.relative_to(root)} is what docs/README.md makes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
