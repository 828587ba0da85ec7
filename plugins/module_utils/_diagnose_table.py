# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The links between a Mac and a Linux build, in the order in which they are looked at: the diagnosis' data.

docs/troubleshooting.md is made from this table (tests/tools/make_troubleshooting.py). Words in braces are filled in from
what was found; where the page is made they stand as they are.
"""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Link
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table_mac import DELEGATION, MAC
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table_vm import GUEST, VM

LINKS: tuple[Link, ...] = (*MAC, *DELEGATION, *VM, *GUEST)
