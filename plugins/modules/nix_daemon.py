#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nix_daemon
short_description: Restart the Nix daemon when its configuration changed, and not under a running build
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - The Nix daemon reads nix.conf once, when it starts. This module restarts it when the settings in force differ from
    those that the running process started with, and does nothing otherwise.
  - It looks at the host and not at what an earlier task did, so a play that was interrupted between the change and the
    restart is picked up by the next run.
  - Only settings that the daemon itself uses count. A changed machines file needs no restart, because Nix reads it for
    each build.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
options:
  label:
    description:
      - Label of the daemon's launchd job.
      - Where omitted it is C(systems.determinate.nix-daemon) or C(org.nixos.nix-daemon), whichever is installed.
    type: str
  drain_timeout:
    description:
      - Seconds to wait for running builds to end. Past it the restart is left to a later run, with a warning and
        RV(deferred=true), and the module does not fail.
    type: int
    default: 600
  force:
    description: Restart at once, whatever is being built.
    type: bool
    default: false
  record:
    description:
      - File that keeps what the daemon started with, as digests.
      - It belongs to this module. Without it the times of the configuration files decide.
    type: path
    default: /var/db/nixmac.linux_builder/daemon.json
  pending:
    description:
      - Whether the play changed, or in check mode would change, the configuration.
      - Only check mode looks at it, to announce the restart that is to come. Otherwise the host itself tells.
    type: bool
    default: false
  state:
    description:
      - V(current) restarts the daemon if that is needed.
      - V(forgotten) does the same and then removes O(record).
    type: str
    choices: [current, forgotten]
    default: current
"""

EXAMPLES = r"""
- name: Let the Nix daemon read its configuration
  nixmac.linux_builder.nix_daemon:
  become: true

- name: The same after a task that may have changed nix.conf, announced in check mode too
  nixmac.linux_builder.nix_daemon:
    pending: "{{ nix_conf is changed }}"
  become: true

- name: The same, within a maintenance window
  nixmac.linux_builder.nix_daemon:
    drain_timeout: 3600
  become: true
  register: daemon

- name: Tell whose daemon still waits for its builds
  ansible.builtin.debug:
    msg: "{{ daemon.label }} waits for {{ daemon.running | join(', ') }}"
  when: daemon.deferred
"""

RETURN = r"""
label:
  description: Label of the daemon's launchd job.
  returned: success
  type: str
  sample: org.nixos.nix-daemon
required:
  description: Whether the daemon ran with another configuration than the one on disk.
  returned: success
  type: bool
restarted:
  description: Whether it was restarted, and answers.
  returned: success
  type: bool
deferred:
  description: Whether a needed restart was left to a later run, because builds were running.
  returned: success
  type: bool
reason:
  description: Why a restart is needed or not.
  returned: success
  type: str
  sample: "settings changed since the daemon started: builders-use-substitutes"
running:
  description: What was being built when the restart was left to a later run, or was forced.
  returned: success
  type: list
  elements: str
"""


from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_apply import execute, lock


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "label": {"type": "str"},
            "drain_timeout": {"type": "int", "default": 600},
            "force": {"type": "bool", "default": False},
            "record": {"type": "path", "default": "/var/db/nixmac.linux_builder/daemon.json"},
            "pending": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["current", "forgotten"], "default": "current"},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, execute, lock=lock)


if __name__ == "__main__":
    main()
