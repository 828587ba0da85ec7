# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes docs/troubleshooting.md from the table of the diagnosis (plugins/module_utils/_diagnose_table.py).

With --check nothing is written; exit status 1 when the page is not what the table makes.
"""

from __future__ import annotations

import importlib
import sys
import types
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path("docs") / "troubleshooting.md"
_PACKAGE = "ansible_collections.nixmac.linux_builder.plugins.module_utils"

HEAD = """\
<!--
Copyright (c) 2026, the nixmac.linux_builder authors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later

Made by tests/tools/make_troubleshooting.py from plugins/module_utils/_diagnose_table.py; change it there.
-->

# Troubleshooting

Let the Mac say what is wrong:

```console
$ ansible-playbook nixmac.linux_builder.diagnose -i inventory -K
```

It looks at the links between the Mac and a Linux build in the order of this page, names the first one that is broken, and
says what to do ([how it works](diagnosis.md)). It changes nothing. A failed `nixmac.linux_builder.verify` does the same by
itself. Nix' own words for nearly all of this are "Failed to find a machine for remote build!".

Words in braces stand for what is found on the Mac. *Weak* means that builds are made all the same, but not well or not
for long. No line of this page has been tried on a Mac; all of them but those marked † are tried on stand-ins, by breaking
the link.
"""


def table(root: Path) -> t.Any:
    """The links, read without Ansible: the collection's packages stand for directories of the checkout."""
    parts = _PACKAGE.split(".")
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__path__ = [str(root / "plugins" / "module_utils")] if number == len(parts) else []
            sys.modules[name] = module
    return importlib.import_module(f"{_PACKAGE}._diagnose_table").LINKS


def tried(root: Path) -> set[str]:
    """`link.cause` of all faults that the scenario `diagnose` makes."""
    tests = root / "extensions" / "molecule" / "diagnose" / "tests"
    text = "".join(path.read_text() for path in sorted(tests.rglob("*.py")))
    return {word for word in text.replace("'", '"').split('"') if word.count(".") == 1}


def page(root: Path) -> str:
    """The whole page."""
    known = tried(root)
    lines = [HEAD]
    for link in table(root):
        lines.append(f"## {link.name}\n\n{link.checks}\n")
        lines.append("| cause | what is wrong | what to do |\n|---|---|---|")
        for cause in link.causes:
            weak = " (weak)" if cause.weak else ""
            mark = "" if f"{link.name}.{cause.code}" in known else " †"
            lines.append(f"| `{cause.code}`{weak}{mark} | {_cell(cause.says)} | {_cell(cause.fix)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write or check the page; the exit status."""
    wanted = page(root)
    path = root / PAGE
    if "--check" not in arguments:
        path.write_text(wanted)
        return 0
    if path.exists() and path.read_text() == wanted:
        print(f"{PAGE} is what the table makes")
        return 0
    print(f"{PAGE} is not what the table makes: run python tests/tools/make_troubleshooting.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
