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
  - Builds new derivations for each system through the Nix daemon, as any user's build would go, and reads kernel,
    architecture and boot id of the machine that built them out of the outputs. One of them requires all of O(features).
  - The boot id must be the one that the VM tells over ssh, and not this host's own. Nothing else counts as verified.
  - Needs no nixpkgs and no network; a build takes about a second. The store paths are deleted afterwards on both sides.
  - A builder that was set up by hand or by nix-darwin is verified just so.
  - When nothing was built, it looks where the way to the builder is broken, and the message names that link with its fix.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.attributes.actiongroup_builder
  - nixmac.linux_builder.builder
  - nixmac.linux_builder.builder.profile
  - nixmac.linux_builder.builder.address
  - nixmac.linux_builder.builder.alias
  - nixmac.linux_builder.builder.uri
attributes:
  check_mode:
    details: Builds nothing in check mode and returns RV(verified=false). Writes no record then.
  diff_mode:
    support: none
    details: It changes nothing that lasts but the record of RV(recorded), which is no change of the builder.
  idempotent:
    details: It never reports a change, but builds anew each time.
options:
  systems:
    description: Nix systems to build for. Where omitted, the Linux systems that the builder's entry offers.
    type: list
    elements: str
  features:
    description:
      - System features that the builder shall have. Where omitted, all that its entry offers.
      - An empty list builds only what requires none.
    type: list
    elements: str
  mandatory_features:
    description:
      - System features without which the builder takes no derivation. Read where O(features) are given; else its entry tells.
    type: list
    elements: str
  user:
    description: Build once for each system as this user too, with that user's own Nix configuration. Need not be trusted.
    type: str
  key:
    description: Path of the private key that the Nix daemon uses.
    type: path
    default: /etc/nix/builder_ed25519
  alias:
    description:
      - Host name that the Mac's ssh configuration has an entry for.
      - Where O(uri) names another host, O(host_address) and O(port) are used instead.
  public_host_key:
    description:
      - The VM's public host key in base64, as in the eighth field of the machines file.
      - Where omitted, the known_hosts files of root decide.
    type: str
  working_directory:
    description: Where C(verified.json) is written, if the directory is there.
  profile:
    description: Nix profile of the builder. Its store path is noted in the record.
  diagnose:
    description: Seconds that the diagnosis of a failure may take at most; V(0) for none.
    type: int
    default: 60
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

- name: Prove it for every system and feature of the entry, also as an ordinary user
  nixmac.linux_builder.builder_verify:
    user: alice
  become: true

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
versions:
  description: Version of Nix on this C(mac) and in the C(guest).
  returned: success
  type: dict
  sample: {"mac": "2.26.3", "guest": "2.34.8"}
recorded:
  description: Whether the time and RV(builds[].seconds) were noted in C(verified.json) of O(working_directory).
  returned: success
  type: bool
builds:
  description: For each of O(systems) a build without features, one with all O(features) if there are any, one as O(user).
  returned: success
  type: list
  elements: dict
  contains:
    system:
      description: The Nix system.
      type: str
      sample: aarch64-linux
    user:
      description: Whose build it was.
      type: str
      sample: root
    features:
      description: System features that it required.
      type: list
      elements: str
    seconds:
      description: Wall time of the build, from the start of C(nix-build) to its end.
      type: float
      sample: 0.91
    phases:
      description: Seconds of C(connect), C(copy) to the builder, C(build) and C(fetch); null where Nix does not tell.
      type: dict
      sample: {"connect": 0.41, "copy": 0.02, "build": 0.31, "fetch": 0.02}
    store_path:
      description: Store path of the output. It is deleted by now.
      type: str
    kernel:
      description: C(/proc/version) of the machine that built it.
      type: str
    architecture:
      description: Architecture of that kernel, V(unknown) before Linux 6.1.
      type: str
      sample: aarch64
    boot_id:
      description: Boot id of the machine that built it.
      type: str
    builder:
      description: Store URI of the builder, in Nix' words; empty where Nix did not say.
      type: str
      sample: ssh-ng://builder@linux-builder
links:
  description: What the diagnosis found, link by link, as RV(nixmac.linux_builder.builder_info#module:links).
  returned: failure, unless O(diagnose=0)
  type: list
  elements: dict
broken:
  description: Name of the link to begin with; null when none was found.
  returned: failure, unless O(diagnose=0)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_run import execute


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **options("label", "working_directory", "profile", "host_address", "port", "log_path", "alias", "uri"),
            "systems": {"type": "list", "elements": "str"},
            "features": {"type": "list", "elements": "str"},
            "mandatory_features": {"type": "list", "elements": "str"},
            "user": {"type": "str"},
            "key": options("client_key")["client_key"],
            "public_host_key": {"type": "str", "no_log": False},
            "diagnose": {"type": "int", "default": 60},
            "timeout": {"type": "int", "default": 300},
            "boot_timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, execute)


if __name__ == "__main__":
    main()
