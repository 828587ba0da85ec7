# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A builder's configuration, guest-side and host-side: what of it is built for Linux, and what Nix on the Mac is told."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_nixos_modules
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec


def guest_modules(spec: Spec) -> tuple[str, ...]:
    """Nix expressions of the NixOS modules that the guest gets; empty: the stock image, nothing is built for Linux."""
    return _builder_nixos_modules.render(spec.guest, spec.per_mac)


def guest_grows(spec: Spec) -> bool:
    """Whether this guest grows its file system to the size of its disk when it boots; the stock image does not."""
    return bool(guest_modules(spec)) and not spec.vz


def proxy_environment(spec: Spec) -> dict[str, str]:
    """What Nix' downloads on the Mac need to go through the proxy."""
    if not spec.guest.proxy:
        return {}
    hosts = ",".join(("127.0.0.1", "localhost", *spec.guest.no_proxy))
    return {"http_proxy": spec.guest.proxy, "https_proxy": spec.guest.proxy, "no_proxy": hosts}


def substituter_options(spec: Spec) -> list[str]:
    """Options of `nix build` on the Mac, for which the binary caches are added to those of its nix.conf."""
    options = []
    if spec.guest.substituters:
        options += ["--option", "extra-substituters", " ".join(spec.guest.substituters)]
    if spec.guest.trusted_public_keys:
        options += ["--option", "extra-trusted-public-keys", " ".join(spec.guest.trusted_public_keys)]
    return options
