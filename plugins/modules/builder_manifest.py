#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was on the Mac before this collection came."""

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_manifest
short_description: Record what was on a Mac before this collection, and put it back
version_added: 0.1.0
description:
  - This collection keeps a manifest in C(/var/db/nixmac.linux_builder/manifest.json). Before it changes a file for the first
    time, what was there goes into it with owner, mode and hash, and the content beside it, readable by root only. Each content
    that the collection itself writes is noted by its hash.
  - So a teardown puts back or removes exactly that. A file that somebody else has changed since is left, and named in RV(left).
  - A Mac that was set up by an older version has no manifest. What that version made is removed as that version would have.
  - Where neither a manifest nor a mark of this collection is found, nothing belongs to it, and nothing is removed.
  - The modules M(nixmac.linux_builder.launchd_service), M(nixmac.linux_builder.ssh_host_key),
    M(nixmac.linux_builder.nix_machine), M(nixmac.linux_builder.builder_vm) and M(nixmac.linux_builder.builder_adopt) write to
    the same manifest. Settings in C(nix.conf) carry their own record, see M(nixmac.linux_builder.nix_conf).
author:
  - The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.builder
  - nixmac.linux_builder.builder.client_key
options:
  state:
    description:
      - V(present) holds the file O(path) with O(content), owned by root, mode 0644, and records it.
      - V(leaving) finds out what of this Mac is this collection's, as the first step of a teardown. It changes nothing but the
        manifest of a Mac that an older version set up.
      - V(absent) puts back what the manifest says, for O(path) or for all O(parts), as the last step of a teardown.
    type: str
    choices: [present, leaving, absent]
    default: present
  path:
    description: Absolute path of a file.
    type: path
  content:
    description: What O(path) holds.
    type: str
  part:
    description: The role that O(path) belongs to.
    type: str
    choices: [adopt, builder, credentials, delegation]
    default: delegation
  parts:
    description: Roles whose changes are undone. All where omitted.
    type: list
    elements: str
    choices: [adopt, builder, credentials, delegation]
  keep_data:
    description: The builder's disk stays, and its directory stays in the manifest.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: An ssh alias that a teardown knows
  nixmac.linux_builder.builder_manifest:
    path: /etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf
    content: "{{ lookup('ansible.builtin.template', 'ssh_alias.conf.j2') }}"
  become: true

- name: Find out what is this collection's
  nixmac.linux_builder.builder_manifest:
    state: leaving
  become: true
  register: leaving

- name: Put back what was there
  nixmac.linux_builder.builder_manifest:
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: The file.
  returned: O(state=present)
  type: str
owned:
  description: For each part whether this collection has changed this Mac, and no teardown has undone it.
  returned: O(state=leaving)
  type: dict
  sample: {adopt: false, builder: true, credentials: true, delegation: true}
legacy:
  description: Whether an older version, which kept no manifest, set this Mac up.
  returned: O(state=leaving)
  type: bool
adopted:
  description: Whether the builder was adopted, see M(nixmac.linux_builder.builder_adopt).
  returned: O(state=leaving)
  type: bool
remove_key:
  description: Whether the client's key pair was made by this collection, and by nobody else since.
  returned: O(state=leaving)
  type: bool
service:
  description:
    - What is to become of the launchd job. V(absent), or V(stopped) where somebody else has changed its property list, or
      V(keep) where it is none of this collection's.
  returned: O(state=leaving)
  type: str
keep_disk:
  description:
    - Whether the builder's disk was there before this collection, in whatever place, so that it is not removed.
    - V(false) too where that disk was moved aside since, and the builder has one of its own.
  returned: O(state=leaving)
  type: bool
removed:
  description: Paths that were removed.
  returned: O(state=absent)
  type: list
  elements: str
restored:
  description: Paths that were put back, with content, owner and mode.
  returned: O(state=absent)
  type: list
  elements: str
left:
  description: Paths that stay as they are, each with the reason.
  returned: O(state=absent)
  type: list
  elements: dict
  sample:
    - path: /etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf
      reason: changed by somebody else since this collection wrote it
disk_given_back:
  description: Whether an adopted disk went back to where it was before.
  returned: O(state=absent)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest_apply import execute
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options


def main() -> None:
    """Entry point of the module."""
    parts = ["adopt", "builder", "credentials", "delegation"]
    module = AnsibleModule(
        argument_spec={
            **options("label", "working_directory", "client_key"),
            "state": {"type": "str", "choices": ["present", "leaving", "absent"], "default": "present"},
            "path": {"type": "path"},
            "content": {"type": "str"},
            "part": {"type": "str", "choices": parts, "default": "delegation"},
            "parts": {"type": "list", "elements": "str", "choices": parts},
            "keep_data": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["path", "content"])],
        supports_check_mode=True,
    )
    _module.run_module(module, execute)


if __name__ == "__main__":
    main()
