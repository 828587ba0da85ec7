#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_host_key
short_description: An OpenSSH key pair on disk that identifies the builder or its client
version_added: 0.1.0
description:
  - Holds both halves of a key pair right. The private half parses, has no passphrase, and its public part follows from its
    secret part; the C(.pub) file is the public half of exactly that key; type, size, owner, group and mode are as asked.
  - The private half is the authority. A C(.pub) file that is missing, damaged or belongs to another key is written anew from it.
  - Both files are replaced as one unit. A failure leaves the old pair. After a power cut or C(SIGKILL) in between, the next run
    puts the old pair back before it does anything else; until then the old halves lie in C(.<name>.pair) beside the pair.
  - A run that changes nothing starts no program, and only a new key needs C(ssh-keygen). Nothing beyond Python's standard
    library is needed on the Mac.
  - Symbolic links and directories in the place of either half are refused, never followed or replaced.
options:
  path:
    description:
      - Absolute path of the private half. The public half is this path with C(.pub) appended.
      - The directory has to exist.
    type: path
    required: true
  state:
    description:
      - V(absent) removes both halves.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - Type that the key has to have.
      - When omitted, a new key is V(ed25519), and a key that is there or given may be of any of the three types.
    type: str
    choices: [ed25519, ecdsa, rsa]
  size:
    description:
      - Bits that the key has to have. V(256) for V(ed25519); V(256), V(384) or V(521) for V(ecdsa); at least V(3072) for V(rsa).
      - When omitted, a new V(ecdsa) key has 256 bits and a new V(rsa) key 3072, and any accepted size may be there.
    type: int
  comment:
    description:
      - Comment of the public half. When omitted, the comment that is there is kept, and a new key gets none.
      - A new comment rewrites the C(.pub) file only. The private half carries a comment too, which nothing compares.
    type: str
  owner:
    description:
      - Name of the user that owns both files. When omitted, the owner stays, and new files belong to the user of this task.
    type: str
  group:
    description:
      - Name of the group of both files. When omitted, the group stays, and new files get the group of the user of this task.
    type: str
  mode:
    description:
      - Mode of the private half, V(0600) or V(0400), in quotes. Others may not read it, or ssh ignores the key.
      - The public half always gets V(0644).
    type: raw
    default: '0600'
  private_key:
    description:
      - Text of the private key to install, usually from a vault, without passphrase, in OpenSSH's format or PEM.
      - It appears in no argument list, result, diff or log, and at no moment in a file with another mode or owner.
      - Line ends and a lost last newline, which OpenSSH would refuse, are put right.
    type: str
  regenerate:
    description:
      - What may happen to a private half that is not right. A pair of which nothing is there is always made, and the
        C(.pub) file, owner and mode are always put right.
      - V(never) keeps a usable key even if O(type) or O(size) differ, with a warning, and fails if the key is not usable.
      - V(fail) fails if the key is not usable or if O(type) or O(size) differ.
      - V(if_invalid) replaces the key in both cases. Not usable are a private half that is missing while the public one is
        there, truncated, damaged, contradicting itself, or protected by a passphrase.
      - V(always) makes a new key in each run, which rotates it.
      - With O(private_key), another key than the given one counts as not usable, and V(always) acts as V(if_invalid).
        A private half that is missing or not usable while the public part is that of the given key is restored in each case.
    type: str
    choices: [never, fail, if_invalid, always]
    default: if_invalid
  backup:
    description:
      - Keep each file that is replaced, unless it held the same key, as C(<path>.<pid>.<date>~), the private one with mode 0600.
      - When omitted, this is done with O(state=present) and not with O(state=absent).
    type: bool
  remove_backups:
    description:
      - With O(state=absent), also remove earlier backups of both halves, that is C(<path>.<pid>.<date>~).
    type: bool
    default: false
  manifest:
    description:
      - Record the pair that was there before this task first changed it, its content in a file that only root can read, so
        that M(nixmac.linux_builder.builder_manifest) can put it back. Meant for this collection's own roles.
    type: bool
    default: false
  host:
    description:
      - Name under which ssh looks the host up, for RV(known_hosts_line). Use C([name]:port) for a port other than 22.
    type: str
author:
  - The nixmac authors (@nixmac)
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
attributes:
  check_mode:
    details:
      - The public forms of a key that is yet to be made are null in check mode.
  diff_mode:
    details:
      - Shows owner, mode, type, size and fingerprint, never key material.
  idempotent:
    support: partial
    details:
      - O(regenerate=always) without O(private_key) makes a new key in each run.
notes:
  - Without pipelining, Ansible itself carries the options of every module, O(private_key) among them, in a file of its own
    below C(remote_tmp), in a directory that only the user of the task can enter, for as long as the task runs.
    Set C(pipelining = true) to avoid that file.
seealso:
  - module: nixmac.linux_builder.nix_machine
"""

EXAMPLES = r"""
- name: The client key of the Nix daemon
  nixmac.linux_builder.ssh_host_key:
    path: /etc/nix/builder_ed25519
    owner: root
    group: nixbld
    comment: builder@localhost
  become: true

- name: Install the builder's host key from a vault
  nixmac.linux_builder.ssh_host_key:
    path: /var/lib/linux-builder/keys/ssh_host_ed25519_key
    private_key: "{{ vault_builder_host_key }}"
    host: linux-builder
    regenerate: fail
  become: true
  register: host_key

- name: Rotate the client key, keeping the old one as a backup
  nixmac.linux_builder.ssh_host_key:
    path: /etc/nix/builder_ed25519
    regenerate: always
  become: true
"""

RETURN = r"""
path:
  description: Path of the private half.
  type: str
  returned: success
  sample: /etc/nix/builder_ed25519
type:
  description: Type of the key. Null when there is none.
  type: str
  returned: success
  sample: ed25519
bits:
  description: Bits of the key. Null when there is none.
  type: int
  returned: success
  sample: 256
public_key:
  description: The line of the C(.pub) file. Null when there is no key, or when check mode would make one.
  type: str
  returned: success
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINDp6MGS8wpdnxMgx5uwRQqH7V9n2Xj2P0QbZr3cVYkB builder@localhost
public_key_base64:
  description: The same line and its newline in base64, as the eighth field of a machines file wants it. Null as RV(public_key).
  type: str
  returned: success
  sample: c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSU5EcDZNR1M4d3Bkbnh=
fingerprint:
  description: Fingerprint as ssh shows it. Null as RV(public_key).
  type: str
  returned: success
  sample: SHA256:2Vdv5VZhYw0fYJ4j0GmQmI9yK1yGkqS8sK2x9b1m3nA
known_hosts_line:
  description: Line for a known_hosts file. Null as RV(public_key), and without O(host).
  type: str
  returned: success
  sample: linux-builder ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINDp6MGS8wpdnxMgx5uwRQqH7V9n2Xj2P0QbZr3cVYkB
backup_files:
  description: Backups that this run made. Always empty in check mode.
  type: list
  elements: str
  returned: success
  sample: ["/etc/nix/builder_ed25519.4711.2026-11-23@10:12:14~"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_apply import ensure
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Hand the options to the area and its report to Ansible."""
    report = ensure(params, check_mode, SshKeygen(Runner()))
    return Outcome(report.changed, report.result, report.before, report.after, params["path"], report.warnings)


def main() -> t.NoReturn:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "type": {"type": "str", "choices": ["ed25519", "ecdsa", "rsa"]},
            "size": {"type": "int"},
            "comment": {"type": "str"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "raw", "default": "0600"},
            "private_key": {"type": "str", "no_log": True},
            "regenerate": {"type": "str", "choices": ["never", "fail", "if_invalid", "always"], "default": "if_invalid"},
            "backup": {"type": "bool"},
            "remove_backups": {"type": "bool", "default": False},
            "manifest": {"type": "bool", "default": False},
            "host": {"type": "str"},
        },
        supports_check_mode=True,
    )
    _module.run_module(module, execute)


if __name__ == "__main__":
    main()
