# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks behind `make lint`, and the count behind the last line of `make test`."""

from __future__ import annotations

import importlib.util
import types
import typing as t
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


specs = load("check_argument_specs")
table = load("check_variables_table")
scenarios = load("check_scenarios")
summary = load("summary")

DEFAULT = {"linux_builder_port": 31022}
OPTION = {"linux_builder_port": {"type": "int", "default": 31022}}


@pytest.fixture
def role(tmp_path: Path) -> t.Iterator[t.Callable[[str, str], Path]]:
    """Writes a role's defaults and options (YAML texts) and returns the collection's root."""

    def write(defaults: str, options: str) -> Path:
        for place, text in {
            "defaults/main": defaults,
            "meta/argument_specs": f"argument_specs: {{main: {{options: {options}}}}}",
        }.items():
            path = tmp_path / "roles" / "builder" / f"{place}.yml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_equal_defaults_and_options_pass() -> None:
    assert list(specs.compare("builder", DEFAULT, OPTION)) == []


@pytest.mark.parametrize(
    ("defaults", "options", "words"),
    [
        ({}, OPTION, "has no default and is not required"),
        (DEFAULT, {}, "is not in meta/argument_specs.yml"),
        ({"linux_builder_port": 22}, OPTION, "is 22 in defaults/main.yml, but 31022"),
        ({"linux_builder_port": True}, {"linux_builder_port": {"default": 1}}, "is True"),
        (DEFAULT, {"linux_builder_port": {"type": "int"}}, "but none in"),
        ({"port": 1}, {"port": {"default": 1}}, "does not begin with linux_builder_"),
    ],
)
def test_each_difference_is_a_fault(defaults: t.Any, options: t.Any, words: str) -> None:
    (fault,) = specs.compare("builder", defaults, options)
    assert words in fault


def test_required_option_needs_no_default() -> None:
    assert list(specs.compare("builder", {}, {"linux_builder_x": {"required": True}})) == []


def test_a_variable_has_one_default_in_all_roles() -> None:
    (fault,) = specs.across({"a": {"linux_builder_port": 1}, "b": {"linux_builder_port": 2}})
    assert "is 1 in role a, but 2 in role b" in fault


def test_check_of_specs_reads_the_files(role: t.Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert specs.main(role("linux_builder_port: 1", "{linux_builder_port: {default: 1}}")) == 0
    assert specs.main(role("linux_builder_port: 1", "{linux_builder_port: {default: 2}}")) == 1
    assert "1 roles, 1 variables, 1 faults" in capsys.readouterr().out


def check_table(root: Path, *lines: str) -> int:
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "variables.md").write_text(
        "\n".join(["| variable | default | roles | meaning |", "|---|---|---|---|", *lines])
    )
    return int(table.main(root))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("| `linux_builder_port` | `1` | builder | Port. |", 0),
        ("| `linux_builder_port` | `2` | builder | Port. |", 1),
        ("| `linux_builder_port` | `1` | verify | Port. |", 1),
        ("| `linux_builder_other` | `1` | builder | Port. |", 1),
        ("", 1),
    ],
)
def test_table_of_variables_is_held_to_the_roles(role: t.Callable[[str, str], Path], line: str, status: int) -> None:
    assert check_table(role("linux_builder_port: 1", "{}"), line) == status


def test_table_shows_lists_and_long_texts(role: t.Callable[[str, str], Path]) -> None:
    root = role(f"linux_builder_list: [a, b]\nlinux_builder_key: {'x' * 90}\nlinux_builder_none: ''", "{}")
    rows = ["list` | `['a', 'b']`", "key` | (a long key)", "none` | `''`"]
    assert check_table(root, *(f"| `linux_builder_{row} | builder | It. |" for row in rows)) == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("==== 22 passed in 1.10s ====", (22, 0, 0)),
        ("\x1b[31m=== \x1b[1m1 failed\x1b[0m, 3 passed, 2 skipped, 1 warning in 61.00s (0:01:01) ===\x1b[0m", (3, 1, 2)),
        ("2 passed, 1 error in 0.5s", (2, 1, 0)),
        ("no tests ran in 0.01s", (0, 0, 0)),
        ("the play had 3 passed in it", (0, 0, 0)),
    ],
)
def test_closing_lines_are_counted(line: str, expected: tuple[int, int, int]) -> None:
    found = summary.count(f"before\n{line}\nafter")
    assert (found["passed"], found["failed"], found["skipped"]) == expected


@pytest.mark.parametrize(("arguments", "status"), [(["--stages-passed", "2"], 0), ([], 1)])
def test_summary_fails_when_something_failed_or_nothing_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int
) -> None:
    (tmp_path / "a.log").write_text("no pytest here")
    assert summary.main([str(tmp_path), *arguments]) == status
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "reason",
    [
        "lab: `podman start nixmac-mac-test ...` failed with exit code 125.",
        'fatal: [localhost]: FAILED! => {"rc": 1}',
        '\x1b[31m    "stderr": "Error: cannot listen on the TCP port"',
        "E   AssertionError: 1 is not 2",
        "plugins/module_utils/_x.py:3: error: Incompatible types",
    ],
)
def test_summary_tells_what_a_failed_stage_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str) -> None:
    """Of a run far away perhaps the end of its output alone is to be had."""
    failed = tmp_path / "Molecule.log"
    failed.write_text(f"TASK [Start them]\n{reason}\nDETAILS\n")
    assert summary.main([str(tmp_path), "--stages-passed=1", f"--failed={failed}"]) == 1
    title, told, last = capsys.readouterr().out.splitlines()
    assert (title, last) == ("Molecule:", "1 passed, 1 failed, 0 skipped")
    assert told.strip() == reason.replace("\x1b[31m", "").strip()


@pytest.mark.parametrize(("change", "status"), [("", 0), ("x", 1)])
def test_the_page_of_troubleshooting_is_held_to_the_table(tmp_path: Path, change: str, status: int) -> None:
    root = TOOLS.parents[1]
    page = load("make_troubleshooting")
    for name in ("plugins", "extensions"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "docs").mkdir()
    assert page.main(["--check"], tmp_path) == 1
    page.main([], tmp_path)
    text = (tmp_path / "docs" / "troubleshooting.md").read_text()
    assert "| `not_loaded` | The job is not loaded into launchd. |" in text
    (tmp_path / "docs" / "troubleshooting.md").write_text(text + change)
    assert page.main(["--check"], tmp_path) == status


@pytest.mark.parametrize(("change", "status"), [("", 0), ("31. [More](more.md)\n", 1)])
def test_the_page_of_guides_is_held_to_the_index(tmp_path: Path, change: str, status: int) -> None:
    guides = load("make_guides")
    (tmp_path / "docs" / "docsite" / "rst").mkdir(parents=True)
    index = tmp_path / "docs" / "README.md"
    index.write_text("# Guides\n\n## Begin\n\n1. [Start](start.md): so.\n2. [Help](../CONTRIBUTING.md)\n")
    guides.main([], tmp_path)
    text = (tmp_path / "docs" / "docsite" / "rst" / "guides.rst").read_text()
    assert "Begin\n-----\n\n1. `Start <https://github.com/nixmac/linux_builder/blob/main/docs/start.md>`__\n" in text
    assert "blob/main/CONTRIBUTING.md>" in text
    index.write_text(index.read_text() + change)
    assert guides.main(["--check"], tmp_path) == status


@pytest.fixture
def scenario(tmp_path: Path) -> t.Callable[[str], list[str]]:
    """The faults of a scenario with this molecule.yml, whose tests are in tests/there."""
    (tmp_path / "config.yml").write_text("verifier: {name: testinfra, directory: tests, options: {v: true}}")
    (tmp_path / "one" / "tests" / "there").mkdir(parents=True)
    (tmp_path / "one" / "tests" / "there" / "test_it.py").touch()
    (tmp_path / "one" / "tests" / "empty").mkdir()

    def found(own: str) -> list[str]:
        (tmp_path / "one" / "molecule.yml").write_text(own)
        return scenarios.faults(tmp_path, "one")

    return found


@pytest.mark.parametrize(
    ("steps", "more", "fault"),
    [
        ("[create, verify]", "", ""),
        ("[create, verify tests/there]", "", ""),
        ("[verify, verify tests/empty]", "", "one: the step 'verify tests/empty' finds no tests in tests/empty"),
        ("[verify tests/there tests/gone]", "", "one: the step 'verify tests/there tests/gone' finds no tests in tests/gone"),
        ("[verify tests/there]", "verifier: {directory: tests/gone}", "one: the step 'verify' finds no tests in tests/gone"),
        ("[verify]", "verifier: {directory: tests/there}", ""),
    ],
)
def test_a_step_without_tests_is_a_fault(scenario: t.Callable[[str], list[str]], steps: str, more: str, fault: str) -> None:
    assert scenario(f"scenario: {{test_sequence: {steps}}}\n{more}") == ([fault] if fault else [])
