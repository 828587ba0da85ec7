# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each example is run, as far as this machine can, or read by the program that it is for.

| kind | what is done with it here | and in the molecule scenario `examples`, on a stand-in |
|---|---|---|
| playbook | ansible-playbook --syntax-check; options and variables held to the real specs | run |
| tasks | the same, within a play | run, where the stand-in has what they name |
| variables | names, types and choices held to the roles' specs | |
| inventory, ini_inventory | read by ansible-inventory; variables as above | |
| requirements | read by ansible-galaxy | |
| commands | by the first word: see RULES | `ansible-playbook` and what is for the Mac itself: run |
| script | run, with what it calls made up | |
| result | its fields are in the module's RETURN | |
| shown | nothing: a picture or a line of output | |
"""

from __future__ import annotations

import http.server
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import examples
import pages
import pytest
import specs
import yaml
from ansible.cli.adhoc import AdHocCLI
from ansible.cli.doc import DocCLI
from ansible.cli.galaxy import GalaxyCLI
from ansible.cli.playbook import PlaybookCLI
from ansible.parsing.splitter import parse_kv

BIN = Path(sys.executable).parent
EVERYTHING = examples.everything()
KINDS = ("playbook", "tasks", "variables", "inventory", "ini_inventory", "requirements", "commands", "script", "result", "shown")

# What an example takes from elsewhere: variables of the user, and results of tasks that it does not show.
GIVEN = {
    "agent_token": "some token",
    "vault_builder_host_key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "inventory_hostname": "mac-1.example.com",
    "ansible_play_hosts_all": ["mac-1.example.com"],
    "groups": {"macs": ["mac-1.example.com"]},
    "nix_conf": {"changed": True},
    "host_key": specs.result_of("ssh_host_key"),
}
# A lookup of a file that the example's reader has.
FILES = {"{{ lookup('ansible.builtin.template', 'ssh_alias.conf.j2') }}": "Host linux-builder\n"}
TASK_WORDS = {
    *("name", "become", "become_user", "register", "when", "vars", "run_once", "ignore_errors", "ignore_unreachable"),
    *("notify", "tags", "delegate_to", "loop", "until", "retries", "delay", "changed_when", "no_log", "args"),
}
# ansible-doc 2.19 wants no attributes in the specs of roles, which it never showed; the documentation site does.
TOLERATED = ('contains the key "attributes"', "Deprecation warnings can be disabled")
# Modules of collections that are not here, named where somebody comes from them.
FOREIGN = {"community.general.launchd": {"name", "state", "enabled"}}


def of_kind(*kinds: str) -> t.Any:
    """pytest.mark.parametrize over the examples of these kinds."""
    chosen = [example for example in EVERYTHING if examples.kind(example) in kinds]
    return pytest.mark.parametrize("example", chosen, ids=[example.name for example in chosen])


def ansible(program: str, *words: str, directory: Path | None = None, **environment: str) -> str:
    """Run one of Ansible's programs; what it says. AssertionError where it fails or warns."""
    done = subprocess.run(
        [BIN / program, *words],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{program} {' '.join(words)}: {done.stdout}{done.stderr}"
    faults = [line for line in done.stderr.splitlines() if "WARNING]" in line and not any(words in line for words in TOLERATED)]
    assert not faults, done.stderr
    return done.stdout


def test_every_example_has_a_kind_that_is_tested() -> None:
    found = {examples.kind(example) for example in EVERYTHING}
    assert found == set(KINDS)
    assert len(EVERYTHING) > 100


def test_every_module_is_in_its_own_examples() -> None:
    for name, path in pages.MODULES.items():
        assert f"nixmac.linux_builder.{name}:" in examples.of_module(path).text


def no_duplicates(text: str) -> t.Any:
    """The YAML, by a loader that refuses a key twice."""

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[t.Any, t.Any]:
        keys = [loader.construct_object(key) for key, _value in node.value]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return yaml.load(text, Loader)


# --- tasks and playbooks ------------------------------------------------------------------------------------------------


def task_errors(task: dict[str, t.Any], known: dict[str, t.Any]) -> list[str]:
    """What is wrong with a task. known: the variables so far; a registered result is added."""
    (module,) = [key for key in task if key not in TASK_WORDS] or ["no module"]
    where = f"{task.get('name', module)}: "
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+\.[a-z_]+", module), where + f"{module} is no full name"
    faults = [] if "name" in task else ["has no name"]
    options = task[module] or {}
    if module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
        faults += _role_errors(options)
    elif module.startswith(specs.PREFIX):
        name = module[len(specs.PREFIX) :]
        faults += specs.option_errors(name, specs.rendered(_with_files(options), known))
        if "register" in task:
            known[task["register"]] = specs.result_of(name)
    elif module in FOREIGN:
        faults += [f"{module} has no {option}" for option in options.keys() - FOREIGN[module]]
    else:
        faults += [f"{module} has no {option}" for option in options.keys() - specs.foreign_options(module)]
        _evaluate(module, options, known)
    faults += specs.variable_errors(task.get("vars", {}))
    if "when" in task:
        specs.rendered("{{ " + str(task["when"]) + " }}", known)
    return [where + fault for fault in faults]


def _evaluate(module: str, options: dict[str, t.Any], known: dict[str, t.Any]) -> None:
    """Words and conditions of a task that only speaks: every variable in them has to be there."""
    if module == "ansible.builtin.debug" and "var" in options:
        specs.rendered("{{ " + options["var"] + " }}", known)
    elif module == "ansible.builtin.assert":
        conditions = options["that"] if isinstance(options["that"], list) else [options["that"]]
        specs.rendered(["{{ " + condition + " }}" for condition in conditions] + [options.get("fail_msg", "")], known)
    elif module == "ansible.builtin.debug":
        specs.rendered(options, known)


def _with_files(options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: FILES.get(value, value) if isinstance(value, str) else value for key, value in options.items()}


def _role_errors(options: dict[str, t.Any]) -> list[str]:
    name = options["name"].removeprefix(specs.PREFIX)
    if name not in pages.ROLES:
        return [f"there is no role {options['name']}"]
    if not (pages.ROLES[name] / "tasks" / f"{options.get('tasks_from', 'main')}.yml").exists():
        return [f"{options['name']} has no {options['tasks_from']}"]
    return []


def defaults_errors(defaults: dict[str, dict[str, t.Any]]) -> list[str]:
    """A default of an action group has to suit each module of it."""
    faults = []
    groups = yaml.safe_load((pages.ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    for name, options in defaults.items():
        group = name.removeprefix("group/" + specs.PREFIX)
        if group not in groups:
            faults.append(f"there is no action group {name}")
        for module in groups.get(group, []):
            faults += [f"{name}: {module}: {fault}" for fault in specs.option_errors(module, options, alone=False)]
    return faults


def play_errors(plays: list[dict[str, t.Any]]) -> list[str]:
    faults: list[str] = []
    known = dict(GIVEN)
    for play in plays:
        faults += [] if "name" in play or plays == [play] and "tasks" not in play else ["a play has no name"]
        imported = play.get("ansible.builtin.import_playbook", "").removeprefix(specs.PREFIX)
        if imported and imported not in pages.PLAYBOOKS:
            faults.append(f"there is no playbook {imported}")
        faults += specs.variable_errors(play.get("vars", {}))
        faults += defaults_errors(play.get("module_defaults", {}))
        for task in play.get("tasks", []):
            faults += task_errors(task, known)
    return faults


def plays_of(example: examples.Example) -> list[dict[str, t.Any]]:
    """The example as a playbook."""
    data = no_duplicates(example.text)
    return (
        data
        if examples.kind(example) == "playbook"
        else [{"name": "Try it", "hosts": "macs", "gather_facts": False, "tasks": data}]
    )


PLAYS = [example for example in EVERYTHING if examples.kind(example) in ("playbook", "tasks")]
# A module of a collection that is not here is no business of the syntax.
SYNTAX = [example for example in PLAYS if not any(name in example.text for name in FOREIGN)]


@pytest.mark.parametrize("example", PLAYS, ids=[example.name for example in PLAYS])
def test_playbooks_and_tasks(example: examples.Example) -> None:
    assert play_errors(plays_of(example)) == []


def test_syntax_of_playbooks_and_tasks(tmp_path: Path) -> None:
    """All in one process; a faulty one is named by its file."""
    (tmp_path / "inventory").write_text("[macs]\nmac-1.example.com\n")
    files = []
    for number, example in enumerate(SYNTAX):
        files.append(tmp_path / f"{number}-{example.name.replace('/', '-')}.yml")
        files[-1].write_text(yaml.safe_dump(plays_of(example)))
    listed = ansible("ansible-playbook", "--syntax-check", "-i", str(tmp_path / "inventory"), *map(str, files))
    assert listed.count("playbook: ") == len(SYNTAX) > 20


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"name": "a", "nixmac.linux_builder.nix_conf": {"setings": {}}}, "Supported parameters include"),
        ({"name": "a", "nixmac.linux_builder.builder_vm": {"state": "ruining"}}, "must be one of"),
        ({"name": "a", "ansible.builtin.include_role": {"name": "nixmac.linux_builder.bilder"}}, "no role"),
        ({"name": "a", "ansible.builtin.debug": {"massage": "x"}}, "has no massage"),
        ({"name": "a", "ansible.builtin.debug": {"msg": "x"}, "vars": {"linux_builder_prot": 1}}, "linux_builder_prot"),
        ({"ansible.builtin.debug": {"msg": "x"}}, "has no name"),
    ],
)
def test_a_broken_task_is_found(task: dict[str, t.Any], words: str) -> None:
    assert words in " ".join(task_errors(task, {}))


def test_defaults_that_do_not_suit_a_group_are_found() -> None:
    assert "builder_verify: cores" in " ".join(defaults_errors({"group/nixmac.linux_builder.builder": {"cores": 4}}))
    assert "no action group" in " ".join(defaults_errors({"group/nixmac.linux_builder.bilder": {}}))


def test_an_action_group_shares_what_its_page_says() -> None:
    groups = yaml.safe_load((pages.ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    text = (pages.ROOT / "docs" / "parts.md").read_text()
    shared = set.intersection(*(set(specs.module_spec(name)["argument_spec"]) for name in groups["builder"]))
    said = re.search(r"What they share \(([^)]+)\)", text)
    assert said is not None
    assert set(re.findall(r"`(\w+)`", said[1])) <= shared


def test_a_field_that_no_result_has_is_found() -> None:
    known: dict[str, t.Any] = {}
    assert task_errors({"name": "a", "nixmac.linux_builder.builder_info": {}, "register": "mac"}, known) == []
    assert task_errors({"name": "b", "ansible.builtin.debug": {"var": "mac.problems"}}, known) == []
    with pytest.raises(Exception, match="probelms"):
        task_errors({"name": "b", "ansible.builtin.debug": {"var": "mac.probelms"}}, known)


# --- variables, inventories, requirements -------------------------------------------------------------------------------


@of_kind("variables")
def test_variables(example: examples.Example) -> None:
    assert specs.variable_errors(no_duplicates(example.text)) == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"linux_builder_prot": 1}, "no variable linux_builder_prot"),
        ({"linux_builder_port": "many"}, "linux_builder_port"),
        ({"linux_builder_host_key": "mine"}, "must be one of"),
    ],
)
def test_a_broken_variable_is_found(variables: dict[str, t.Any], words: str) -> None:
    assert words in " ".join(specs.variable_errors(variables))


@of_kind("inventory", "ini_inventory")
def test_inventories(example: examples.Example, tmp_path: Path) -> None:
    path = tmp_path / ("inventory" if example.language == "ini" else "inventory.yml")
    path.write_text(example.text)
    listed = json.loads(ansible("ansible-inventory", "-i", str(path), "--list", "--export"))
    groups = {name: group for name, group in listed.items() if name not in ("_meta", "all")}
    hosts = {host for group in groups.values() for host in group.get("hosts", [])}
    # The one for a jump host shows only what is added.
    assert hosts or "ProxyJump" in example.text
    given = {name: value for group in groups.values() for name, value in group.get("vars", {}).items()}
    for variables in (given, *listed["_meta"]["hostvars"].values()):
        assert specs.variable_errors(variables) == []
        assert [name for name in variables if not name.startswith(("linux_builder_", "ansible_"))] == []


@of_kind("requirements")
def test_requirements(example: examples.Example, tmp_path: Path) -> None:
    (tmp_path / "requirements.yml").write_text(example.text)
    # Offline, where it is there already: read and resolved, and nothing fetched.
    done = subprocess.run(
        [BIN / "ansible-galaxy", "collection", "install", "--offline", "-r", tmp_path / "requirements.yml"],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stdout


@of_kind("result")
def test_results(example: examples.Example) -> None:
    results = [specs.result_of(name) for name in pages.MODULES]
    for key, value in no_duplicates(example.text).items():
        assert any(value.keys() <= result[key].keys() for result in results if result.get(key))


@of_kind("shown")
def test_what_is_shown_is_no_command(example: examples.Example) -> None:
    assert not re.search(r"^[$#] |^\s*- (?:name|hosts):", example.text, re.M)


# --- files in docs/examples ---------------------------------------------------------------------------------------------

FILES_OF_EXAMPLES = sorted(path for path in pages.EXAMPLES.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES_OF_EXAMPLES, ids=[pages.name_of(path) for path in FILES_OF_EXAMPLES])
def test_files_of_examples(path: Path) -> None:
    """Also run, by the scenarios that their guide names."""
    if path.suffix == ".cfg":
        assert "seem valid" in ansible("ansible-config", "validate", "-t", "all", directory=path.parent, ANSIBLE_CONFIG=str(path))
    elif path.suffix == ".sh":
        subprocess.run(["bash", "-n", path], check=True, timeout=60)
    else:
        data = no_duplicates(path.read_text())
        if isinstance(data, dict):
            assert json.loads(ansible("ansible-inventory", "-i", str(path), "--list"))["macs"]["hosts"]
        else:
            for play in data:
                assert specs.variable_errors(play.get("vars", {})) == []
            ansible("ansible-playbook", "--syntax-check", "-i", str(path.parent / "inventory.yml"), str(path))


# --- commands -----------------------------------------------------------------------------------------------------------

COMMANDS = [command for example in EVERYTHING if examples.kind(example) == "commands" for command in examples.commands(example)]


def by_rule(rule: str) -> list[examples.Command]:
    return [command for command in COMMANDS if RULES.get(Path(command.words[0]).name, RULES.get(command.words[0])) == rule]


# First word -> what is done with the command.
RULES = {
    "ansible-playbook": "ansible-playbook",
    "ansible": "ansible",
    "ansible-doc": "ansible-doc",
    "ansible-galaxy": "ansible-galaxy",
    "ansible-test": "make",
    "make": "make",
    "git": "git",
    "cd": "git",
    "unit.sh": "tool",
    "lint.sh": "tool",
    "molecule.sh": "tool",
    "macos.sh": "tool",
    # For the Mac itself: read by sh here, run on the stand-in by the scenario.
    **dict.fromkeys(("sudo", "tail", "ls", "nix", "nix-build", "nix-store", "cat", "umask", "awk"), "mac"),
    **dict.fromkeys(("cp", "pip", "export", "open", "slices.sh", "run.sh", "ansible-builder", "ansible-runner"), "others"),
    # For a shell on the controller, about programs that are not this collection's.
    **dict.fromkeys(("pipx", "ssh"), "elsewhere"),
}


def test_every_command_has_a_rule() -> None:
    assert [command.name for command in COMMANDS if not by_rule_of(command)] == []
    assert {by_rule_of(command) for command in COMMANDS} == set(RULES.values())


def by_rule_of(command: examples.Command) -> str:
    return RULES.get(Path(command.words[0]).name, "")


def commands(rule: str) -> t.Any:
    chosen = {command.text: command for command in by_rule(rule)}.values()
    return pytest.mark.parametrize("command", chosen, ids=[command.name for command in chosen])


def parsed(cli: t.Any, words: list[str]) -> t.Any:
    """The options as the program itself reads them. SystemExit where it does not."""
    program = cli(words)
    program.init_parser()
    return program.parser.parse_args(words[1:])


def playbook_tags(playbook: str) -> set[str]:
    """The tags that the playbook's own documentation names."""
    text = (pages.ROOT / "docs" / "playbooks.md").read_text().partition("## Tags")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\|(.+)\|$", text, re.M)]
    (own,) = [row[1] for row in rows if f"`{playbook}`" in row[0]]
    if own.startswith("none"):
        return set()
    return set(re.findall(r"`(\w+)`", own.split(". ")[0])) or {playbook}


# Taken by a role's own tasks, which Ansible does not list.
WITHIN = {"teardown": {"delegation", "builder", "credentials"}}


def test_the_tags_are_those_of_the_page() -> None:
    listed = ansible(
        "ansible-playbook", "--list-tags", "-i", "mac-1.example.com,", *(specs.PREFIX + name for name in pages.PLAYBOOKS)
    )
    for part in listed.split("\nplaybook: ")[1:]:
        name = Path(part.split("\n")[0]).stem.removeprefix(specs.PREFIX)
        # publish_image goes through site, whose tags Ansible lists there too.
        found = {tag for tags in re.findall(r"TASK TAGS: \[([^\]]*)\]", part) for tag in tags.split(", ") if tag} - {"always"}
        if name != "publish_image":
            assert found | WITHIN.get(name, set()) == playbook_tags(name), name


def playbook_errors(words: list[str]) -> list[str]:
    options = parsed(PlaybookCLI, words)
    faults = []
    for playbook in options.args:
        name = playbook.removeprefix(specs.PREFIX)
        if list(pages.EXAMPLES.glob(f"*/{playbook}")):
            continue
        if not playbook.startswith(specs.PREFIX) or name not in pages.PLAYBOOKS:
            faults.append(f"there is no playbook {playbook}")
            continue
        tags = {tag for given in options.tags + options.skip_tags for tag in given.split(",")} - {"all"}
        faults += [f"{name} has no tag {tag}" for tag in tags - playbook_tags(name)]
    for extra in options.extra_vars:
        given = json.loads(extra) if extra.startswith("{") else parse_kv(extra)
        faults += [f"{extra}: is no name=value"] if not given or "_raw_params" in given else specs.variable_errors(given)
    return faults


@commands("ansible-playbook")
def test_ansible_playbook(command: examples.Command) -> None:
    assert playbook_errors(command.words) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ansible-playbook nixmac.linux_builder.sight", "no playbook"),
        ("ansible-playbook nixmac.linux_builder.site --tags biulder", "no tag biulder"),
        ("ansible-playbook nixmac.linux_builder.site -e linux_builder_prot=1", "no variable linux_builder_prot"),
        ("ansible-playbook nixmac.linux_builder.site -e linux_builder_port=x", "linux_builder_port"),
    ],
)
def test_a_broken_command_line_is_found(line: str, words: str) -> None:
    assert words in " ".join(playbook_errors(line.split()))


def test_an_unknown_option_is_found() -> None:
    with pytest.raises(SystemExit):
        playbook_errors(["ansible-playbook", "nixmac.linux_builder.site", "--chekc"])


@commands("ansible")
def test_ansible(command: examples.Command) -> None:
    if command.words[1:] == ["--version"]:
        assert "[core" in ansible(*command.words)
        return
    options = parsed(AdHocCLI, command.words)
    task = {"name": "ad hoc", options.module_name: parse_kv(options.module_args)}
    assert task_errors(task, {}) == []


def test_ansible_doc() -> None:
    """In one process for each kind of plugin, as each takes a second to start."""
    named: dict[str, set[str]] = {}
    for command in by_rule("ansible-doc"):
        options = parsed(DocCLI, command.words)
        assert options.args
        if not options.list_dir:
            named.setdefault(options.type, set()).update(options.args)
    for type_, words in named.items():
        listed = ansible("ansible-doc", "-t", type_, *sorted(words))
        for word in words:
            assert re.search(rf"^> \w+:? [*]?{re.escape(word)}\b", listed, re.M | re.I), word
    assert "nixmac.linux_builder.nix_conf" in ansible("ansible-doc", "--list", "nixmac.linux_builder")


@commands("ansible-galaxy")
def test_ansible_galaxy(command: examples.Command) -> None:
    options = parsed(GalaxyCLI, command.words)
    assert options.action == "install"
    assert options.args == [] or options.args in (["nixmac.linux_builder"], ["./linux_builder"])


@commands("make")
def test_make(command: examples.Command) -> None:
    if command.words[0] == "ansible-test":
        assert "ansible_test.sh sanity" in (pages.ROOT / "Makefile").read_text()
        return
    done = subprocess.run(
        ["make", "--dry-run", *command.words[1:]], cwd=pages.ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@commands("tool")
def test_tools(command: examples.Command) -> None:
    tool = pages.ROOT / command.words[0]
    assert os.access(tool, os.X_OK)
    text = tool.read_text()
    for word in command.words[1:]:
        # A file of the repository, a word that the tool itself names, or an action of molecule, which it hands on.
        assert (pages.ROOT / word).exists() or re.search(rf"\b{word}\b", text) or word in ("converge", "verify", "destroy")


@commands("git")
def test_git(command: examples.Command) -> None:
    repository = yaml.safe_load((pages.ROOT / "galaxy.yml").read_text())["repository"]
    if command.words[1:] in (["clone", f"{repository}.git"], [repository.rsplit("/", 1)[1]]):
        return
    # The user's own repository: git itself says whether there are such commands and options.
    for part in command.text.split(" && "):
        words = examples.shlex.split(part)
        assert words[0] == "git"
        asked = subprocess.run([*words[:2], "-h"], cwd=pages.ROOT, capture_output=True, text=True, timeout=60, check=False)
        usage = asked.stdout + asked.stderr
        for word in words[2:]:
            assert not word.startswith("-") or re.search(rf"(^|[\s,]){re.escape(word)}\b|--\[no-\]{word[2:]}\b", usage), word


# Programs of others on the controller -> where the tests run them.
OTHERS = {
    "slices.sh": "extensions/molecule/scale",
    "run.sh": "tests/tools/own_mac.sh",
    "ansible-builder": "tests/tools/ee.sh",
    "ansible-runner": "tests/tools/ee.sh",
    "export": "extensions/molecule/scale",
    "pip": "tests/tools/ee.sh",
    "cp": "tests/tools/ee.sh",
}


@commands("others")
def test_what_others_run_is_run_by_a_scenario(command: examples.Command) -> None:
    done = subprocess.run(["sh", "-n", "-c", command.text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    program = Path(command.words[0]).name
    if program == "open":
        return  # shows a page in a browser
    where = pages.ROOT / OTHERS[program]
    files = [where] if where.is_file() else where.rglob("*")
    text = "".join(path.read_text() for path in files if path.suffix in (".py", ".sh", ".yml"))
    key = {"export": "ansible_mitogen", "cp": "docs/examples/fleet", "pip": "ansible-builder"}.get(program, program)
    assert key in text


@commands("elsewhere")
def test_commands_about_other_programs(command: examples.Command) -> None:
    # ssh has to reach the Nix that the modules use; the others are spelled as their manuals have it.
    nix = importlib.import_module("ansible_collections.nixmac.linux_builder.plugins.module_utils._nix")
    expected = {
        "pipx": ["install", "ansible-core"],
        "ssh": ["admin@mac-1.example.com", nix.CANDIDATES[0], "--version"],
    }
    assert command.words[1:] == expected[command.words[0]]


@commands("mac")
def test_commands_for_the_mac_are_shell(command: examples.Command) -> None:
    done = subprocess.run(["sh", "-n", "-c", command.text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# --- scripts ------------------------------------------------------------------------------------------------------------


@of_kind("script")
def test_every_script_is_run_below(example: examples.Example) -> None:
    assert any(words in example.text for words in ("case $? in", "computers-inventory"))


def script(words: str) -> str:
    (found,) = [example.text for example in EVERYTHING if examples.kind(example) == "script" and words in example.text]
    return found


@pytest.mark.parametrize(
    ("code", "words"), [(0, ""), (2, "a builder is broken"), (4, "a Mac is away"), (250, "ansible-playbook itself failed")]
)
def test_the_script_that_reads_exit_codes(tmp_path: Path, code: int, words: str) -> None:
    fake = tmp_path / "ansible-playbook"
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "-euc", script("case $? in")],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == words


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-i", "localhost,", "-e", "message=fails"], 2),
        (["-i", "localhost,", "-e", "message="], 0),
        (["-i", "nowhere.invalid,", "-e", "ansible_connection=ssh message="], 4),
        (["-i", "localhost,", "--no-such-option"], 2),
        (["-i", "localhost,", "--limit", "no-such-host"], 1),
        (["-i", "/no/such/inventory"], 0),
    ],
)
def test_exit_codes_are_those_of_the_page(tmp_path: Path, words: list[str], code: int) -> None:
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.ping:\n      when: inventory_hostname != 'localhost'\n"
        "    - ansible.builtin.assert: {that: message == ''}\n"
    )
    command = [BIN / "ansible-playbook", "-c", "local", play, *words]
    assert subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == code
    assert f"\n| {code} |" in (pages.ROOT / "docs" / "playbooks.md").read_text()


class Jamf(http.server.BaseHTTPRequestHandler):
    """A made-up Jamf Pro with two pages of computers."""

    def do_GET(self) -> None:
        """Answer with the page that is asked for."""
        assert self.headers["Authorization"] == "Bearer some-token"
        page = int(re.search(r"page=(\d+)$", self.path)[1])  # type: ignore[index]
        names = [["mac-1", "mac-2"], ["mac-3"]][page]
        body = json.dumps({"totalCount": 3, "results": [{"general": {"name": name}} for name in names]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: t.Any) -> None:
        """Quiet."""


def test_the_inventory_from_jamf(tmp_path: Path) -> None:
    path = tmp_path / "inventory.jamf.py"
    path.write_text(script("computers-inventory"))
    path.chmod(0o755)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jamf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listed = json.loads(
            ansible(
                *("ansible-inventory", "-i", str(path), "--list"),
                JAMF_URL=f"http://127.0.0.1:{server.server_port}",
                JAMF_TOKEN="some-token",
                no_proxy="127.0.0.1",
            )
        )
        server.shutdown()
    assert listed["macs"]["hosts"] == ["mac-1", "mac-2", "mac-3"]
