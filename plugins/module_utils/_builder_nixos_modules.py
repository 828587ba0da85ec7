# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The NixOS modules that the collection puts into a builder's guest. None of them has been booted as NixOS by us.

docs/guest-configuration.md says what each option does; tests/unit/fixtures/nixos holds the names to those of NixOS.
"""

from __future__ import annotations

import hashlib

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import GuestConfig, loopback

HOST_KEY_NAME = "ssh_host_ed25519_key"  # in the keys directory, where the guest has a host key of its own
GUEST_KEYS = "/var/keys"  # where the guest has the keys directory
GUEST_HOST_KEY = f"/run/linux-builder-host-key/{HOST_KEY_NAME}"
CONFIG_NAME = "linux-builder-config.nix"  # how Nix' messages call the user's module

# The key comes from the directory that the Mac shares, so that the image is the same on every Mac. It is copied,
# because sshd wants its key where nobody else can write. Should the copy fail, sshd does not start; the key that
# nixpkgs publishes is taken out of the image.
HOST_KEY_MODULE = f"""\
{{ lib, ... }}: {{
  config = {{
    services.openssh.hostKeys = lib.mkForce [
      {{ type = "ed25519"; path = "{GUEST_HOST_KEY}"; }}
    ];
    environment.etc."ssh/ssh_host_ed25519_key".enable = lib.mkForce false;
    environment.etc."ssh/ssh_host_ed25519_key.pub".enable = lib.mkForce false;
    systemd.services.linux-builder-host-key = {{
      description = "Host key of this Mac's Linux builder";
      before = [ "sshd-keygen.service" "sshd.service" "sshd.socket" ];
      requiredBy = [ "sshd-keygen.service" "sshd.service" "sshd.socket" ];
      unitConfig.RequiresMountsFor = "{GUEST_KEYS}";
      serviceConfig.Type = "oneshot";
      serviceConfig.RemainAfterExit = true;
      script = ''
        umask 077
        mkdir -p {GUEST_HOST_KEY.rpartition("/")[0]}
        cat {GUEST_KEYS}/{HOST_KEY_NAME} > {GUEST_HOST_KEY}
      '';
    }};
  }};
}}"""

# What every configured guest gets.
# timesyncd: QEMU's module of nixpkgs switches it off and counts on KVM's clock, which a Mac does not have. Priority 75 is
# above that module's plain definition and below a mkForce of the user's.
# fsync-store-paths, sync-before-registering: a VM that is killed must not leave paths that are registered and empty. The
# first, which Nix knows since 2.25, is for what is copied into the store only; what is built there was found empty after a
# power cut with it alone (full_kills.py). NixOS refuses to build a nix.conf with a setting that Nix does not know, and of
# Lix we do not know what it does.
# autoResize: QEMU's root is ext4 on the whole disk. It has to go to virtualisation.fileSystems, which replaces
# fileSystems. Virtualization.framework's profile mounts its disk elsewhere, and a definition here would be an entry without
# a device.
BASE_MODULE = """\
{ config, lib, options, ... }: {
  config = {
    services.timesyncd.enable = lib.mkOverride 75 true;
    nix.settings.fsync-store-paths = lib.mkIf
      ((config.nix.package.pname or "nix") == "nix" && lib.versionAtLeast config.nix.package.version "2.25")
      (lib.mkDefault true);
    nix.settings.sync-before-registering = lib.mkIf ((config.nix.package.pname or "nix") == "nix") (lib.mkDefault true);
    virtualisation = lib.optionalAttrs (options.virtualisation ? fileSystems && !(options.virtualisation ? vz)) {
      fileSystems."/".autoResize = true;
    };
  };
}"""

# QEMU's user network shows the Mac under this address.
_MAC_IN_GUEST = "10.0.2.2"


def render(guest: GuestConfig, per_mac: bool) -> tuple[str, ...]:
    """The modules, each a Nix expression, for these options; none where the stock image is asked for."""
    if guest.stock and not per_mac:
        return ()
    modules = [HOST_KEY_MODULE] if per_mac else []
    modules.append(BASE_MODULE)
    settings = _settings(guest)
    if settings:
        modules.append("{ lib, ... }: {\n" + "".join(f"  {line}\n" for line in settings) + "}")
    if guest.proxy:
        modules.append(_proxy(guest))
    if guest.config:
        # In a file of its own, so that it cannot run into what stands around it and Nix names it where it is wrong.
        modules.append(f'import (builtins.toFile "{CONFIG_NAME}" {_nix_expression.string(guest.config)})')
    return tuple(modules)


def digest(guest: GuestConfig, per_mac: bool) -> str | None:
    """Short digest of the modules; None where there are none. Another one means another guest."""
    modules = render(guest, per_mac)
    return hashlib.sha256("\0".join(modules).encode()).hexdigest()[:16] if modules else None


def _settings(guest: GuestConfig) -> list[str]:
    lines = []
    for name, number in (("min-free", guest.min_free), ("max-free", guest.max_free)):
        if number is not None:
            lines.append(f"virtualisation.darwin-builder.{name} = lib.mkForce {number};")
    if guest.substituters:
        lines.append(f"nix.settings.substituters = lib.mkForce {_nix_expression.value(guest.substituters)};")
    if guest.trusted_public_keys:
        lines.append(f"nix.settings.trusted-public-keys = {_nix_expression.value(guest.trusted_public_keys)};")
    if guest.time_servers:
        lines.append(f"services.timesyncd.servers = {_nix_expression.value(guest.time_servers)};")
    return lines


def _proxy(guest: GuestConfig) -> str:
    address = _nix_expression.string(guest.proxy)
    if loopback(guest.proxy):
        scheme, _separator, rest = guest.proxy.partition("://")
        port = rest.rpartition(":")[2] if rest.rpartition(":")[2].isdigit() else ""
        seen = f"{scheme}://{_MAC_IN_GUEST}" + (f":{port}" if port else "")
        message = "proxy: is an address of the Mac itself, which this package's guest cannot reach; name one of the network"
        address = (
            f"if options.virtualisation ? vz then throw {_nix_expression.string(message)} else {_nix_expression.string(seen)}"
        )
    hosts = ",".join(("127.0.0.1", "localhost", *guest.no_proxy))
    return f"""\
{{ options, ... }}: {{
  networking.proxy.default = {address};
  networking.proxy.noProxy = {_nix_expression.string(hosts)};
}}"""
