#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_vm
short_description: Deploy, change, upgrade and stop a Nix Linux builder's VM
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - Resolves a flake reference once, records the lock, realises the VM and makes it a generation of a Nix profile, so that
    garbage collection on the Mac keeps it.
  - Writes the working directory, the keys directory (public half only), the runner script and the pinned host key.
  - With O(state=running) one call does all that is needed for a builder that serves. While the old VM still runs, the new
    closure is built and rooted. Then running builds are waited for, the VM is shut down, profile, files and launchd job are
    changed, and the new VM has to answer over authenticated ssh and, with another closure, to prove a build.
  - When it does not, the builder from before is put back and started, and the module fails with the reason.
  - A run that is killed leaves a journal, C(change.json) in O(working_directory). The next run finishes or undoes the change.
  - Host-side options alone (O(cores), O(memory_mib), O(port) and so on) need nothing that is built on Linux. Guest-side options
    are built for Linux by the builder that runs at that time.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.attributes.actiongroup_builder
  - nixmac.linux_builder.builder
  - nixmac.linux_builder.builder.profile
  - nixmac.linux_builder.builder.address
  - nixmac.linux_builder.builder.client_key
  - nixmac.linux_builder.builder.guest
  - nixmac.linux_builder.builder.public_host_key
  - nixmac.linux_builder.builder.stop
  - nixmac.linux_builder.builder.uri
  - nixmac.linux_builder.cache
  - nixmac.linux_builder.long_work
attributes:
  check_mode:
    details:
      - The store path of a package that was not realised before is not known in check mode. It is shown as C(will be realised).
      - With O(update=true) the flake is resolved in check mode too, so that a move is seen.
options:
  state:
    description:
      - V(running) brings the builder to what was asked for and has it serve; see the description.
      - V(stopped) waits for running builds, shuts the guest down in order and takes the launchd job out. It comes back with
        V(running) or V(started), or at the next start of the Mac. Work of another run that goes on by itself on the Mac is
        waited for too, up to O(drain_timeout), or ended with O(force). So does V(absent).
      - V(started) starts the VM that is there, as it is, where its job is not loaded, and waits for its answer. It builds and
        fetches nothing. Where there is no VM, or one in the midst of a change, it does nothing.
      - V(present) realises the package and writes the files. Neither the launchd job nor a running VM is touched.
      - V(staged) realises the package too and roots it as C(next) in O(working_directory), but leaves the profile and all else
        alone. It is for a change that has to happen while the VM is stopped, such as that of the host key.
      - V(ready) changes nothing. It waits until the builder that was made with V(present) answers.
      - V(absent) removes profile, generations, files and log. It is refused while the launchd job is loaded or the VM runs.
    type: str
    choices: [running, started, stopped, present, staged, ready, absent]
    default: present
  package:
    description:
      - A flake reference with an attribute, such as C(github:NixOS/nixpkgs/<revision>#darwin.linux-builder), or a store path of
        a C(create-builder) package or of the VM itself.
      - A reference without a revision is resolved once. The result is kept until O(update=true) or another reference.
      - The attribute is looked up in C(packages), C(legacyPackages) and at the top of the flake; without one it is C(default).
      - A package that takes no override, such as the old C(darwin.builder) or a store path, is refused unless it listens at
        O(host_address) and O(port) by itself.
      - Required with O(state=running), O(state=present) and O(state=staged).
    type: str
  update:
    description: Resolve O(package) again, where the last run recorded what it resolved to.
    type: bool
    default: false
  memory_mib:
    description: Memory of the VM in MiB. Where omitted, a quarter of the Mac's, at least 3072.
    type: int
  cores:
    description: Processors of the VM. Where omitted, half the Mac's, at least 2.
    type: int
  disk_mib:
    description:
      - Size in MiB of the data disk. Where omitted, an existing disk keeps its size, and a new one gets the package's own.
      - A larger disk is grown in place where the guest grows its file system at boot, which the stock image does not.
    type: int
  allow_disk_recreate:
    description:
      - Make the data disk anew, and lose what was built in it, where O(disk_mib) cannot be had in place. That is a smaller disk,
        and under the stock image a larger one. Without it such a size is refused.
      - The old disk stays as C(nixos.qcow2.before) until the new one is proven.
    type: bool
    default: false
  disk_on_upgrade:
    description:
      - What becomes of the data disk when the image inside the VM is another one than the disk was made under.
      - With V(recreate) it is made anew, as with O(allow_disk_recreate).
    type: str
    choices: [keep, recreate]
    default: keep
  host_address:
    description: IPv4 address of the Mac at which the guest's ssh is reached. Other than loopback needs O(host_key=per_mac).
  accept_any_address:
    description: Accept a package that listens where other machines can reach it and that takes no override.
    type: bool
    default: false
  client_key:
    description: Private key of the client. Its public half, beside it in C(.pub), is copied into the keys directory.
  host_key:
    description:
      - Whose host key the guest shows. V(stock) is the published one of the image.
      - With V(per_mac) the guest takes C(ssh_host_ed25519_key) from the directory C(keys) in O(working_directory) at each boot,
        so that the image is the same on every Mac and the key is not. Give its public half as O(public_host_key).
      - The guest with V(per_mac) is built for Linux, by the builder that runs at that time.
  log_size_kib:
    description:
      - Size in KiB from which on macOS rotates the log.
      - The entry for C(newsyslog) is C(/etc/newsyslog.d/LABEL.conf); the runner then goes on in the new log without a restart.
    type: int
    default: 1024
  log_count:
    description: Rotated logs that are kept, compressed.
    type: int
    default: 5
  max_clock_skew:
    description:
      - Seconds by which the guest's clock may differ from the Mac's. A guest that is further off is restarted in order as soon
        as it has nothing to build, since C(builder) may not set the clock there. V(0) means never.
      - Where builds do not end within O(drain_timeout), that restart is left to the next run, with a warning.
  ca_file:
    description:
      - CA bundle for the guest, and for realising the package.
      - Where omitted, that of the Nix installation, else that of macOS.
    type: path
  config:
    description:
      - A NixOS module for the guest, as text; or its options as a mapping, whose keys are names as they are, dots included.
      - It is guest-side, as are the options that say so. What they ask for is built for Linux, by the builder that runs at that
        time.
    type: raw
  min_free_mib:
    description: Free space in MiB below which the guest's Nix collects garbage. Guest-side.
    type: int
  max_free_mib:
    description: Free space in MiB at which the guest's Nix ends that collection. Guest-side.
    type: int
  proxy:
    description:
      - URL of the proxy for the guest's Nix daemon (guest-side) and for what this module itself downloads.
      - An address of the Mac itself is V(10.0.2.2) in the guest. A URL with a password is refused.
    type: str
  no_proxy:
    description: Hosts and domains that are reached without O(proxy).
    type: list
    elements: str
    default: []
  substituters:
    description:
      - Binary caches that the guest asks, in place of V(https://cache.nixos.org) (guest-side).
      - What this module itself downloads may come from them too, beside the binary caches of the Mac's nix.conf.
    type: list
    elements: str
    default: []
  trusted_public_keys:
    description: Public keys of O(substituters). The key of V(https://cache.nixos.org) stays.
    type: list
    elements: str
    default: []
  cache_public_key:
    description:
      - The key that signs there, as C(name:base64). It is trusted for this work alone, not by the Mac's Nix daemon.
      - Required with O(cache).
  time_sync:
    description: Let the guest keep its clock by NTP. Guest-side. Any other guest-side option switches it on too.
    type: bool
    default: false
  time_servers:
    description: NTP servers in place of those of NixOS. Guest-side.
    type: list
    elements: str
    default: []
  grow_file_system:
    description:
      - Let the guest grow its file system to the size of its disk at boot. Guest-side. Any other guest-side option switches it
        on too.
    type: bool
    default: false
  stock_guest:
    description:
      - Leave the guest as the package has it, whatever the guest-side options say. It is for the first start on a Mac, where no
        builder runs yet that could build another guest.
    type: bool
    default: false
  timeout:
    description: Seconds that the guest gets from its start to an answer, with O(state=running) and O(state=ready).
    type: int
    default: 300
  uri:
    description: Store URI of the builder as the machines file has it. It tells whose builds are waited for before a stop.
  drain_timeout:
    description:
      - Seconds to wait for running builds before the VM is stopped. After that the module fails, with nothing changed.
      - From then until the new VM answers, new builds for the builder wait.
  force:
    description: Stop the VM even under running builds, and under another run's work. They fail.
  prove:
    description: Build one derivation in the VM before a change of its closure or disk counts as done, with O(state=running).
    type: bool
    default: true
  verified_next:
    description:
      - Whether the play proves the builder right after this task (M(nixmac.linux_builder.builder_verify)). Then a Mac's first
        builder, without one to go back to, has only to answer here, over authenticated ssh and with its Nix daemon.
      - Wherever a builder or a disk from before would be put back, O(prove) holds all the same.
    type: bool
    default: false
  keep_generations:
    description:
      - Generations of O(profile) to keep. The present one and the one that served before it are kept in any case.
    type: int
    default: 3
  keep_data:
    description: Keep the data disk with O(state=absent), and with it everything that was built in the guest.
    type: bool
    default: false
notes:
  - Run it as root.
  - A run that finds everything as recorded starts no Nix process.
  - M(nixmac.linux_builder.builder_image) publishes in O(cache), from where the closure is taken before any other place. What is
    not there is taken from elsewhere, or built. A store that does not answer is an error, and so is a signature of another key.
    Neither matters to a run for which all is on the Mac.
  - A running builder gets another O(host_key) or O(public_host_key) in this order - V(staged), V(stopped), change the
    machines entry, V(running). The role C(builder) does that.
  - The working directory must not have a comma in its path, because QEMU takes none.
seealso:
  - module: nixmac.linux_builder.launchd_service
  - module: nixmac.linux_builder.builder_verify
"""

EXAMPLES = r"""
- name: Have a builder that serves
  nixmac.linux_builder.builder_vm:
    state: running
    package: github:NixOS/nixpkgs/bd495b825e5c4365131f9b744cce923d42c06158#darwin.linux-builder
    cores: 4
    memory_mib: 8192
  become: true

- name: Shut it down until the next start of the Mac
  nixmac.linux_builder.builder_vm:
    state: stopped
    drain_timeout: 1800
  become: true

- name: Prepare its files only, for a launchd job of one's own
  nixmac.linux_builder.builder_vm:
    package: github:NixOS/nixpkgs/bd495b825e5c4365131f9b744cce923d42c06158#darwin.linux-builder
  become: true
  register: builder

- name: Remove it but keep what was built
  nixmac.linux_builder.builder_vm:
    state: absent
    keep_data: true
  become: true
"""

RETURN = r"""
built:
  description:
    - Derivations that Nix built for it, each followed by C(on) and the builder where it was not this Mac. Empty where all was
      there or came from a store.
    - Known only where the work was on its way by itself (see RV(work)) or O(cache) was given.
  returned: O(state=running), O(state=present) or O(state=staged)
  type: list
  elements: str
work:
  description:
    - How the work went on by itself on the Mac, apart from the connection. Not with check mode, nor with C(async).
    - C(polls) is how often it was asked after, once in about ten seconds; short work is not asked after.
    - C(seconds) is what the task took.
    - C(picked_up) says whether the work of an earlier run was found, still going on or with a result that nobody had read.
  returned: always, but for check mode and tasks with C(async)
  type: dict
  sample:
    polls: 3
    seconds: 34.8
    picked_up: false
store_path:
  description: Store path of the VM; null in check mode where it was not realised before.
  returned: all states but O(state=stopped) and O(state=absent)
  type: str
generation:
  description: Number of the profile's generation; null without a profile.
  returned: O(state=running), O(state=started), O(state=present) or O(state=ready)
  type: int
package:
  description: The locked reference; null in check mode where it was not resolved before.
  returned: O(state=running), O(state=present) or O(state=ready)
  type: str
runner:
  description: Path of the script that the launchd job runs.
  returned: O(state=running) or O(state=present)
  type: str
definition:
  description:
    - The launchd job, for the option O(nixmac.linux_builder.launchd_service#module:definition).
    - Its environment holds a digest of runner and store path, so that the job restarts when either changes.
  returned: O(state=running) or O(state=present)
  type: dict
cores:
  description: Processors of the VM.
  returned: O(state=running) or O(state=present)
  type: int
memory_mib:
  description: Memory of the VM in MiB.
  returned: O(state=running) or O(state=present)
  type: int
disk_mib:
  description: Size in MiB of the existing data disk, else the wanted one; null where neither is known.
  returned: O(state=running) or O(state=present)
  type: int
ready:
  description: Whether guest and Nix daemon have answered; false with O(state=started) where nothing was to be started.
  returned: O(state=running), O(state=started), O(state=present) or O(state=ready)
  type: bool
boot_id:
  description: The guest's C(/proc/sys/kernel/random/boot_id).
  returned: O(state=running), O(state=started) or O(state=ready), not in check mode
  type: str
seconds:
  description: Seconds that were waited.
  returned: O(state=running), O(state=started) or O(state=ready), not in check mode
  type: float
port:
  description: Port of the VM that is started; null for none.
  returned: O(state=started)
  type: int
pinned:
  description: The host key that is pinned now, C(type base64); null where there is none.
  returned: O(state=staged)
  type: str
pin_changes:
  description: Whether O(public_host_key) is another key than the pinned one, so that the VM has to be stopped before it changes.
  returned: O(state=staged)
  type: bool
previous:
  description: V(stock) or V(per_mac), as the builder was made that is there now; null where there is none.
  returned: O(state=staged)
  type: str
phases:
  description:
    - The phases that were gone through, in check mode those that would be, of C(fetch), C(build), C(drain), C(stop), C(disk),
      C(switch), C(start), C(ready) and C(prove). With nothing to do there is none, for a look is no phase.
  returned: O(state=running)
  type: list
  elements: str
  sample: [fetch, drain, stop, switch, start, ready, prove]
restarted:
  description: Whether a VM that ran was, or in check mode would be, stopped for the change.
  returned: O(state=running)
  type: bool
why:
  description: Why the VM was, or in check mode would be, restarted, in words. Empty where it keeps running.
  returned: O(state=running)
  type: list
  elements: str
phase:
  description: The phase that failed, one of RV(phases).
  returned: O(state=running), where a change has failed
  type: str
rolled_back:
  description: Whether the builder from before the change was put back and answers; true only where the module fails.
  returned: O(state=running)
  type: bool
removed:
  description: Paths that were, or in check mode would be, removed.
  returned: O(state=absent)
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder import execute
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import detachable
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options

STATES = ["running", "started", "stopped", "present", "staged", "ready", "absent"]


def main() -> t.NoReturn:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **options("label", "working_directory", "profile", "host_address", "port", "log_path", "uri"),
            **options("client_key", "host_key", "public_host_key", "nested_virtualization", "max_clock_skew"),
            **options("drain_timeout", "stop_timeout", "force"),
            "state": {"type": "str", "choices": STATES, "default": "present"},
            "package": {"type": "str"},
            "update": {"type": "bool", "default": False},
            "memory_mib": {"type": "int"},
            "cores": {"type": "int"},
            "disk_mib": {"type": "int"},
            "allow_disk_recreate": {"type": "bool", "default": False},
            "disk_on_upgrade": {"type": "str", "choices": ["keep", "recreate"], "default": "keep"},
            "accept_any_address": {"type": "bool", "default": False},
            "log_size_kib": {"type": "int", "default": 1024},
            "log_count": {"type": "int", "default": 5},
            "ca_file": {"type": "path"},
            "config": {"type": "raw"},
            "min_free_mib": {"type": "int"},
            "max_free_mib": {"type": "int"},
            "proxy": {"type": "str"},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "cache": {"type": "str"},
            "cache_public_key": {"type": "str", "no_log": False},
            "substituters": {"type": "list", "elements": "str", "default": []},
            "trusted_public_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "time_sync": {"type": "bool", "default": False},
            "time_servers": {"type": "list", "elements": "str", "default": []},
            "grow_file_system": {"type": "bool", "default": False},
            "stock_guest": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 300},
            "prove": {"type": "bool", "default": True},
            "verified_next": {"type": "bool", "default": False},
            "keep_generations": {"type": "int", "default": 3},
            "keep_data": {"type": "bool", "default": False},
            "_job": {"type": "dict"},
        },
        required_if=[("state", state, ["package"]) for state in ("running", "present", "staged")],
        supports_check_mode=True,
    )
    _module.run_module(module, detachable(execute))


if __name__ == "__main__":
    main()
