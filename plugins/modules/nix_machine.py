#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One remote machine that Nix may build on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nix_machine
short_description: One entry of Nix's machines file
version_added: 0.1.0
description:
  - Owns the entry with one URI in a machines file, or in the value of C(builders) in C(nix.conf),
    and keeps all other entries and comments byte for byte.
  - The entry has all eight fields, in the form that every Nix and Lix since 2.4 reads.
  - A malformed line that somebody else wrote, which would break every build on the host, is reported with its number.
  - A change of a machines file needs no restart of the Nix daemon; a change of C(builders) does.
author: The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.machine
options:
  uri:
    description: Store URI of the machine, with its scheme. It identifies the entry.
    type: str
    required: true
  systems:
    description: What the machine builds, like V(aarch64-linux). Needed with O(state=present).
    type: list
    elements: str
  ssh_key:
    description: Absolute path of the private key that the Nix daemon (root) logs in with.
    type: path
  path:
    description:
      - The machines file. By default C(/etc/nix/machines).
      - With O(inline=true), the C(nix.conf) file; by default the one that M(nixmac.linux_builder.nix_conf) would choose.
    type: path
  inline:
    description: Write the entry into the value of C(builders) in C(nix.conf), in a block of O(owner).
    type: bool
    default: false
  owner:
    description:
      - With O(inline=true), the owner of the block; see M(nixmac.linux_builder.nix_conf).
      - Otherwise, the owner whose block is left out of account for RV(builders_needed) and RV(builders_reaching).
    type: str
    default: nixmac.linux_builder
  state:
    description: Whether the entry shall be there.
    type: str
    choices: [present, absent]
    default: present
  manifest:
    description:
      - Record the entry for O(uri) that a machines file has before this task first changes it. With O(state=absent) that entry
        is put back. Meant for this collection's own roles; see M(nixmac.linux_builder.builder_manifest).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Delegate Linux builds to the VM
  nixmac.linux_builder.nix_machine:
    uri: ssh-ng://builder@linux-builder
    systems: [aarch64-linux]
    ssh_key: /etc/nix/builder_ed25519
    max_jobs: 4
    supported_features: [benchmark, big-parallel]
    public_host_key: "{{ host_key.public_key_base64 }}"
  become: true
  register: machine

- name: Make sure that Nix reads that file
  nixmac.linux_builder.nix_conf:
    owner: nixmac.linux_builder
    settings: "{{ {'builders': machine.builders_reaching} if machine.builders_needed else {} }}"
    absent: "{{ [] if machine.builders_needed else ['builders'] }}"
  become: true

- name: No more builds there
  nixmac.linux_builder.nix_machine:
    uri: ssh-ng://builder@linux-builder
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: The file that was, or would be, edited.
  returned: success
  type: str
  sample: /etc/nix/machines
entry:
  description: The entry as it stands in the file; null with O(state=absent).
  returned: success
  type: str
  sample: ssh-ng://builder@linux-builder aarch64-linux /etc/nix/builder_ed25519 4 1 benchmark,big-parallel - -
reached:
  description: Whether the effective C(builders) setting leads to this file.
  returned: success
  type: bool
builders:
  description: The effective value of C(builders).
  returned: success
  type: str
  sample: "@/etc/nix/machines"
builders_needed:
  description:
    - Whether O(owner) needs a C(builders) line of its own in C(nix.conf), because what stands outside of its block
      does not lead to this file. Unlike RV(reached) it stays the same once that line is there.
  returned: success
  type: bool
builders_reaching:
  description: A value for such a line, that keeps all machines of the value outside of the block and leads to this file.
  returned: success
  type: str
  sample: ssh-ng://old x86_64-linux;@/etc/nix/machines
restart_required:
  description: Whether the Nix daemon has to be restarted; never for a machines file.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_apply import run
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf import lock


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "required": True},
            "systems": {"type": "list", "elements": "str"},
            "ssh_key": {"type": "path", "no_log": False},
            "max_jobs": {"type": "int", "default": 1},
            "speed_factor": {"type": "float", "default": 1},
            "supported_features": {"type": "list", "elements": "str", "default": []},
            "mandatory_features": {"type": "list", "elements": "str", "default": []},
            "public_host_key": {"type": "str", "no_log": False},
            "path": {"type": "path"},
            "inline": {"type": "bool", "default": False},
            "owner": {"type": "str", "default": "nixmac.linux_builder"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "manifest": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["systems"])],
        supports_check_mode=True,
    )
    _module.run_module(module, run, lock=lock)


if __name__ == "__main__":
    main()
