# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is for the collection's own use.

from __future__ import annotations


class ModuleDocFragment:
    """What a diagnosis looks at, and what it holds the builder to. Its other options are those of `builder`."""

    DOCUMENTATION = r"""
options:
  deep:
    description:
      - Look at every link of the way to the builder, and into the VM over one ssh session, for RV(links) and RV(broken).
      - Changes nothing, also on a Mac that this collection has never touched.
    type: bool
    default: false
  deep_timeout:
    description: Seconds that O(deep) may take at most. What was not looked at by then is V(not_checked).
    type: int
    default: 60
  systems:
    description: Systems that the builder shall build for, for O(deep). Where omitted, the Linux system of this Mac.
    type: list
    elements: str
  features:
    description: System features that the builder shall offer, for O(deep). Where omitted, what its entry offers is right.
    type: list
    elements: str
  trusted_users:
    description: Users that the Nix daemon shall trust, for O(deep).
    type: list
    elements: str
  public_host_key:
    description: The VM's host key in base64, for O(deep) where no entry has it.
    type: str
"""
