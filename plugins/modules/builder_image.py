#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_image
short_description: Publish this Mac's Linux builder, signed, in a Nix store for the fleet
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - Signs the closure of the builder that a Nix profile holds, and copies what is missing of it into a Nix store that other Macs
    can reach.
  - The other Macs take it from there with the options O(nixmac.linux_builder.builder_vm#module:cache) and
    O(nixmac.linux_builder.builder_vm#module:cache_public_key), and build nothing for Linux.
  - The closure holds no keys and nothing of this Mac's but address, port and disk size of the VM's start script. A Mac with other
    values makes that script itself.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.builder.profile
  - nixmac.linux_builder.cache
  - nixmac.linux_builder.long_work
attributes:
  check_mode:
    details:
      - Nix itself puts a small file C(nix-cache-info) into an empty store that it is asked about over http or s3, in check
        mode too.
options:
  state:
    description: V(published) has every path of the closure in the store, signed with the key.
    type: str
    choices: [published]
    default: published
  cache:
    required: true
  private_key:
    description:
      - File on this Mac with the private key that signs, as C(nix key generate-secret) makes it. Nobody but its owner may
        read it.
      - Its content is never on a command line, in a result or in a log.
    type: path
    required: true
  cache_public_key:
    description: The public half that the other Macs are given. Where it does not fit, the module fails before it pushes anything.
notes:
  - Run it as root.
  - Which kinds of O(cache) the Mac's Nix can write to depends on how it was built; some are built without s3.
  - Every path is asked for in the store at each run, so a push that was interrupted is completed by the next one.
seealso:
  - module: nixmac.linux_builder.builder_vm
"""

EXAMPLES = r"""
- name: Publish the builder for the fleet
  nixmac.linux_builder.builder_image:
    cache: s3://example-nix-cache?region=eu-central-1
    private_key: /etc/nix/linux-builder-cache.key
  become: true
  register: image

- name: What the other Macs need to know
  ansible.builtin.debug:
    var: image.public_key
"""

RETURN = r"""
store_path:
  description: Store path of the published VM.
  returned: success
  type: str
public_key:
  description: Public half of O(private_key), for O(nixmac.linux_builder.builder_vm#module:cache_public_key).
  returned: success
  type: str
paths:
  description: Number of paths of the closure.
  returned: success
  type: int
copied:
  description: Paths that the store lacked and that were, or in check mode would be, copied.
  returned: success
  type: list
  elements: str
signed:
  description: Paths that the store had without this key's signature and that were, or in check mode would be, signed there.
  returned: success
  type: list
  elements: str
work:
  description: How the work went on by itself on the Mac, as RV(nixmac.linux_builder.builder_vm#module:work) has it.
  returned: always, but for check mode and tasks with C(async)
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import detachable
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._publish import execute


def main() -> t.NoReturn:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **options("profile"),
            "state": {"type": "str", "choices": ["published"], "default": "published"},
            "cache": {"type": "str", "required": True},
            "private_key": {"type": "path", "required": True, "no_log": False},
            "cache_public_key": {"type": "str", "no_log": False},
            "_job": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, detachable(execute))


if __name__ == "__main__":
    main()
