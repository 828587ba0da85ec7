#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that makes a Mac's Nix daemon delegate builds to the builder."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nix_delegation
short_description: Let a Mac's Nix daemon delegate builds to a Linux builder
version_added: 0.1.0
description:
  - Does in one execution what the role C(delegation) needs four modules for. It holds the builder's entry in C(/etc/nix/machines)
    (M(nixmac.linux_builder.nix_machine)), its ssh alias (M(nixmac.linux_builder.builder_manifest)), the settings in C(nix.conf)
    (M(nixmac.linux_builder.nix_conf)), and restarts the Nix daemon where it needs that (M(nixmac.linux_builder.nix_daemon)).
  - Each of them works as in its own module, under the same lock, and in this order. Where one fails those after it are left out.
author: The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.machine
options:
  uri:
    description: Store URI of the builder, with its scheme.
    type: str
    default: ssh-ng://builder@linux-builder
  systems:
    description: What the builder builds, like V(aarch64-linux).
    type: list
    elements: str
    required: true
  ssh_key:
    description: Absolute path of the private key that the Nix daemon (root) logs in with.
    type: path
    default: /etc/nix/builder_ed25519
  ssh_alias:
    description: Content of the file in C(/etc/ssh/ssh_config.d) that says how the host of O(uri) is reached.
    type: str
    required: true
  settings:
    description: Settings in C(nix.conf). C(builders) is taken care of where it is needed.
    type: dict
    default: {}
  absent:
    description: Settings of this collection that shall not be in C(nix.conf) any more.
    type: list
    elements: str
    default: []
  nix_conf_path:
    description: The file for O(settings); by default the one that M(nixmac.linux_builder.nix_conf) would choose.
    type: path
  drain_timeout:
    description: Seconds to wait for running builds before the Nix daemon is restarted. After that the restart is put off.
    type: int
    default: 600
  force:
    description: Restart the Nix daemon even under running builds. They fail.
    type: bool
    default: false
  pending:
    description: Whether an earlier task of the play changed the configuration, or in check mode would change it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Delegate Linux builds to the VM
  nixmac.linux_builder.nix_delegation:
    systems: [aarch64-linux]
    max_jobs: 4
    supported_features: [benchmark, big-parallel]
    ssh_alias: |
      Host linux-builder
        User builder
        HostName 127.0.0.1
        Port 31022
        IdentityFile /etc/nix/builder_ed25519
    settings:
      builders-use-substitutes: true
  become: true
"""

RETURN = r"""
changes:
  description: What was, or would be, changed (V(machines), V(ssh_alias), V(nix_conf), V(nix_daemon)).
  returned: success
  type: list
  elements: str
  sample: [machines, nix_conf, nix_daemon]
entry:
  description: The builder's entry as it stands in C(/etc/nix/machines).
  returned: success
  type: str
  sample: ssh-ng://builder@linux-builder aarch64-linux /etc/nix/builder_ed25519 4 1 benchmark,big-parallel - -
path:
  description: The file with the settings.
  returned: success
  type: str
  sample: /etc/nix/nix.conf
required:
  description: Whether the Nix daemon had to be restarted.
  returned: success
  type: bool
restarted:
  description: Whether the Nix daemon was restarted, and answers.
  returned: success
  type: bool
deferred:
  description: Whether a needed restart of the Nix daemon was left to a later run, because builds were running.
  returned: success
  type: bool
reason:
  description: Why a restart of the Nix daemon is needed or not.
  returned: success
  type: str
  sample: "settings changed since the daemon started: builders-use-substitutes"
running:
  description: The builds that a restart would have ended.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._delegation import execute


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "default": "ssh-ng://builder@linux-builder"},
            "systems": {"type": "list", "elements": "str", "required": True},
            "ssh_key": {"type": "path", "default": "/etc/nix/builder_ed25519", "no_log": False},
            "max_jobs": {"type": "int", "default": 1},
            "speed_factor": {"type": "float", "default": 1},
            "supported_features": {"type": "list", "elements": "str", "default": []},
            "mandatory_features": {"type": "list", "elements": "str", "default": []},
            "public_host_key": {"type": "str", "no_log": False},
            "ssh_alias": {"type": "str", "required": True},
            "settings": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "str", "default": []},
            "nix_conf_path": {"type": "path"},
            "drain_timeout": {"type": "int", "default": 600},
            "force": {"type": "bool", "default": False},
            "pending": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, execute)


if __name__ == "__main__":
    main()
