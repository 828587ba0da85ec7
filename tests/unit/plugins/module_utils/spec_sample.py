# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A builder as it is asked for, for the tests that only read it."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec

SPEC = Spec(
    layout=Layout("/var/lib/b", "/nix/var/nix/profiles/b", "/var/log/b", "b"),
    package="f#darwin.linux-builder",
    update=False,
    host_address="127.0.0.1",
    port=31022,
    accept_any_address=False,
    cores=1,
    memory_mib=1024,
    disk_mib=None,
    client_key="/k",
    host_key="ssh-ed25519 AAAA",
    ca_file="/ca",
    stop_timeout=60,
)


def with_(**changes: t.Any) -> Spec:
    """The same with other fields."""
    return SPEC._replace(**changes)
