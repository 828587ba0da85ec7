# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the roles' variables to the options of the modules, and from their plans to what is reported."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_look,
    _due,
    _machines_apply,
    _nixconf,
    _sshkey_look,
    _wanted,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.modules import (
    builder_vm,
    nix_conf,
    nix_machine,
    ssh_host_key,
)

ROLES = pathlib.Path(__file__).resolve().parents[4] / "roles"
VARIABLES = {
    name: value
    for role in ("preflight", "credentials", "trusted_users", "builder", "delegation")
    for name, value in yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text()).items()
}
INFO = {"builder": {"host_key": "stock", "public_host_key": None}, "nix": {"managed_by": "none"}, "adoptable": []}
DEFAULTS = {"system": "aarch64-linux", "systems": ["aarch64-linux"], "features": ["kvm"], "cores": 4, "max_jobs": 4}


def wanted(info=None, exposed=(), **variables):
    given = {**VARIABLES, **{f"linux_builder_{name}": value for name, value in variables.items()}}
    return _wanted.Wanted(given, info or INFO, DEFAULTS, exposed)


class Asked(Exception):
    """Carries an argument spec out of a module's main()."""


def spec_of(module, monkeypatch):
    """The argument spec with which a module makes its AnsibleModule."""

    def stop(self, argument_spec, **_options):
        raise Asked(argument_spec)

    monkeypatch.setattr(basic.AnsibleModule, "__init__", stop)
    with pytest.raises(Asked) as caught:
        module.main()
    return caught.value.args[0]


@pytest.fixture
def asked(monkeypatch):
    """The options that each area's planner gets, on a Mac where nothing is to be done."""
    calls = {}

    def record(name, answer, plans_only=False):
        def run(options, *rest):
            assert plans_only or rest[0] is True  # check mode
            calls.setdefault(name, []).append(dict(options))
            return answer

        return run

    done = Outcome(
        False, {"definition": {"Label": "x"}, "builders_needed": False, "builders_reaching": "@/etc/nix/machines"}, "", ""
    )
    monkeypatch.setattr(_builder_look, "running", record("builder_vm", done, plans_only=True))
    monkeypatch.setattr(_machines_apply, "run", record("nix_machine", done))
    monkeypatch.setattr(_nixconf, "run", record("nix_conf", done))
    monkeypatch.setattr(
        _sshkey_look, "foretell", record("ssh_host_key", _sshkey_look.Report(False, {}, "", "", []), plans_only=True)
    )

    class Daemon:
        def __init__(self, _options, _runner):
            self.decision = type("Decision", (), {"required": False, "reason": "it is current"})
            self.alive = self.noted = True

        def run(self, check_mode):
            assert check_mode
            return self

    monkeypatch.setattr(_wanted, "Daemon", Daemon)
    monkeypatch.setattr(_due, "unclaimed", lambda _part, _paths: "")
    monkeypatch.setattr(_due, "builder", lambda options, _runner: "asked for the newest" if options["update"] else "")
    return calls


@pytest.mark.parametrize("form", ["alias", "manual"])
@pytest.mark.parametrize("module", [builder_vm, nix_conf, nix_machine, ssh_host_key])
def test_the_planners_get_what_the_module_would_give_them(asked, monkeypatch, module, form):
    """What is not asked for is None for the planners here, and the default for them in the module: both must be one."""
    _wanted.drift(wanted(form=form), Runner())
    name = module.__name__.rpartition(".")[2]
    spec = spec_of(module, monkeypatch)
    assert asked[name]
    for options in asked[name]:
        for option, form_of in spec.items():
            default = form_of.get("default")
            if option not in options and default not in (None, False, [], {}):
                pytest.fail(f"{name}: {option} is {default!r} by default, and is not given")


def test_the_role_gives_builder_vm_no_option_that_is_missing_here():
    """vm.yml and builder_options say the same. Where it fails: an option was added whose variable has another name."""
    (task,) = yaml.safe_load((ROLES / "builder" / "tasks" / "vm.yml").read_text())
    options = task["nixmac.linux_builder.builder_vm"]
    # A variable that is empty by default is left out as the role leaves it out.
    made = _wanted.builder_options(wanted(**dict.fromkeys(("cores", "memory_mib", "disk_mib", "ca_file"), 1)))
    for option, template in options.items():
        assert option in made or f"linux_builder_{option}" in str(template), option


def test_a_converged_mac_has_no_drift(asked, monkeypatch):
    monkeypatch.setattr(_wanted, "_ssh_alias", lambda _given: _wanted.Change(False))
    found = _wanted.drift(wanted(), Runner())
    assert found == [
        {"area": area, "changed": False, "changes": [], "error": None, "due": None}
        for area in ("adopt", "credentials", "trusted_users", "builder", "delegation")
    ]


def test_options_are_those_of_the_roles(asked):
    _wanted.drift(wanted(cores=6, systems=["x86_64-linux"], trusted_users=["alice"]), Runner())
    (builder,) = asked["builder_vm"]
    assert (builder["state"], builder["cores"], builder["port"]) == ("running", 6, 31022)
    assert (builder["client_key"], builder["update"]) == ("/etc/nix/builder_ed25519", False)
    assert "memory_mib" not in builder  # 0 is "as large as fits this Mac"
    (machine,) = asked["nix_machine"]
    assert (machine["uri"], machine["systems"], machine["max_jobs"]) == ("ssh-ng://builder@linux-builder", ["x86_64-linux"], 6)
    trusted, delegation = asked["nix_conf"]
    assert (trusted["append"], trusted["absent"]) == ({"trusted-users": ["alice"]}, [])
    assert delegation["settings"] == {"builders-use-substitutes": True, "build-poll-interval": 1}
    assert delegation["absent"] == ["builders", "ssl-cert-file"]


def test_a_list_may_be_a_text_everywhere(asked):
    """`-e linux_builder_systems=x86_64-linux`: what is planned is what a list of one gives."""
    given = {name: value for name, value in wanted().given.items() if name in _wanted.LISTS}
    assert all(isinstance(value, list) for value in given.values())
    texts = {
        "systems": "x86_64-linux",
        "supported_features": "kvm, big-parallel",
        "mandatory_features": "big-parallel",
        "trusted_users": "alice,bob",
        "no_proxy": "localhost",
        "substituters": "https://cache.example",
        "trusted_public_keys": "",
        "time_servers": "time.example",
    }
    assert set(texts) == set(given)
    lists = {name: [word.strip() for word in text.split(",") if word] for name, text in texts.items()}
    for form in ("alias", "manual"):
        plans = []
        for variables in (texts, lists):
            asked.clear()
            _wanted.drift(wanted(form=form, **variables), Runner())
            plans.append({name: list(calls) for name, calls in asked.items()})
        assert plans[0] == plans[1]
        assert plans[0]["nix_machine"][0]["systems"] == ["x86_64-linux"]


def test_every_list_variable_of_the_roles_is_known_as_one():
    specs = [
        yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
        for role in ("preflight", "credentials", "trusted_users", "builder", "delegation")
    ]
    lists = {name for options in specs for name, option in options.items() if option["type"] == "list"}
    assert {f"linux_builder_{name}" for name in _wanted.LISTS} == lists


def test_certificates_of_a_corporate_network(asked):
    _wanted.drift(wanted(ca_file="/etc/ca.pem"), Runner())
    _wanted.drift(wanted({**INFO, "nix": {"managed_by": "determinate"}}, ca_file="/etc/ca.pem"), Runner())
    _trusted, upstream, _again, determinate = asked["nix_conf"]
    assert upstream["settings"]["ssl-cert-file"] == "/etc/ca.pem"
    assert "ssl-cert-file" in determinate["absent"]
    assert asked["builder_vm"][1]["ca_file"] == "/etc/ca.pem"


def test_the_form_of_the_manual(asked):
    _wanted.drift(wanted(form="manual", mandatory_features=["big"]), Runner())
    assert asked["nix_machine"][0]["state"] == "absent"
    assert asked["builder_vm"][0]["port"] == 22
    line = asked["nix_conf"][1]["settings"]["builders"]
    assert line.endswith(
        "ssh-ng://builder@localhost aarch64-linux /etc/nix/builder_ed25519 4 1 benchmark,big-parallel,kvm big "
        + VARIABLES["linux_builder_public_host_key"]
    )


def test_a_host_key_of_its_own(asked):
    mine = {**INFO, "builder": {"host_key": "per_mac", "public_host_key": "c3NoLWVkMjU1MTk="}}
    _wanted.drift(wanted(mine, host_key="per_mac"), Runner())
    assert asked["builder_vm"][0]["public_host_key"] == "c3NoLWVkMjU1MTk="
    assert [options["path"] for options in asked["ssh_host_key"]] == [
        "/etc/nix/builder_ed25519",
        "/var/lib/linux-builder/keys/ssh_host_ed25519_key",
    ]
    found = _wanted.drift(wanted(host_key="per_mac"), Runner())
    assert found[3] == {
        "area": "builder",
        "changed": True,
        "changes": ["- host key: stock", "+ host key: per_mac"],
        "error": None,
        "due": "it changes something",
    }


def test_a_mac_without_builder_that_shall_have_a_host_key_of_its_own(asked):
    """Nothing can be planned before the key is there, and that is no plan that is empty."""
    none = {**INFO, "builder": {"host_key": None, "public_host_key": None}}
    found = _wanted.drift(wanted(none, host_key="per_mac"), Runner())
    assert (found[3]["changed"], found[3]["due"]) == (True, "it changes something")
    # A builder of that kind which lost its key.
    lost = {**INFO, "builder": {"host_key": "per_mac", "public_host_key": None}}
    found = _wanted.drift(wanted(lost, host_key="per_mac"), Runner())
    assert found[3]["due"] == "its host key is yet to be made"


def test_a_builder_to_take_over_is_drift(asked):
    info = {**INFO, "adoptable": [{"owner": "nix-darwin", "directory": "/var/lib/darwin-builder"}]}
    found = _wanted.drift(wanted(info, adopt=True), Runner())
    assert found[0]["changes"] == ["- builder in /var/lib/darwin-builder: nix-darwin", "+ builder: taken over"]
    assert _wanted.drift(wanted(info, adopt=False), Runner())[0]["changed"] is False


def test_exposed_keys_are_drift(asked):
    found = _wanted.drift(wanted(exposed=["/nix/store/x: a private key"]), Runner())
    assert found[1]["changed"] is True
    assert found[1]["changes"] == ["- /nix/store/x: a private key"]


def test_an_area_that_cannot_be_read_says_why(asked, monkeypatch):
    def fail(*_arguments):
        raise StateError("builder_vm: needs root. Set become: true.")

    monkeypatch.setattr(_builder_look, "running", fail)
    found = _wanted.drift(wanted(), Runner())
    assert found[3] == {
        "area": "builder",
        "changed": None,
        "changes": [],
        "error": "builder_vm: needs root. Set become: true.",
        "due": "it cannot be told what it would do",
    }
    assert found[4]["changed"] is False


@pytest.mark.parametrize(
    ("variables", "due", "roles"),
    [
        ({"package_update": True}, "asked for the newest", ["builder", "delegation"]),
        ({"exposed": ["/nix/store/x: a private key"]}, "it changes something", ["credentials", "builder", "delegation"]),
        ({}, "its content was not given", ["delegation"]),  # the ssh alias, which the controller fills in
    ],
)
def test_what_a_role_has_to_do(asked, variables, due, roles):
    found = _wanted.drift(wanted(**variables), Runner())
    assert next(area["due"] for area in found if area["area"] == roles[0]) == due
    assert _wanted.due(found) == roles


def test_what_follows_from_an_earlier_role_is_not_looked_at(asked):
    variables = {"exposed": ["/nix/store/x: a private key"]}
    everything = _wanted.drift(wanted(**variables), Runner())
    asked.clear()
    found = _wanted.drift(wanted(**variables), Runner(), first_due=True)
    assert _wanted.due(found) == _wanted.due(everything) == ["credentials", "builder", "delegation"]
    assert [area["changed"] for area in found] == [False, True, False, None, None]
    assert "builder_vm" not in asked
    assert "nix_machine" not in asked
    # The trusted users are no reason to leave out a look at the VM.
    settled = _wanted.drift(wanted(), Runner(), first_due=True)
    assert "builder_vm" in asked
    assert settled == _wanted.drift(wanted(), Runner())


def test_a_warning_is_shown_by_the_role_that_has_it(asked, monkeypatch):
    warned = Outcome(False, {}, "", "", warnings=["/etc/nix/nix.conf: overrides it."])
    monkeypatch.setattr(_nixconf, "run", lambda _options, _check_mode: warned)
    found = _wanted.drift(wanted(), Runner())
    assert (found[2]["changed"], found[2]["due"]) == (False, "it has something to say")
    assert _wanted.due(found) == ["trusted_users", "builder", "delegation"]


def test_a_role_is_due_where_an_earlier_one_is():
    quiet = {"changed": False, "changes": [], "error": None, "due": None}
    areas = [{**quiet, "area": name} for name in ("adopt", "credentials", "trusted_users", "builder", "delegation")]
    assert _wanted.due(areas) == []
    areas[3]["due"] = "the VM is not ready (booting)"
    assert _wanted.due(areas) == ["builder", "delegation"]
    areas[1]["due"] = "it changes something"
    assert _wanted.due(areas) == ["credentials", "builder", "delegation"], "nothing before the trusted users bears on them"
    areas[0]["due"] = "it changes something"
    assert _wanted.due(areas) == ["adopt", "credentials", "trusted_users", "builder", "delegation"]
    assert _wanted.due([]) == []


def test_differences_are_short_and_without_passwords():
    before = "".join(f"same {number}\n" for number in range(100))
    change = _wanted.Change(True, before + "proxy = http://bob:s3cret@proxy:3128\n", before + "proxy = " + "x" * 900 + "\n")
    lines = _wanted.difference(change)
    assert [line[0] for line in lines] == ["-", "+"]
    assert "s3cret" not in json.dumps(lines)
    assert max(map(len, lines)) <= 200


def test_the_look_of_site_is_given_every_variable_of_its_roles_and_no_other():
    names = yaml.safe_load((ROLES / "preflight" / "vars" / "main.yml").read_text())["_linux_builder_site_names"]
    everything = {name for path in ROLES.glob("*/defaults/main.yml") for name in yaml.safe_load(path.read_text())} | {
        "linux_builder_hosts",
        "linux_builder_verified",
        "linux_builder_report",
    }
    assert {name for name in everything if re.search(names, name)} == set(VARIABLES)
