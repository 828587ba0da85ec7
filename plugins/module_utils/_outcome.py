# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What an area hands to its module; apart from `_module`, so that the areas need no Ansible."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass
class Outcome:
    """What an area hands back to its module.

    changed: whether something was, or in check mode would be, changed.
    result: the module's return values.
    before, after: texts for `--diff`, made from the plan and free of secrets; None for no diff.
    """

    changed: bool
    result: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    before: str | None = None
    after: str | None = None
    header: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)
