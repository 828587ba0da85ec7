# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import (
    Spec,
    layout_from,
    parse_host_key,
    spec_from,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, LinuxBuilderError

BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)).decode()
KEY = f"ssh-ed25519 {BLOB}"
PARAMS: dict[str, t.Any] = {
    "package": "github:NixOS/nixpkgs/0123456789012345678901234567890123456789#darwin.linux-builder",
    "update": False,
    "profile": "/nix/var/nix/profiles/linux-builder",
    "working_directory": "/var/lib/linux-builder",
    "memory_mib": None,
    "cores": None,
    "disk_mib": None,
    "host_address": "127.0.0.1",
    "port": 31022,
    "accept_any_address": False,
    "client_key": "/etc/nix/builder_ed25519",
    "public_host_key": KEY + " root@nixos",
    "label": "org.example.builder",
    "log_path": "/var/log/builder.log",
    "ca_file": "/etc/ca.pem",
    "stop_timeout": 60,
}


def spec(**changes: t.Any) -> Spec:
    return spec_from({**PARAMS, **changes}, default_cores=4, default_memory_mib=8192)


def test_options_left_out_become_the_defaults_of_this_mac() -> None:
    assert (spec().cores, spec().memory_mib, spec().disk_mib) == (4, 8192, None)
    assert (spec(cores=2, memory_mib=1024).cores, spec(cores=2, memory_mib=1024).memory_mib) == (2, 1024)


def test_only_what_is_built_into_the_vm_is_an_override() -> None:
    assert spec(cores=9, memory_mib=999, stop_timeout=9, ca_file="/x/y").overrides == spec().overrides
    assert spec(port=22).overrides != spec().overrides
    assert spec(disk_mib=4096).overrides != spec().overrides


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("package", None, "package"),
        ("package", "", "package"),
        ("package", "a b", "blank"),
        ("package", 'a"b', "quote"),
        ("package", "a${b}", "dollar"),
        ("working_directory", "relative", "absolute"),
        ("working_directory", "/", "top directory"),
        ("working_directory", "/var", "top directory"),
        ("working_directory", "/var/../etc", "top directory"),
        ("working_directory", "/var/lib/a,b", "comma"),
        ("working_directory", "/var/lib/a b", "blank"),
        ("profile", "/nix/a\nb", "blank"),
        ("client_key", "/etc/%h", "%"),
        ("log_path", "log", "absolute"),
        ("ca_file", "ca", "absolute"),
        ("host_address", "localhost", "IPv4"),
        ("host_address", "::1", "IPv4"),
        ("host_address", "0.0.0.0", "host_key: per_mac"),
        ("host_address", "192.168.1.2", "host_key: per_mac"),
        ("port", 0, "port"),
        ("port", 65536, "port"),
        ("cores", -1, "cores"),
        ("memory_mib", 1, "memory_mib"),
        ("disk_mib", 5, "disk_mib"),
        ("stop_timeout", 0, "stop_timeout"),
        ("public_host_key", "", "public_host_key"),
    ],
)
def test_what_cannot_work_is_refused_with_the_option_named(option: str, value: t.Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec(**{option: value})
    assert option in caught.value.message
    assert words in caught.value.message


def test_any_address_needs_a_host_key_of_the_macs_own_and_is_reached_over_loopback() -> None:
    with pytest.raises(ConfigError, match="per_mac"):
        spec(host_address="0.0.0.0", accept_any_address=True)
    wanted = spec(host_address="0.0.0.0", host_key="per_mac")
    assert wanted.connect_address == "127.0.0.1"
    assert spec(host_address="127.0.0.2").connect_address == "127.0.0.2"


def test_only_what_the_guest_has_beyond_the_stock_image_changes_what_is_built_for_linux() -> None:
    assert spec().overrides == spec(host_key="stock").overrides
    assert "guest" not in spec().overrides
    per_mac = spec(host_key="per_mac").overrides
    assert {**per_mac, "guest": None} == {**spec().overrides, "host_key": "per_mac", "guest": None}
    configured = spec(config="{ }").overrides
    assert {**configured, "guest": None} == {**spec().overrides, "guest": None}
    assert len({per_mac["guest"], configured["guest"], spec(config="{ } # other").overrides["guest"]}) == 3
    assert spec(no_proxy=["a"]).overrides["guest"] == spec(time_sync=True).overrides["guest"]  # the same modules


def test_for_a_store_path_proxy_and_caches_are_the_macs_alone() -> None:
    vm = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-vm"
    network = {"proxy": "http://p.example:3128", "substituters": ["https://c.example"]}
    assert "guest" in spec(**network).overrides
    assert "guest" not in spec(package=vm, **network).overrides
    assert spec(package=vm, **network).guest.proxy == "http://p.example:3128"
    assert "guest" in spec(package=vm, config="{ }", **network).overrides  # refused when it is realised


def test_a_host_key_is_read_as_line_and_as_base64_of_a_line() -> None:
    encoded = base64.b64encode(f"{KEY} root@nixos\n".encode()).decode()
    assert parse_host_key(KEY) == parse_host_key(f"{KEY} a comment") == parse_host_key(encoded) == KEY
    assert spec(public_host_key=encoded).known_hosts_line == f"linux-builder {KEY}\n"


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        f"ssh-rsa {BLOB}",
        f"ssh-dss {BLOB}",
        f"{KEY}\n{KEY}",
        base64.b64encode(f"{KEY}\n{KEY}\n".encode()).decode(),
        base64.b64encode(b"\xff\xfe").decode(),
        f"* {KEY}",
        "@cert-authority " + KEY,
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="public_host_key"):
        parse_host_key(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_of_host_keys(text: str) -> None:
    try:
        key = parse_host_key(text)
    except LinuxBuilderError:
        return
    assert len(key.split()) == 2
    assert "\n" not in key


@given(st.text(max_size=40))
def test_no_path_gets_a_character_that_qemu_or_ssh_misread(text: str) -> None:
    try:
        layout = layout_from({**PARAMS, "working_directory": "/var/lib/" + text})
    except ConfigError:
        return
    assert not set(layout.working_directory) & set(" ,%\"'\\$`\n\t\0")
    assert layout.working_directory.count("/") >= 2


def test_processors_and_memory_are_built_into_the_vm_only_with_vz() -> None:
    vz = "path:/x#darwin.linux-builder-vz"
    assert spec(package=vz).vz
    assert not spec().vz
    assert spec(package=vz, cores=9).overrides != spec(package=vz).overrides
    assert spec(package=vz, memory_mib=999).overrides != spec(package=vz).overrides
    assert spec(package=vz, nested_virtualization=True).overrides != spec(package=vz).overrides
    with pytest.raises(ConfigError, match="darwin.linux-builder-vz"):
        spec(nested_virtualization=True)


def test_what_may_happen_to_the_disk_is_no_override() -> None:
    allowed = spec(allow_disk_recreate=True, disk_on_upgrade="recreate")
    assert (allowed.allow_disk_recreate, allowed.disk_on_upgrade) == (True, "recreate")
    assert (spec().allow_disk_recreate, spec().disk_on_upgrade) == (False, "keep")
    assert allowed.overrides == spec().overrides
