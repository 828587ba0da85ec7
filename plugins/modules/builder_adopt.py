#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux builder that somebody else set up, taken over."""

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_adopt
short_description: Take over a Linux builder that was set up by hand or left by nix-darwin
version_added: 0.1.0
description:
  - Recognises a builder that was set up after the nixpkgs manual, running in a terminal or under a launchd daemon of one's own,
    and one that nix-darwin's C(nix.linux-builder) left behind.
  - Waits for its builds, shuts the VM down in order, unloads its job, and brings disk and keys to where this collection has
    them. The disk is renamed where that is possible, otherwise copied, and is whole at one place or the other at any moment.
  - The job's property list, an ssh alias of the same name, and private keys that the guest could see are put aside in the
    manifest (M(nixmac.linux_builder.builder_manifest)), from where a teardown puts them back. Entries for the old builder in
    C(nix.conf) and the machines file become comments that hold the whole entry.
  - Starts nothing. M(nixmac.linux_builder.builder_vm) then runs a VM on that disk, with all that was built in it.
  - A run that was interrupted is completed by the next one.
  - Where this collection's own builder is installed there is nothing to adopt.
author:
  - The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.builder
  - nixmac.linux_builder.builder.profile
  - nixmac.linux_builder.builder.alias
  - nixmac.linux_builder.builder.client_key
  - nixmac.linux_builder.builder.public_host_key
  - nixmac.linux_builder.builder.stop
options:
  state:
    description:
      - V(present) takes over what there is; nothing to take over is fine.
      - V(absent) gives the old builder's entries in C(nix.conf) and the machines file back. The rest of the way back is
        M(nixmac.linux_builder.builder_manifest)'s.
    type: str
    choices: [present, absent]
    default: present
  working_directory:
    description: This collection's directory for the builder, which the disk comes into.
  profile:
    description:
      - Nix profile of this collection's VM. No two runs of this module and of M(nixmac.linux_builder.builder_vm) work on one at
        once.
  client_key:
    description: Private key with which the Nix daemon logs in to the builder. It is tried first to shut the old VM down.
  alias:
    description: The ssh alias that this collection uses. A file in C(/etc/ssh/ssh_config.d) for it alone is put aside.
  public_host_key:
    description: Host key of the old VM, as a line or as base64 of one. The default is the stock image's.
  directory:
    description:
      - Working directory of the builder to adopt, with C(nixos.qcow2) in it.
      - Where omitted it is looked for; it has to be named where more than one could be meant.
    type: path
  drain_timeout:
    description: Seconds to wait for builds that the old builder still runs.
  force:
    description: Do not wait for builds, and stop by signal a VM that does not shut down. This may damage its disk.
"""

EXAMPLES = r"""
- name: Take over the builder that is there
  nixmac.linux_builder.builder_adopt:
  become: true

- name: Only look
  nixmac.linux_builder.builder_info:
  become: true
  register: mac

- name: Tell what could be taken over
  ansible.builtin.debug:
    var: mac.info.adoptable
"""

RETURN = r"""
found:
  description: The builder that was, or in check mode would be, taken over; empty where there is none.
  returned: success
  type: list
  elements: dict
  contains:
    owner:
      description: Who set it up, in words.
      type: str
    directory:
      description: Its working directory.
      type: str
    disk:
      description: Its data disk, null where none was made yet.
      type: str
    pid:
      description: Process of its VM, null while none runs.
      type: int
    port:
      description: Port of this Mac that leads to the VM's ssh, null while none runs.
      type: int
    plist:
      description: Property list of its launchd daemon, null for none.
      type: str
    label:
      description: Label of its launchd daemon, null for none.
      type: str
    loaded:
      description: Whether its launchd daemon is loaded.
      type: bool
actions:
  description: What was, or in check mode would be, done, in order.
  returned: success
  type: list
  elements: str
  sample:
    - shut down the VM (process 4711)
    - retire /Library/LaunchDaemons/org.nixos.linux-builder.plist
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt import execute
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_apply import lock_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._lock import WAIT
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options


def lock(params: t.Mapping[str, t.Any]) -> tuple[str, float]:
    """What builder_vm holds too; see `_module.run_module`."""
    return lock_of(params["profile"]), float(params["drain_timeout"]) + float(params["stop_timeout"]) + WAIT


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **options("label", "working_directory", "profile", "client_key", "alias", "public_host_key"),
            **options("drain_timeout", "stop_timeout", "force"),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, execute, lock=lock)


if __name__ == "__main__":
    main()
