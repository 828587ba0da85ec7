# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is for the collection's own use.

from __future__ import annotations


class ModuleDocFragment:
    """Attributes as most modules have them; a module names only those in which it differs."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.9 or later on the host
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status without changing the host.
    support: full
  diff_mode:
    description: Returns what was changed, or in C(check_mode) would be changed, when in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing and says so.
    support: full
  platform:
    description: Operating systems that the module supports.
    platforms: macOS
    support: full
"""

    ACTIONGROUP_BUILDER = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/nixmac.linux_builder.builder) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - nixmac.linux_builder.builder
"""
