# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The lock files of Nix that tell what is built in a builder now.

Nix locks one file with flock(2) for each build that it sends to a builder, a slot. The files stay when a build has
ended.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import ALIAS, USER
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import CURRENT_LOAD, is_locked
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import names_in


def slots(uris: t.Iterable[str], directory: str = CURRENT_LOAD) -> list[str]:
    """Names of the lock files of these builders: the store URI with `_` for `/`, perhaps parameters, and a number."""
    stems = tuple(re.escape(uri.replace("/", "_")) for uri in uris)
    # Lix has a digest of the URI before the number.
    ours = re.compile(rf"(?:{'|'.join(stems)})(?:[?:].*)?(?:-[0-9a-z]{{16}})?-[0-9]+")
    return [name for name in names_in(directory) if ours.fullmatch(name)]


def names_of(uri: str) -> tuple[str, ...]:
    """The URIs of one builder: its own, and those of the alias under which the module builds before anything is registered."""
    return uri, f"ssh-ng://{USER}@{ALIAS}", f"ssh://{USER}@{ALIAS}"


def busy(uri: str, directory: str = CURRENT_LOAD) -> list[str]:
    """Names of the slots in which the builder `uri` builds now."""
    return [name for name in slots(names_of(uri), directory) if is_locked(os.path.join(directory, name))]
