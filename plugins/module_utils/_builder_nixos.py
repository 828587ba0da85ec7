# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The NixOS module that gives the guest a host key of its own, and how Nix reaches the builder that builds it."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_runner import ssh_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import (
    ALIAS,
    HOST_KEY_NAME,
    USER,
    Layout,
    connect_address,
)

GUEST_KEYS = "/var/keys"  # where the guest has the keys directory
GUEST_HOST_KEY = f"/run/linux-builder-host-key/{HOST_KEY_NAME}"

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


def builder_options(
    layout: Layout, client_key: str, system: str, host_address: str, port: int
) -> tuple[list[str], dict[str, str]]:
    """(options of `nix build`, environment) that let a root's build go through the running builder.

    Nothing has to be registered for it, and the host key must be the one that is pinned in `layout.known_hosts`.
    system: the guest's.
    """
    words = [*ssh_options(layout.known_hosts, client_key, 10), "-o", f"HostName={connect_address(host_address)}", "-p", str(port)]
    machine = f"ssh-ng://{USER}@{ALIAS} {system} {client_key} 2 1 benchmark,big-parallel - -"
    options = ["--option", "builders", machine, "--option", "builders-use-substitutes", "true"]
    # Nix before 2.26 splits these words at blanks and knows no quoting; paths with blanks were refused before.
    return options, {"NIX_SSHOPTS": " ".join(words), "NIX_REMOTE": "local"}
