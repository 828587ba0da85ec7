# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of variables before a Mac is read: each message has the name, the value and a way out."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _variable_check
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._variable_table import OPTIONS, OTHERS

ROLES = pathlib.Path(__file__).parents[4] / "roles"


def defaults():
    found = {}
    for path in ROLES.glob("*/defaults/main.yml"):
        found.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return found


def test_the_defaults_of_all_roles_are_right():
    given = {name: value for name, value in defaults().items() if "{{" not in str(value)}
    assert len(given) > 60
    assert _variable_check.check(given) == ([], [])


def test_the_table_has_every_variable():
    assert set(defaults()) <= set(OPTIONS)
    assert not set(OPTIONS) & OTHERS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "31022"),
        ("port", 1),
        ("port", 65535),
        ("adopt", "yes"),
        ("systems", []),
        ("systems", "aarch64-linux,x86_64-linux"),
        ("systems", ["riscv64-linux"]),
        ("ca_file", ""),
        ("minimum_macos", 12.4),
        ("minimum_macos", "26"),
        ("package", "/nix/store/abc-builder"),
        ("package", "path:/opt/lab#darwin.linux-builder"),
        ("config", {"a": {"b": 1}}),
        ("config", "builder.nix"),
        ("report_path", "relative/here"),
        ("export_path", "here.nix"),
        ("hosts", "macs"),
        ("verified", {"builds": []}),
        ("host_address", "0.0.0.0"),
    ],
)
def test_what_can_be_is_left_alone(name, value):
    assert _variable_check.check({f"linux_builder_{name}": value}) == ([], [])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("prot", 1, "there is no such variable. Did you mean linux_builder_port?"),
        ("memory", 1, "there is no such variable. Did you mean linux_builder_memory_mib?"),
        ("trusted_user", "alice", "Did you mean linux_builder_trusted_users?"),
        ("port", 0, "0 is no port. Give a number from 1 to 65535; the default is 31022."),
        ("port", 65536, "65536 is no port."),
        ("port", "many", "'many' is no whole number."),
        ("adopt", "perhaps", "'perhaps' is neither true nor false."),
        ("systems", {"a": 1}, "{'a': 1} is no list."),
        ("host_key", "per-mac", "'per-mac' is none of stock, per_mac. Did you mean per_mac?"),
        ("form", "xyz", "'xyz' is none of alias, manual."),
        ("memory_mib", -1, "-1 is negative. Give 0 or more."),
        ("drain_timeout", "-5", "'-5' is negative."),
        ("speed_factor", 0, "0 is less than 1."),
        ("working_directory", "var/lib", "'var/lib' is no absolute path. Write it from / on."),
        ("key_path", "~/key", "'~/key' is no absolute path."),
        ("profile", "", "'' is no absolute path."),
        ("ca_file", "ca.pem", "'ca.pem' is no absolute path."),
        ("systems", ["arm64-linux"], "'arm64-linux' is no system that Nix builds Linux for. Did you mean aarch64-linux?"),
        ("systems", "amd64-linux", "Did you mean x86_64-linux?"),
        ("systems", ["aarch64-darwin"], "Did you mean aarch64-linux?"),
        ("systems", ["?"], "Such as aarch64-linux or x86_64-linux."),
        ("minimum_macos", "Sonoma", "'Sonoma' is no version of macOS. Write it as 13.0, in quotes."),
        ("host_address", "localhost", "'localhost' is no IPv4 address. The default is 127.0.0.1."),
        ("label", "my builder", "'my builder' is no label of launchd."),
        ("alias", "a b", "'a b' is no host name."),
        ("package", "nixpkgs", "'nixpkgs' names no attribute. Write FLAKE#ATTRIBUTE"),
    ],
)
def test_what_cannot_be_is_named_with_its_value(name, value, words):
    (error,), warnings = _variable_check.check({f"linux_builder_{name}": value})
    assert error.startswith(f"linux_builder_{name}: ")
    assert words in error
    assert warnings == []


def test_another_name_may_be_of_the_users_own():
    errors, (warning,) = _variable_check.check({"linux_builder_cost_centre": 7})
    assert errors == []
    assert warning == "linux_builder_cost_centre: there is no such variable. docs/variables.md of the collection lists them all."


def test_variables_of_others_are_not_looked_at():
    assert _variable_check.check({"ansible_port": "x", "_linux_builder_probe": 1, "linux": 1}) == ([], [])


def test_all_faults_are_told_at_once():
    errors, _warnings = _variable_check.check({"linux_builder_prot": 1, "linux_builder_disk_mib": -1, "linux_builder_form": "x"})
    assert [error.split(":")[0] for error in errors] == ["linux_builder_disk_mib", "linux_builder_form", "linux_builder_prot"]
