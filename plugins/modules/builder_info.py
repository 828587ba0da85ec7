#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_info
short_description: Read what a Mac is and whether it can have a Nix Linux builder
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - Reads macOS, hardware, Nix, the Nix daemon, the port and the builder once, with at most six processes on a usual Mac.
  - Works on a Mac without Nix and without a builder, and never changes anything.
  - Names every reason that stops this host in RV(problems), each with its fix. It fails for none of them.
  - With O(deep=true) it looks at every link between this Mac and a Linux build, and says which one is broken and what to do.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
  - nixmac.linux_builder.attributes.actiongroup_builder
  - nixmac.linux_builder.builder
  - nixmac.linux_builder.builder.profile
  - nixmac.linux_builder.builder.address
  - nixmac.linux_builder.builder.alias
  - nixmac.linux_builder.builder.client_key
  - nixmac.linux_builder.builder.guest
  - nixmac.linux_builder.diagnosis
attributes:
  check_mode:
    details: It only reads.
  diff_mode:
    support: none
    details: It only reads.
options:
  working_directory:
    description: Directory of the VM's disk. The free space is that of its file system.
  package:
    description:
      - Flake reference or store path of the wanted builder. Handed back in RV(info.builder).
      - An attribute that ends in C(-vz), as C(darwin.linux-builder-vz), needs Apple silicon, macOS 13 and Rosetta.
    type: str
  alias:
    description: Host name of the builder in its store URI. Used where O(uri) is not given.
  uri:
    description:
      - Store URI of the builder, to see whether /etc/nix/machines has an entry for it.
      - Where omitted it is C(ssh-ng://builder@) and O(alias).
    type: str
  disk_mib:
    description:
      - Wanted size of the VM's disk in MiB. What an existing disk already takes up is not asked for again.
      - Where omitted, the size of the disk that is there, else 20480.
    type: int
  supported_features:
    description: System features that the builder shall offer, to see whether it can.
    type: list
    elements: str
    default: []
  reserve_mib:
    description: Space in MiB that shall stay free beside the VM's disk, for the builder's programs in the Nix store.
    type: int
    default: 4096
  minimum_macos:
    description:
      - Oldest macOS that the wanted builder runs on.
      - QEMU 9.2 and later, and so the default package of this collection, needs macOS 13.
        Older pins run on 12.4.
    type: str
    default: "13.0"
  client_key:
    description: Private key of the client, to see whether it is exposed.
  guest:
    description:
      - Ask the guest for C(guest) in RV(info.builder), over one ssh session.
      - Also a builder that was set up by hand or by nix-darwin is asked, when it is among the Nix daemon's machines.
    type: bool
    default: false
  guest_timeout:
    description: Seconds that the guest has for its answer.
    type: int
    default: 20
  adopt_directory:
    description: Directory of a builder of others, to see whether it can be adopted. Where omitted it is looked for.
    type: path
  ssh_control_master:
    description: Whether all builds shall go over one ssh connection, to see whether this Mac's Nix can.
    type: bool
    default: false
  wanted:
    description:
      - Variables of this collection's roles with their values, under their full names (C(linux_builder_)...), to get RV(drift).
      - C(ssh_alias) is the text that the role C(delegation) makes of its template; without it that file is not looked at.
    type: dict
  first_due:
    description:
      - Whether RV(due) is all that O(wanted) is for. Then no role after the first that has something to do is looked at, and
        C(changed) of these in RV(drift) is null.
    type: bool
    default: false
  log_path:
    description: File with the VM's console. Its last lines are evidence for O(deep).
notes:
  - Run it as root. Without, not every listener on a port can be seen, and RV(problems) says so.
"""

EXAMPLES = r"""
- name: Read this Mac
  nixmac.linux_builder.builder_info:
  become: true
  register: mac

- name: Stop where it cannot have the builder
  ansible.builtin.assert:
    that: mac.problems | length == 0
    fail_msg: "{{ mac.problems | map(attribute='message') | join(' ') }}"
"""

RETURN = r"""
info:
  description: What was read.
  returned: always
  type: dict
  contains:
    root:
      description: Whether the module ran as root.
      type: bool
    macos:
      description: C(version) and C(build) of macOS; empty strings where the host is no Mac.
      type: dict
      sample: {"version": "15.5", "build": "24F74"}
    architecture:
      description: V(arm64) or V(x86_64), of the chip, even where Python runs under Rosetta.
      type: str
    system:
      description: Nix system that a builder on this Mac builds for, null where there is none.
      type: str
      sample: aarch64-linux
    cores:
      description: Logical processors.
      type: int
    memory_mib:
      description: Memory in MiB.
      type: int
    free_disk_mib:
      description: Free space in MiB on the file system of O(working_directory).
      type: int
    virtualization:
      description: Whether the hypervisor can be used; null where the kernel does not say.
      type: bool
    chip:
      description: Name of the processor.
      type: str
      sample: Apple M3 Pro
    rosetta:
      description: Whether Rosetta for Linux guests is installed.
      type: bool
    nix:
      description:
        - C(path), C(version), C(variant) (V(upstream), V(determinate), V(lix)), C(managed_by), C(settings) that
          concern delegation, and C(error) with Nix' own words where it does not work.
        - C(path) is null where there is no Nix.
      type: dict
    nix_conf:
      description: C(path) where settings may be written, C(managed_by), C(writable), and the C(reason) where not.
      type: dict
    daemon:
      description: C(label), C(loaded), C(state) and C(pid) of the Nix daemon.
      type: dict
    port:
      description:
        - C(listening), and C(pid), C(command) and C(user) of the process that has the port.
        - C(ours) tells whether it belongs to the builder's launchd job. Where the builder itself answers there, in the boot that
          was verified last, C(pid) is the job's, and C(command) and C(user) are null.
      type: dict
    builder:
      description:
        - C(label), C(loaded), C(state), C(pid), C(runs) and C(last_exit_code) of the launchd job,
          C(store_path) and C(generation) of the profile, C(working_directory), C(disk_used_mib),
          C(disk_mib) (what the guest sees; null without a disk),
          C(package) as it was given, and whether the machines file has an entry for it (C(registered)).
        - C(restarts), the starts after the first since the job was loaded; C(pin), the locked reference of the image, and
          C(requested), what it was made from; C(verified), the record of the last verified build. Each can be null.
        - C(guest) with O(guest=true) - C(disk_total_mib), C(disk_free_mib), C(memory_total_mib), C(memory_available_mib),
          C(uptime_seconds), C(boot_id), C(clock_skew_seconds) (guest minus Mac) give or take C(clock_uncertainty_seconds), and
          C(error) when the guest did not answer. Null where there is no builder, or it was not to be asked.
        - C(host_key) (V(stock), V(per_mac) or null) of the builder that is there, C(public_host_key) (base64) of a host key of
          its own, and the C(rotation) of keys that was finished last.
      type: dict
    other_builders:
      description: Linux builders of other tools on this Mac, each with C(label), C(owner), C(loaded) and C(pid).
      type: list
      elements: dict
    adoptable:
      description:
        - Builders of others that M(nixmac.linux_builder.builder_adopt) could take over, as that module returns them, with the
          C(disk_used_mib) of each. Empty where this collection's own builder is.
      type: list
      elements: dict
defaults:
  description:
    - What the roles use where nothing is asked for - half the cores, a quarter of the memory, as many jobs as cores.
    - C(systems) are those that O(package) builds for on this Mac, C(features) those that O(nested_virtualization) adds.
  returned: always
  type: dict
  sample: {"system": "aarch64-linux", "systems": ["aarch64-linux"], "features": [], "cores": 4, "memory_mib": 4096, "max_jobs": 4}
problems:
  description:
    - Every reason that stops this host, each with a fixed C(code) and a C(message) that names the fix.
    - With C(adoption_solves) it is gone once the builder in RV(info.adoptable) has been adopted.
  returned: always
  type: list
  elements: dict
  sample:
    - code: port_taken
      message: "Port 31022 on 127.0.0.1 is taken by ssh (pid 812, user root). Stop it (sudo kill 812), or ..."
      adoption_solves: false
drift:
  description:
    - What a run of the roles with O(wanted) would change, by the modules' own plans. Nothing is changed.
    - One entry for each role - C(area), its name; C(changed), null where C(error) says why it cannot be told; C(changes), lines
      of the diffs, without secrets; C(due), why the role has to run, null where it would do nothing at all.
  returned: when O(wanted) is given
  type: list
  elements: dict
  sample:
    - area: builder
      changed: true
      changes: ["- cores: 2", "+ cores: 4"]
      error: null
      due: it changes something
due:
  description:
    - Names of the roles that a run with O(wanted) may not leave out, in their order - the first that has something to do, and
      all after it, as they build on what it changes.
    - Something to do is more than RV(drift) - a VM that does not answer, a file that teardown does not know yet, what an earlier
      run that was killed left behind, a warning.
  returned: when O(wanted) is given
  type: list
  elements: str
  sample: [builder, delegation]
links:
  description:
    - Every link between this Mac and a Linux build, in order. C(name), what it C(checks), C(state), and where that is V(broken)
      or V(weak) the C(cause), what it C(says), the C(evidence) and the C(fix).
    - V(weak) means that builds are made, but not well or not for long. V(not_checked) links need one that is broken.
  returned: with O(deep=true)
  type: list
  elements: dict
  sample:
    - name: job
      checks: "The builder's launchd job is enabled, loaded and stays up."
      state: broken
      cause: not_loaded
      says: The job is not loaded into launchd.
      evidence: "launchd does not know system/org.nixmac.linux-builder"
      fix: "`sudo launchctl bootstrap system /Library/LaunchDaemons/org.nixmac.linux-builder.plist`"
      seconds: 0.02
broken:
  description: Name of the first link that is broken; null when none is.
  returned: with O(deep=true)
  type: str
report:
  description: RV(links) for people, a line for each, and a last one that says where to begin.
  returned: with O(deep=true)
  type: list
  elements: str
exposed_keys:
  description:
    - Private keys of the builder that others than root can read, in the Nix store or with a loose mode.
    - Each has C(path), C(store_path) (null outside the store), C(mode), C(in_use) and a C(message). Key material is never shown.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /nix/store/mhlf2w0f9vdcbsinlwhb8h5pmrzfnr4c-keys/builder_ed25519
      store_path: /nix/store/mhlf2w0f9vdcbsinlwhb8h5pmrzfnr4c-keys
      mode: "0444"
      in_use: true
      message: "/nix/store/mhlf2w0f9vdcbsinlwhb8h5pmrzfnr4c-keys/builder_ed25519: a private key of the builder ..."
processes:
  description: How many processes the module started.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_answer import execute
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import options


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **options("label", "working_directory", "profile", "host_address", "port", "log_path", "alias"),
            **options("client_key", "host_key", "nested_virtualization", "max_clock_skew"),
            "package": {"type": "str"},
            "uri": {"type": "str"},
            "disk_mib": {"type": "int"},
            "supported_features": {"type": "list", "elements": "str", "default": []},
            "reserve_mib": {"type": "int", "default": 4096},
            "minimum_macos": {"type": "str", "default": "13.0"},
            "guest": {"type": "bool", "default": False},
            "guest_timeout": {"type": "int", "default": 20},
            "adopt_directory": {"type": "path"},
            "ssh_control_master": {"type": "bool", "default": False},
            "wanted": {"type": "dict"},
            "first_due": {"type": "bool", "default": False},
            "deep": {"type": "bool", "default": False},
            "deep_timeout": {"type": "int", "default": 60},
            "systems": {"type": "list", "elements": "str"},
            "features": {"type": "list", "elements": "str"},
            "trusted_users": {"type": "list", "elements": "str"},
            "public_host_key": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
        # A proxy's password can be in `wanted`: keep the options out of the system log, and out of the result.
        no_log=True,
    )
    _module.run_module(module, execute)


if __name__ == "__main__":
    main()
