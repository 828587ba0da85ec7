# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is for the collection's own use.

from __future__ import annotations


class ModuleDocFragment:
    """A machine as an entry of Nix's machines file describes it."""

    DOCUMENTATION = r"""
options:
  max_jobs:
    description: How many builds may run on the machine at a time.
    type: int
    default: 1
  speed_factor:
    description: How fast the machine is in comparison with others. Nix before 2.20 reads whole numbers only.
    type: float
    default: 1
  supported_features:
    description: System features that the machine has.
    type: list
    elements: str
    default: []
  mandatory_features:
    description: System features without which a build is not sent to the machine.
    type: list
    elements: str
    default: []
  public_host_key:
    description: The machine's OpenSSH public host key line, or that line in base64 (field 8 of the file).
    type: str
"""
