# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of the collection goes over the wire with each execution of a module: AnsiballZ follows all imports."""

from __future__ import annotations

import ast
import pathlib
import zlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]
UTILS = ROOT / "plugins" / "module_utils"
MODULES = ROOT / "plugins" / "modules"
PREFIX = "ansible_collections.nixmac.linux_builder.plugins.module_utils"

# kB, each file compressed; about a tenth more than it is.
BOUNDS = {
    "builder_adopt": 144,
    "builder_image": 46,
    "builder_info": 247,
    "builder_manifest": 38,
    "builder_verify": 161,
    "builder_vm": 206,
    "launchd_service": 57,
    "nix_conf": 56,
    "nix_daemon": 51,
    "nix_delegation": 102,
    "nix_machine": 73,
    "ssh_host_key": 50,
}

# Files that a Mac compiles in a run that has nothing to do, and their kB; about a tenth more than it is.
COMPILED = {
    "builder_info": (87, 203),
    "builder_verify": (30, 60),
}


def inside(tree, everywhere):
    """The nodes of a file; `everywhere` also those inside functions, and what is for mypy alone."""
    for node in ast.iter_child_nodes(tree):
        late = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        yield node
        if everywhere or not (late or typing):
            yield from inside(node, everywhere)


def imported(path, everywhere):
    """Names of the files in module_utils that a file imports: when it is imported itself, or `everywhere` in it."""
    for node in inside(ast.parse(path.read_bytes()), everywhere):
        if isinstance(node, ast.ImportFrom) and node.module == PREFIX:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PREFIX}."):
            yield node.module.rpartition(".")[2]


def payload(module, everywhere=True):
    """File -> compressed bytes. everywhere: what AnsiballZ sends; else what is compiled before the module does anything."""
    waiting, found = [MODULES / f"{module}.py"], {}
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = len(zlib.compress(path.read_bytes()))
            waiting += [UTILS / f"{name}.py" for name in imported(path, everywhere)]
    return found


@pytest.mark.parametrize("module", BOUNDS)
def test_no_module_grows_unseen(module):
    found = payload(module)
    size = sum(found.values()) / 1024
    largest = sorted(found, key=found.get, reverse=True)[:5]
    print(f"{module}: {len(found)} files, {size:.0f} kB")
    assert size <= BOUNDS[module], f"{len(found)} files, {size:.0f} kB; the largest: {[path.name for path in largest]}"


@pytest.mark.parametrize("module", COMPILED)
def test_what_is_for_bad_days_is_not_compiled_on_good_ones(module):
    found = payload(module, everywhere=False)
    files, size = len(found), sum(found.values()) / 1024
    print(f"{module}: {files} files, {size:.0f} kB")
    assert files <= COMPILED[module][0], sorted(path.name for path in found)
    assert size <= COMPILED[module][1], f"{size:.0f} kB"
    assert not {path.stem for path in found} & {"_diagnose", "_verify_explain", "_builder_causes"}


def test_every_module_has_a_bound():
    there = {path.stem for path in MODULES.glob("*.py")} - {"__init__", "fleet_report"}  # that one runs on the controller alone
    assert there == set(BOUNDS)


# What brings a Mac to another state. builder_info plans only, and goes to every Mac in every run.
CHANGES = {"_builder", "_builder_apply", "_builder_change", "_builder_disk_apply", "_builder_source", "_builder_turn", "_job"} | {
    "_launchd_apply",
    "_launchd_service",
}


@pytest.mark.parametrize("module", ["builder_info", "builder_verify"])
def test_who_only_looks_carries_nothing_that_changes_a_mac(module):
    assert {path.stem for path in payload("builder_vm")} >= CHANGES
    assert not {path.stem for path in payload(module)} & CHANGES


def test_a_look_without_diagnosis_compiles_no_rules():
    """What the imports at the top of the files bring in is compiled by the Mac in each execution."""
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_run

    tops = ast.parse(pathlib.Path(_diagnose_run.__file__).read_bytes()).body
    names = {alias.name for node in tops if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert "_diagnose" not in names
