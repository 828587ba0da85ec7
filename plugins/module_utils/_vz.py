# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What is different about `darwin.linux-builder-vz`, whose VM is vzvm's (Apple's Virtualization.framework), not QEMU's.

All of it follows nixpkgs' modules (NixOS/nixpkgs#544193: virtualisation/vz-vm.nix, profiles/nix-builder-vz-vm.nix) and
vzvm's sources (applicative-systems/vzvm); none of it has run on a Mac. Processors and memory are fixed in the
configuration that the start script writes, so QEMU_OPTS does not reach them; the console goes to macOS' unified log.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._mac import version_key

MINIMUM_MACOS = "13.0"
NESTED_MACOS = "15.0"  # since then, on an M3 or later, a guest can have /dev/kvm
NESTED_CHIP = 3
# Rosetta's half for Linux guests. macOS keeps what it installs on demand below /Library/Apple.
ROSETTA = "/Library/Apple/usr/libexec/oah/RosettaLinux/rosetta"
INSTALL_ROSETTA = "softwareupdate --install-rosetta --agree-to-license"
# What the guest writes; vzvm's own words are there too, without the second condition.
CONSOLE = """/usr/bin/log show --last 15m --predicate 'subsystem == "systems.applicative.vzvm"'"""
FEATURES = ("kvm", "nixos-test")  # what a guest with /dev/kvm offers on top

_ATTRIBUTE = re.compile(r"-vz'?$")
_SCRIPT = re.compile(r"^run-[0-9A-Za-z._-]+-vm$")
_SCRIPT_LIMIT = 1024 * 1024  # bytes
_FILES = re.compile(r"vzvm\.json|console\.log|store-[0-9a-z]{32}\.img(\.tmp\.[0-9]+)?")


def is_vz(package: str) -> bool:
    """Whether a package is the variant for Virtualization.framework: by its attribute's name, which ends in -vz as in nixpkgs.

    A store path is looked into; one that is not on this Mac yet counts as QEMU's.
    """
    if not package.startswith("/nix/store/"):
        return bool(_ATTRIBUTE.search(package.partition("#")[2]))
    directory = os.path.join(package, "bin")
    try:
        names = [name for name in os.listdir(directory) if _SCRIPT.match(name)]
        return any(is_vz_script(os.path.join(directory, name)) for name in names)
    except OSError:
        return False


def is_vz_script(path: str) -> bool:
    """Whether a VM's start script starts vzvm. OSError when it cannot be read."""
    with open(path, "rb") as stream:
        return b"/vzvm.json" in stream.read(_SCRIPT_LIMIT)


def is_ours(name: str) -> bool:
    """Whether vzvm's start script makes a file of this name in the working directory."""
    return bool(_FILES.fullmatch(name))


def module(cores: int, memory_mib: int, nested: bool, address: str, port: int) -> str:
    """The NixOS module with the options that only vz has. They are the start script's, so that nothing Linux is built."""
    lines = [
        f"cores = lib.mkForce {cores};",
        f"darwin-builder.memorySize = lib.mkForce {memory_mib};",
        f"vz.nestedVirtualization = lib.mkForce {'true' if nested else 'false'};",
    ]
    if address != "127.0.0.1":  # where the profile listens by itself
        rule = f'{{ host.address = "{address}"; host.port = {port}; guest.port = 22; }}'
        lines.append(f"vz.forwardPorts = lib.mkForce [ {rule} ];")
    return f"({{ lib, ... }}: {{ config.virtualisation = {{ {' '.join(lines)} }}; }})"


def systems(package: str, system: str | None) -> list[str]:
    """The systems that the builder of `package` builds for on a Mac whose own Linux system is `system`."""
    if system is None:
        return []
    return [system, "x86_64-linux"] if is_vz(package) and system == "aarch64-linux" else [system]


def chip_generation(brand: str) -> int | None:
    """3 for `Apple M3 Pro`; None for what is no such chip (machdep.cpu.brand_string)."""
    match = re.match(r"Apple M([0-9]+)\b", brand)
    return int(match.group(1)) if match else None


class Wish(t.NamedTuple):
    """What was asked for. package: as given, None where not. features: that the builder shall offer."""

    package: str | None
    nested: bool
    features: t.Sequence[str] = ()

    @property
    def vz(self) -> bool:
        """Whether the package is vz's."""
        return self.package is not None and is_vz(self.package)


def problems(info: t.Mapping[str, t.Any], wish: Wish) -> t.Iterator[tuple[str, str]]:
    """(code, message) of each reason why this Mac cannot have what was asked for. info: of builder_info."""
    if wish.vz:
        yield from _vz_problems(info)
    if wish.nested:
        yield from _nested_problems(info, wish)
    elif "kvm" in wish.features:
        yield (
            "kvm_not_there",
            "linux_builder_supported_features or linux_builder_mandatory_features: kvm is offered, but the guest has no "
            "/dev/kvm, so builds that need it would be sent there and fail. Take it out, or use darwin.linux-builder-vz with "
            "linux_builder_nested_virtualization: true (macOS 15 or later on an M3 or later).",
        )


def _vz_problems(info: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    version = info["macos"]["version"]
    if info["architecture"] != "arm64":
        yield (
            "vz_needs_apple_silicon",
            f"Architecture {info['architecture']}: darwin.linux-builder-vz runs on Apple silicon only. Set linux_builder_package "
            "to darwin.linux-builder for this host.",
        )
    elif version and version_key(version) < version_key(MINIMUM_MACOS):
        yield (
            "vz_macos_too_old",
            f"macOS {version} is older than {MINIMUM_MACOS}, which darwin.linux-builder-vz needs. Update macOS, or set "
            "linux_builder_package to darwin.linux-builder.",
        )
    elif not info["rosetta"]:
        yield (
            "rosetta_missing",
            f"Rosetta is not installed ({ROSETTA} is missing), and without it darwin.linux-builder-vz refuses to start. "
            f"Install it: sudo {INSTALL_ROSETTA}",
        )


def _nested_problems(info: t.Mapping[str, t.Any], wish: Wish) -> t.Iterator[tuple[str, str]]:
    version = info["macos"]["version"]
    chip = chip_generation(info["chip"])
    if not wish.vz:
        yield (
            "nested_needs_vz",
            "linux_builder_nested_virtualization: only darwin.linux-builder-vz has it. Set linux_builder_package to that, "
            "or leave linux_builder_nested_virtualization at false.",
        )
    elif version and version_key(version) < version_key(NESTED_MACOS):
        yield (
            "nested_macos_too_old",
            f"macOS {version} is older than {NESTED_MACOS}, which nested virtualization needs. Update macOS, or set "
            "linux_builder_nested_virtualization: false.",
        )
    elif chip is not None and chip < NESTED_CHIP:
        yield (
            "nested_chip_too_old",
            f"{info['chip']}: nested virtualization needs an M{NESTED_CHIP} or later. Set linux_builder_nested_virtualization: "
            "false for this host.",
        )
