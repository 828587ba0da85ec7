# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""darwin.linux-builder-vz: which Macs can have it, what it builds for, and what its options are."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _vz

QEMU = "github:NixOS/nixpkgs/0123456789012345678901234567890123456789#darwin.linux-builder"
VZ = QEMU + "-vz"
M3 = {"macos": {"version": "15.5"}, "architecture": "arm64", "rosetta": True, "chip": "Apple M3 Pro"}


def codes(info: dict[str, t.Any], package: str | None, nested: bool = False, features: tuple[str, ...] = ()) -> list[str]:
    return [code for code, _message in _vz.problems({**M3, **info}, _vz.Wish(package, nested, features))]


@pytest.mark.parametrize(
    ("package", "vz"),
    [
        (VZ, True),
        ("path:/x#darwin.linux-builder-vz", True),
        ("path:/x#my-vz", True),
        (QEMU, False),
        ("path:/x-vz#darwin.linux-builder", False),
        ("path:/x-vz", False),
        ("/nix/store/0123456789012345678901234567890a-linux-builder-vz", False),
    ],
)
def test_the_attributes_name_says_which_hypervisor(package: str, vz: bool) -> None:
    assert _vz.is_vz(package) is vz
    assert _vz.Wish(package, False).vz is vz


def test_a_start_script_is_known_by_the_configuration_that_it_writes(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "run-nixos-vm"
    script.write_text('config="$imageDir/vzvm.json"\nexec /nix/store/x/bin/vzvm "$config"\n')
    assert _vz.is_vz_script(str(script))
    script.write_text("exec qemu-system-aarch64\n")
    assert not _vz.is_vz_script(str(script))


@pytest.mark.parametrize(
    ("info", "package", "nested", "features", "expected"),
    [
        ({}, VZ, False, (), []),
        ({}, VZ, True, (), []),
        ({}, VZ, True, ("kvm",), []),
        ({}, QEMU, False, ("benchmark",), []),
        ({}, None, False, (), []),
        ({"architecture": "x86_64", "rosetta": False}, VZ, False, (), ["vz_needs_apple_silicon"]),
        ({"architecture": "x86_64", "rosetta": False, "chip": "Intel(R) Core(TM) i7"}, QEMU, False, (), []),
        ({"macos": {"version": "12.7"}}, VZ, False, (), ["vz_macos_too_old"]),
        ({"macos": {"version": "13.0"}}, VZ, False, (), []),
        ({"rosetta": False}, VZ, False, (), ["rosetta_missing"]),
        ({"rosetta": False}, QEMU, False, (), []),
        ({}, QEMU, True, (), ["nested_needs_vz"]),
        ({"macos": {"version": "14.7"}}, VZ, True, (), ["nested_macos_too_old"]),
        ({"chip": "Apple M2 Ultra"}, VZ, True, (), ["nested_chip_too_old"]),
        ({"chip": "Apple M10"}, VZ, True, (), []),
        ({"chip": ""}, VZ, True, (), []),
        ({}, QEMU, False, ("kvm", "nixos-test"), ["kvm_not_there"]),
        ({}, VZ, False, ("kvm",), ["kvm_not_there"]),
    ],
)
def test_which_mac_can_have_what(
    info: dict[str, t.Any], package: str | None, nested: bool, features: tuple[str, ...], expected: list[str]
) -> None:
    assert codes(info, package, nested, features) == expected


def test_the_fix_of_a_missing_rosetta_is_named() -> None:
    ((_code, message),) = _vz.problems({**M3, "rosetta": False}, _vz.Wish(VZ, False))
    assert "sudo softwareupdate --install-rosetta --agree-to-license" in message


def test_the_systems_gain_x86_64_on_apple_silicon_only() -> None:
    assert _vz.systems(VZ, "aarch64-linux") == ["aarch64-linux", "x86_64-linux"]
    assert _vz.systems(QEMU, "aarch64-linux") == ["aarch64-linux"]
    assert _vz.systems(VZ, "x86_64-linux") == ["x86_64-linux"]
    assert _vz.systems(QEMU, None) == []


def test_the_module_sets_what_qemus_command_line_cannot() -> None:
    text = _vz.module(6, 8192, True, "127.0.0.1", 31022)
    assert "cores = lib.mkForce 6;" in text
    assert "darwin-builder.memorySize = lib.mkForce 8192;" in text
    assert "vz.nestedVirtualization = lib.mkForce true;" in text
    assert "forwardPorts" not in text
    assert 'host.address = "0.0.0.0"; host.port = 2222; guest.port = 22;' in _vz.module(1, 1024, False, "0.0.0.0", 2222)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("vzvm.json", True),
        ("store-" + "0" * 32 + ".img", True),
        ("store-" + "0" * 32 + ".img.tmp.812", True),
        ("store-mine.img", False),
        ("vzvm.json.mine", False),
        ("notes", False),
    ],
)
def test_the_files_that_vzvms_script_leaves(name: str, ours: bool) -> None:
    assert _vz.is_ours(name) is ours
