# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guides lead somewhere: links, anchors, names of variables, roles, playbooks, modules and files, and the index."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pages
import pytest

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
_CODE = re.compile(r"`[^`\n]+`")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.M)
_NAME = re.compile(r"(?<![\w.])nixmac\.linux_builder\.(\w+)")
_VARIABLE = re.compile(r"(?<![\w-])(linux_builder_[a-z0-9_]*[a-z0-9])(?!\w|\*)")
_FILE = re.compile(r"`((?:tests|roles|plugins|playbooks|extensions|docs|changelogs|meta|\.github)/[\w./-]+)`")
_REPOSITORY = "https://github.com/nixmac/linux_builder/"

# linux_builder_... that is no variable: the collection, and the slip that the page of variables shows.
_NO_VARIABLES = {"linux_builder", "linux_builder_prot"}

IDS = [pages.name_of(page) for page in pages.PAGES]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
    return plain.strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(heading) for heading in _HEADING.findall(_FENCE.sub("", text))}


def test_slugs_are_those_of_github() -> None:
    assert slug("Restarts, FileVault, sleep") == "restarts-filevault-sleep"
    assert slug("`site` and [more](x.md)") == "site-and-more"


@pytest.mark.parametrize("page", pages.PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    faults = []
    for target in _LINK.findall(_FENCE.sub("", text)):
        if target.startswith(("http://", "https://")):
            if target.startswith(_REPOSITORY + "tree/main/") and not (pages.ROOT / target.split("/main/", 1)[1]).exists():
                faults.append(target)
            continue
        path, _sharp, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            faults.append(target)
    assert not faults, f"{pages.name_of(page)}: these lead nowhere: {faults}"


@pytest.mark.parametrize("page", pages.PAGES, ids=IDS)
def test_names_exist(page: Path) -> None:
    known = {*pages.PLAYBOOKS, *pages.ROLES, *pages.MODULES}
    text = page.read_text()
    faults = {f"nixmac.linux_builder.{name}" for name in _NAME.findall(text) if name not in known}
    faults |= {name for name in _VARIABLE.findall(text) if name not in pages.variables() | _NO_VARIABLES}
    faults |= {path for path in _FILE.findall(text) if not (pages.ROOT / path).exists() and not list(pages.ROOT.glob(path))}
    assert not faults, f"{pages.name_of(page)}: there is no {', '.join(sorted(faults))}"


def index() -> list[tuple[str, str]]:
    """(title, file) of each guide, in the order of docs/README.md."""
    text = (pages.ROOT / "docs" / "README.md").read_text()
    return re.findall(r"^\d+\. \[([^\]]+)\]\(([^)]+)\)", text, re.M)


def test_the_index_has_every_guide_once() -> None:
    listed = [path for _title, path in index() if not path.startswith("..")]
    assert sorted(listed) == sorted(page.name for page in (pages.ROOT / "docs").glob("*.md") if page.name != "README.md")


def test_the_index_counts() -> None:
    numbers = re.findall(r"^(\d+)\. \[", (pages.ROOT / "docs" / "README.md").read_text(), re.M)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))


def test_make_help_shows_every_target() -> None:
    makefile = (pages.ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    targets = re.findall(r"^([a-z-]+):(.*)$", makefile, re.M)
    assert sorted(name for name, _rest in targets) == sorted(phony[1].split())
    assert [name for name, rest in targets if "## " not in rest] == []


def names(cells: t.Iterable[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_playbook_is_in_the_tables_of_playbooks() -> None:
    text = (pages.ROOT / "docs" / "playbooks.md").read_text()
    what, _heading, rest = text.partition("## Tags")
    tags, _heading, codes = rest.partition("## Exit codes")
    for part in (what, tags, codes.partition("What counts as failed")[2]):
        first = [row.split(" | ")[0] for row in re.findall(r"^\|(.+)\|$", part, re.M)]
        assert names(first) == set(pages.PLAYBOOKS), part[:60]
    readme = (pages.ROOT / "README.md").read_text()
    assert {name for name in pages.PLAYBOOKS if f"| `nixmac.linux_builder.{name}` |" in readme} == set(pages.PLAYBOOKS)
