# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is for the collection's own use. The argument specs of these options stand in module_utils/_place.py.

from __future__ import annotations


class ModuleDocFragment:
    """Where the builder is and how it is reached. A module that says more of an option gives it another description."""

    DOCUMENTATION = r"""
options:
  label:
    description: Label of the builder's launchd job.
    type: str
    default: org.nixmac.linux-builder
  working_directory:
    description: The builder's directory, with the VM's disk and everything that the runner needs.
    type: path
    default: /var/lib/linux-builder
"""

    PROFILE = r"""
options:
  profile:
    description: Nix profile that holds the builder.
    type: path
    default: /nix/var/nix/profiles/linux-builder
"""

    ADDRESS = r"""
options:
  host_address:
    description: IPv4 address of the Mac at which the guest's ssh is reached.
    type: str
    default: 127.0.0.1
  port:
    description: TCP port of the Mac at which the guest's ssh is reached.
    type: int
    default: 31022
  log_path:
    description: Log of runner, QEMU and the guest's console.
    type: path
    default: /var/log/linux-builder.log
"""

    ALIAS = r"""
options:
  alias:
    description: Host name of the builder, which the Mac's ssh configuration has an entry for.
    type: str
    default: linux-builder
"""

    URI = r"""
options:
  uri:
    description: Store URI of the builder, as the machines file has it.
    type: str
    default: ssh-ng://builder@linux-builder
"""

    CLIENT_KEY = r"""
options:
  client_key:
    description: Private key with which the Nix daemon logs in to the builder.
    type: path
    default: /etc/nix/builder_ed25519
"""

    GUEST = r"""
options:
  host_key:
    description: Whose host key the guest shows. V(stock) is the published one of the image.
    type: str
    choices: [stock, per_mac]
    default: stock
  nested_virtualization:
    description: Give the guest C(/dev/kvm). Needs C(darwin.linux-builder-vz) as O(package), macOS 15 and an M3 or later.
    type: bool
    default: false
  max_clock_skew:
    description: Seconds by which the guest's clock may differ from the Mac's.
    type: int
    default: 60
"""

    PUBLIC_HOST_KEY = r"""
options:
  public_host_key:
    description:
      - The guest's host key, as C(ssh-ed25519 AAAA...) or as base64 of such a line (field 8 of a machines entry).
      - The default is the published key of the stock image.
    type: str
    default: "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUpCV2N4Yi9CbGFxdDFhdU90RStGOFFVV3JVb3RpQzVxQkorVXVFV2RWQ2Ig\
      cm9vdEBuaXhvcwo="
"""

    STOP = r"""
options:
  drain_timeout:
    description: Seconds to wait for running builds before the VM is stopped. After that the module fails, with nothing changed.
    type: int
    default: 600
  stop_timeout:
    description: Seconds that the guest has to shut down in order.
    type: int
    default: 60
  force:
    description: Stop the VM even under running builds. They fail.
    type: bool
    default: false
"""
