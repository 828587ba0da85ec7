# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The `ansible` package keeps meta, plugins, roles and playbooks of a collection, and nothing else of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The folders of plugins that ansible-core knows or the community's rules name.
FOLDERS = {"action", "doc_fragments", "filter", "module_utils", "modules", "plugin_utils"}


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., str]:
    """Runs a program of Ansible that sees the bare collection only."""
    home = tmp_path_factory.mktemp("bare")
    here = home / "ansible_collections" / "nixmac" / "linux_builder"
    for name in ("meta", "plugins", "roles", "playbooks"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))

    def call(*words: str) -> str:
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(home), "ANSIBLE_HOME": str(home / "home"), "NO_COLOR": "1"}
        done = subprocess.run(words, env=environment, cwd=home, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[ERROR]" not in done.stderr, done.stderr
        return done.stdout

    return call


def test_every_module_and_role_is_documented_without_the_rest(ansible: t.Callable[..., str]) -> None:
    modules = {f"nixmac.linux_builder.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py")}
    documents = json.loads(ansible("ansible-doc", "--json", *sorted(modules)))
    assert documents.keys() == modules
    assert all(document["doc"]["options"] and document["examples"] and document["return"] for document in documents.values())
    roles = {f"nixmac.linux_builder.{path.name}" for path in (ROOT / "roles").iterdir()}
    documents = json.loads(ansible("ansible-doc", "--json", "--type", "role", *sorted(roles)))
    assert documents.keys() == roles


def test_every_playbook_loads_without_the_rest(ansible: t.Callable[..., str]) -> None:
    playbooks = sorted(f"nixmac.linux_builder.{path.stem}" for path in (ROOT / "playbooks").glob("*.yml"))
    said = ansible("ansible-playbook", "--inventory", "localhost,", "--list-tasks", *playbooks)
    assert said.count("\nplaybook: ") == len(playbooks)


def test_there_are_no_other_folders_of_plugins_and_no_public_utils() -> None:
    plugins = ROOT / "plugins"
    assert {path.name for path in plugins.iterdir() if path.name != "__pycache__"} == FOLDERS
    for folder in ("module_utils", "plugin_utils"):
        for path in (plugins / folder).glob("*.py"):
            assert path.name.startswith("_"), path
            assert "PRIVATE to the collection" in path.read_text(), path


def test_nothing_is_left_out_of_sanity() -> None:
    assert not list(ROOT.glob("tests/sanity/ignore*"))
