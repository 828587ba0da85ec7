# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NixOS modules that the collection ships: parsed by a real Nix, and held to the recorded names of NixOS' options."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_nixos_modules as modules
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import guest_from
from ansible_collections.nixmac.linux_builder.tests.real.company_network import nix

RECORD = Path(__file__).parents[1] / "unit/fixtures/nixos/options.json"
PACKAGE = '(builtins.getFlake "path:/opt/lab/builder").legacyPackages.x86_64-darwin.darwin.linux-builder'
EVERYTHING = {
    "min_free_mib": 512,
    "max_free_mib": 1024,
    "proxy": "http://proxy.example.com:3128",
    "no_proxy": [".example.com"],
    "substituters": ["https://cache.example.com"],
    "trusted_public_keys": ["cache.example.com-1:" + base64.b64encode(bytes(32)).decode()],
    "time_servers": ["ntp.example.com"],
    "grow_file_system": True,
}
ALL = modules.render(guest_from(EVERYTHING), per_mac=True)
# What a module sets, as paths to its leaves; the library and the values of NixOS are as little as the modules look at.
WALK = """
  let
    leaf = content: { inherit content; _leaf = true; };
    lib = {
      mkForce = leaf; mkDefault = leaf; mkOverride = _priority: leaf; mkIf = _condition: leaf;
      optionalAttrs = condition: content: if condition then content else { };
      versionAtLeast = one: other: builtins.compareVersions one other >= 0;
    };
    options.virtualisation = { fileSystems = { }; } // (if VZ then { vz = { }; } else { });
    config.nix.package = { pname = "nix"; version = "2.31.2"; };
    module = MODULE;
    body = module { inherit lib options config; };
    leaves = prefix: value:
      if builtins.isAttrs value && !(value ? _leaf)
      then builtins.concatMap (name: leaves (prefix ++ [ name ]) value.${name}) (builtins.attrNames value)
      else [ prefix ];
  in leaves [ ] (body.config or body)
"""


def evaluate(expression: str) -> t.Any:
    return json.loads(nix("eval", "--impure", "--json", "--expr", expression))


def recorded() -> dict[str, t.Any]:
    options: dict[str, t.Any] = json.loads(RECORD.read_text())["options"]
    return options


def names(path: list[str]) -> str | None:
    """The recorded name of an option's path, None where there is none."""
    for name in recorded():
        parts = name.split(".")
        if len(parts) == len(path) and all(part in ("<name>", found) for part, found in zip(parts, path)):
            return name
    return None


def test_the_record_says_where_each_name_stands() -> None:
    for name, entry in recorded().items():
        assert re.match(r"^nixos/.+\.nix$", entry["file"]), name
        assert re.match(r"^[0-9a-f]{40}$", entry["commit"]), name
        assert entry["type"], name


@pytest.mark.parametrize("module", ALL)
def test_nix_parses_each_module(module: str, tmp_path: Path) -> None:
    file = tmp_path / "module.nix"
    file.write_text(module)
    parse = ["/nix/var/nix/profiles/default/bin/nix-instantiate", "--parse", str(file)]
    done = subprocess.run(parse, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("vz", ["false", "true"])
@pytest.mark.parametrize("module", ALL)
def test_each_option_that_is_set_is_one_of_nixos(module: str, vz: str) -> None:
    paths = evaluate(WALK.replace("MODULE", f"({module}\n)").replace("VZ", vz))
    assert paths
    assert [path for path in paths if names(path) is None] == []


def test_every_recorded_option_is_set_by_some_module() -> None:
    paths = [path for module in ALL for path in evaluate(WALK.replace("MODULE", f"({module}\n)").replace("VZ", "false"))]
    assert {names(path) for path in paths} == set(recorded())


def test_the_walk_finds_a_name_that_nixos_does_not_have() -> None:
    paths = evaluate(WALK.replace("MODULE", "(_: { services.timesyncd.enabled = true; })").replace("VZ", "false"))
    assert names(paths[0]) is None


def test_on_the_variant_for_virtualization_framework_no_file_system_is_defined() -> None:
    base = WALK.replace("MODULE", f"({modules.BASE_MODULE}\n)")
    grown = ["virtualisation", "fileSystems", "/", "autoResize"]
    assert grown in evaluate(base.replace("VZ", "false"))
    assert grown not in evaluate(base.replace("VZ", "true"))


@pytest.mark.parametrize(("version", "known"), [("2.24.9", False), ("2.25.0", True), ("2.31.2", True)])
def test_a_nix_that_does_not_know_fsync_store_paths_does_not_get_it(version: str, known: bool) -> None:
    versioned = f'{{ nix.package = {{ pname = "nix"; version = "{version}"; }}; }}'
    found = config(f"({modules.BASE_MODULE}\n) {versioned}", "nix.settings")
    assert ("fsync-store-paths" in found) is known
    assert "fsync-store-paths" not in config(
        f'({modules.BASE_MODULE}\n) {{ nix.package = {{ pname = "lix"; version = "2.93.0"; }}; }}', "nix.settings"
    )


def config(text: str, attribute: str) -> t.Any:
    """An attribute of the lab's configuration with these modules."""
    return evaluate(f"({PACKAGE}.override (old: {{ modules = old.modules ++ [ {text} ]; }})).nixosConfig.{attribute}")


def test_the_labs_builder_takes_all_of_it_and_gives_what_was_asked_for() -> None:
    text = " ".join(f"({module}\n)" for module in ALL)
    settings_of_nix = config(text, "nix.settings")
    assert settings_of_nix["substituters"] == EVERYTHING["substituters"]
    assert settings_of_nix["min-free"] == 512 * 1024 * 1024
    assert config(text, "networking.proxy.default") == "http://proxy.example.com:3128"
    assert config(text, "services.timesyncd") == {"enable": True, "fallbackServers": [], "servers": ["ntp.example.com"]}
    assert config(text, 'virtualisation.fileSystems."/".autoResize') is True


def test_the_users_module_has_the_last_word_where_it_says_so() -> None:
    user = guest_from({"config": "{ lib, ... }: { services.timesyncd.enable = lib.mkForce false; } # the end"})
    text = " ".join(f"({module}\n)" for module in modules.render(user, per_mac=False))
    assert config(text, "services.timesyncd.enable") is False


def test_a_module_as_a_mapping_is_the_same_as_text() -> None:
    mapping = {"environment": {"etc": {"nix/a.conf": {"text": 'say "${HOME}" \\ and\nmore'}}}, "virtualisation": {"cores": 3}}
    (module,) = modules.render(guest_from({"config": mapping}), per_mac=False)[1:]
    assert config(f"({module}\n)", 'environment.etc."nix/a.conf".text') == 'say "${HOME}" \\ and\nmore'
    assert config(f"({module}\n)", "virtualisation.cores") == 3


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.$'\"\\{} -", max_size=4), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(VALUES, max_size=20))
def test_what_is_written_for_nix_reads_the_same(values: list[t.Any]) -> None:
    assert evaluate(_nix_expression.value(values)) == values
