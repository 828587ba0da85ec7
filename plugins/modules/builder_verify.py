#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_verify
short_description: Prove that Linux derivations of this Mac are built in the builder's VM
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - Builds one new derivation for each system through the Nix daemon, as any user's build would go, and reads kernel and
    boot id of the machine that built it out of the output.
  - The boot id must be the one that the VM tells over ssh, and not this host's own. Nothing else counts as verified.
  - Needs no nixpkgs and no network; a build takes about a second. The store paths are deleted afterwards on both sides.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
attributes:
  check_mode:
    support: full
    details: Builds nothing in check mode and returns RV(verified=false).
  diff_mode:
    support: none
    details: It changes nothing that lasts.
  idempotent:
    support: full
    details: It never reports a change, but builds anew each time.
  platform:
    support: full
options:
  systems:
    description: Nix systems to build for.
    type: list
    elements: str
    required: true
  uri:
    description: Store URI of the builder, as in the machines file.
    type: str
    default: ssh-ng://builder@linux-builder
  key:
    description: Path of the private key that the Nix daemon uses.
    type: path
    default: /etc/nix/builder_ed25519
  alias:
    description:
      - Host name that the Mac's ssh configuration has an entry for.
      - Where O(uri) names another host, O(host_address) and O(port) are used instead.
    type: str
    default: linux-builder
  host_address:
    description: Address on the Mac where the VM's SSH port is forwarded.
    type: str
    default: 127.0.0.1
  port:
    description: Port on the Mac where the VM's SSH port is forwarded.
    type: int
    default: 31022
  public_host_key:
    description:
      - The VM's public host key in base64, as in the eighth field of the machines file.
      - Where omitted, the known_hosts files of root decide.
    type: str
  label:
    description: Label of the builder's launchd job, named in messages.
    type: str
    default: org.nixmac.linux-builder
  timeout:
    description: Seconds for each build.
    type: int
    default: 300
  boot_timeout:
    description:
      - Seconds that a VM which does not answer may take to do so. launchd may have started it just now, after a
        reboot or a crash.
    type: int
    default: 120
notes:
  - Run it as root; the private key belongs to root.
seealso:
  - module: nixmac.linux_builder.builder_info
"""

EXAMPLES = r"""
- name: Build for Linux and prove it
  nixmac.linux_builder.builder_verify:
    systems:
      - aarch64-linux
  become: true
  register: proof

- name: Show the builder's kernel
  ansible.builtin.debug:
    msg: "{{ proof.builds[0].kernel }}"
"""

RETURN = r"""
verified:
  description: Whether builds were made and proven; V(false) only in check mode, because everything else fails.
  returned: success
  type: bool
boot_id:
  description: Boot id of the VM, as it tells over ssh; empty in check mode.
  returned: success
  type: str
builds:
  description: One entry for each of O(systems).
  returned: success
  type: list
  elements: dict
  contains:
    system:
      description: The Nix system.
      type: str
      sample: aarch64-linux
    seconds:
      description: Wall time of the build, from the start of C(nix-build) to its end.
      type: float
      sample: 0.91
    store_path:
      description: Store path of the output. It is deleted by now.
      type: str
    kernel:
      description: C(/proc/version) of the machine that built it.
      type: str
    boot_id:
      description: Boot id of the machine that built it.
      type: str
    builder:
      description: Store URI of the builder, in Nix' words; empty where Nix did not say.
      type: str
      sample: ssh-ng://builder@linux-builder
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils._module import Outcome, run_module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify import verify
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Build and prove; nothing in check mode, when there may be no builder yet."""
    if check_mode:
        return Outcome(changed=False, result={"verified": False, "boot_id": "", "builds": []})
    target = Target(
        uri=params["uri"],
        key=params["key"],
        alias=params["alias"],
        host_address=params["host_address"],
        port=params["port"],
        public_host_key=params["public_host_key"] or "",
        label=params["label"],
    )
    found = verify(target, params["systems"], params["timeout"], params["boot_timeout"])
    result = {"verified": True, "boot_id": found.boot_id, "builds": [proof.as_dict() for proof in found.builds]}
    return Outcome(changed=False, result=result, warnings=found.warnings)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "systems": {"type": "list", "elements": "str", "required": True},
            "uri": {"type": "str", "default": "ssh-ng://builder@linux-builder"},
            "key": {"type": "path", "default": "/etc/nix/builder_ed25519", "no_log": False},
            "alias": {"type": "str", "default": "linux-builder"},
            "host_address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 31022},
            "public_host_key": {"type": "str", "no_log": False},
            "label": {"type": "str", "default": "org.nixmac.linux-builder"},
            "timeout": {"type": "int", "default": 300},
            "boot_timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    run_module(module, execute)


if __name__ == "__main__":
    main()
