# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A list, also where the variable was given as a text."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import as_list

DOCUMENTATION = r"""
name: as_list
short_description: A list, also from a text
version_added: 0.1.0
author: The nixmac authors (@nixmac)
description:
  - For variables that are lists and may be given with C(-e name=value), which makes a text of them.
  - A text is split at its commas; blanks around the parts, and empty parts, fall away. A list stays as it is.
options:
  _input:
    description: The variable's value.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what a comma means
  ansible.builtin.debug:
    msg: "{{ 'kvm, big-parallel' | nixmac.linux_builder.as_list }}"  # ["kvm", "big-parallel"]
"""

RETURN = r"""
_value:
  description: The list.
  type: list
"""


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, t.Callable[[t.Any], list[t.Any]]]:
        """Its name and its function."""
        return {"as_list": as_list}
