#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of a nix.conf file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nix_conf
short_description: Own named settings of a nix.conf file
version_added: 0.1.0
description:
  - Edits C(nix.conf) exactly as Nix reads it, and leaves every byte that it does not own as it was.
  - A candidate is read by the Mac's own Nix, with its includes, before it replaces the file.
    A file that Nix rejects is never installed, because one bad line breaks every C(nix) command.
  - A setting that a later line or an including file overrides is made effective, or refused with the line that wins.
author: The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
attributes:
  diff_mode:
    details: Values of C(access-tokens) and C(impure-env), and passwords in URLs, are masked.
options:
  path:
    description:
      - The file to edit.
      - When it is omitted, C(/etc/nix/nix.custom.conf) if C(/etc/nix/nix.conf) includes it or Determinate Nix is installed,
        else C(/etc/nix/nix.conf).
      - A file that nix-darwin makes is refused; the message names the nix-darwin option.
    type: path
  settings:
    description:
      - Settings and their exact values. Lists are joined by blanks, maps become C(key=value), booleans C(true) and C(false).
      - A value cannot have a C(#) or a line break, and runs of blanks become one, because C(nix.conf) has no quoting.
    type: dict
    default: {}
  append:
    description: Lists, and elements that they shall have; elements that are there already are left alone.
    type: dict
    default: {}
  absent:
    description:
      - Settings to remove, as a list of names; or a map from names to lists of elements to remove.
      - With O(owner), removes only from that owner's block.
    type: raw
  owner:
    description:
      - Keep everything in one block at the end of the file, between C(# BEGIN) and C(# END) with this name,
        and never touch another line. Several tasks with the same owner share the block.
      - When the last setting goes, the file is byte for byte as it was before the block came.
      - Without this option, lines are edited where they stand.
    type: str
  validate:
    description: Let the Mac's own Nix read the candidate first. Without a Nix on the host this is an error.
    type: bool
    default: true
  allow_unknown:
    description: Allow names of settings that the Mac's Nix does not know.
    type: bool
    default: false
  backup:
    description: Keep a copy of the old file beside it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let the builder fetch what it can by itself
  nixmac.linux_builder.nix_conf:
    owner: nixmac.linux_builder
    settings:
      builders-use-substitutes: true
      build-poll-interval: 1
  become: true

- name: Trust one more user (this is like giving root)
  nixmac.linux_builder.nix_conf:
    append:
      trusted-users: [alice]
  become: true

- name: Take everything back
  nixmac.linux_builder.nix_conf:
    owner: nixmac.linux_builder
    absent: [builders-use-substitutes, build-poll-interval]
  become: true

- name: Stop trusting her
  nixmac.linux_builder.nix_conf:
    absent:
      trusted-users: [alice]
  become: true
"""

RETURN = r"""
path:
  description: The file that was, or would be, edited.
  returned: success
  type: str
  sample: /etc/nix/nix.custom.conf
effective:
  description: The value, as Nix will read it, of each setting that was asked for. Secrets are masked.
  returned: success
  type: dict
  sample: {"builders-use-substitutes": "true", "trusted-users": ["root", "alice"]}
restart_required:
  description:
    - Whether this change alters the configuration that the Nix daemon works with, so that it has to be restarted.
    - Comments and settings that only clients look at do not count.
  returned: success
  type: bool
overridden:
  description: Lines that set one of these settings too, and have no effect because of the lines this module wrote.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "max-jobs", "value": "auto", "path": "/etc/nix/nix.conf", "line": 6}]
backup_file:
  description: Where the old file was kept.
  returned: when O(backup=true) and the file was changed
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf import lock, run
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_mask import secrets_of


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "settings": {"type": "dict", "default": {}},
            "append": {"type": "dict", "default": {}},
            "absent": {"type": "raw"},
            "owner": {"type": "str"},
            "validate": {"type": "bool", "default": True},
            "allow_unknown": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        # Tokens can be in `settings`: keep the options out of the system log, and out of the result.
        no_log=True,
    )
    module.no_log_values.update(secrets_of(module.params["settings"], module.params["append"], module.params["absent"]))
    _module.run_module(module, run, lock=lock)


if __name__ == "__main__":
    main()
