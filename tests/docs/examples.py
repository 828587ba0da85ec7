# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in README, guides, roles and modules, with what kind of example it is. What fits no kind is an error."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
import typing as t
from pathlib import Path

import pages
import yaml

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)`((?:ansible[a-z-]*|make|tests/tools/[\w.]+|tests/lab/[\w.]+) [^`\n]+)`(?!`)")
_GUEST_LINE = re.compile(r"^\S+@\S+:")


class Example(t.NamedTuple):
    """page: its path. line: where it begins. language: as fenced, `module` for EXAMPLES, `inline` for code within a line."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """How a failing test names it."""
        return f"{pages.name_of(self.page)}:{self.line}"


class Command(t.NamedTuple):
    """One command of an example. words: without environment and comment. root: whether it stands after a `#` prompt."""

    example: Example
    text: str
    words: list[str]
    root: bool

    @property
    def name(self) -> str:
        """How a failing test names it."""
        return f"{self.example.name} {self.text[:60]}"


def fenced(page: Path) -> t.Iterator[Example]:
    text = page.read_text()
    for match in _FENCE.finditer(text):
        yield Example(page, text[: match.start()].count("\n") + 1, match["language"], textwrap.dedent(match["text"]))


def inline(page: Path) -> t.Iterator[Example]:
    text = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text())
    for match in _INLINE.finditer(text):
        yield Example(page, text[: match.start()].count("\n") + 1, "inline", match[1])


def of_module(path: Path) -> Example:
    """The module's EXAMPLES."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return Example(path, node.lineno, "module", ast.literal_eval(node.value))
    raise AssertionError(f"{path}: has no EXAMPLES")


def everything() -> list[Example]:
    found = [example for page in pages.PAGES for read in (fenced, inline) for example in read(page)]
    return found + [of_module(path) for path in pages.MODULES.values()]


def kind(example: Example) -> str:
    """What is tested of it; see the tests of the same names. AssertionError for what is nothing that is known."""
    if example.language in ("console", "inline"):
        return "commands"
    if example.language in ("sh", "python"):
        return "script"
    if example.language == "ini":
        return "ini_inventory"
    if example.language == "text":
        # Something shown, not something to do: a picture, a line of output, a template to fill in.
        return "shown"
    if example.language in ("yaml", "module"):
        return _kind_of_yaml(yaml.safe_load(example.text), example.name)
    raise AssertionError(f"{example.name}: nothing is known of examples in {example.language or 'no language'!r}")


def _kind_of_yaml(data: t.Any, name: str) -> str:
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        return "playbook" if all({"hosts", "ansible.builtin.import_playbook"} & item.keys() for item in data) else "tasks"
    if isinstance(data, dict):
        if all(str(key).startswith(("linux_builder_", "ansible_")) for key in data):
            return "variables"
        if "collections" in data:
            return "requirements"
        if all(isinstance(value, dict) and value.keys() <= {"hosts", "vars", "children"} for value in data.values()):
            return "inventory"
        if len(data) == 1:
            return "result"
    raise AssertionError(f"{name}: is YAML of no known kind")


def commands(example: Example) -> list[Command]:
    """The commands of an example: lines after `$ ` or `# `, with the lines that a backslash continues."""
    if example.language == "inline":
        return [_command(example, example.text, False)]
    found: list[Command] = []
    pending: list[str] = []
    root = False
    for line in example.text.splitlines():
        if pending:
            pending.append(line.strip())
        elif line.startswith(("$ ", "# ")):
            root = line.startswith("# ")
            pending = [line[2:].strip()]
        else:
            raise AssertionError(f"{example.name}: {line!r} begins with no prompt")
        if pending[-1].endswith("\\"):
            pending[-1] = pending[-1][:-1].strip()
        else:
            found.append(_command(example, " ".join(pending), root))
            pending = []
    assert not pending, f"{example.name}: ends within a command"
    return found


def _command(example: Example, text: str, root: bool) -> Command:
    # A `#` within a word is an attribute of a flake.
    text = re.sub(r"\s+# .*$", "", text)
    words = shlex.split(text)
    while re.match(r"^[A-Z_]+=", words[0]):
        words.pop(0)
    return Command(example, text, words, root)
