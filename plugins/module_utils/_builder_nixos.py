# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""How Nix reaches the running builder, which builds what of its own guest is for this Mac."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import (
    ALIAS,
    USER,
    Layout,
    connect_address,
    ssh_options,
)


def builder_options(
    layout: Layout, client_key: str, system: str, host_address: str, port: int, fetches: bool = True
) -> tuple[list[str], dict[str, str]]:
    """(options of `nix build`, environment) that let a root's build go through the running builder.

    Nothing has to be registered for it, and the host key must be the one that is pinned in `layout.known_hosts`.
    system: the guest's. fetches: whether the guest may ask binary caches for what the build needs, before this Mac copies it.
    """
    words = [*ssh_options(layout.known_hosts, client_key, 10), "-o", f"HostName={connect_address(host_address)}", "-p", str(port)]
    machine = f"ssh-ng://{USER}@{ALIAS} {system} {client_key} 2 1 benchmark,big-parallel - -"
    options = ["--option", "builders", machine, "--option", "builders-use-substitutes", "true" if fetches else "false"]
    # Nix before 2.26 splits these words at blanks and knows no quoting; paths with blanks were refused before.
    return options, {"NIX_SSHOPTS": " ".join(words), "NIX_REMOTE": "local"}
