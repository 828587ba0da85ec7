# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM as the kernel below the stand-in sees it."""

from __future__ import annotations

import macs


def test_the_vm_listens_on_loopback_only(stand_in: macs.StandIn) -> None:
    table = stand_in.root("/bin/cat", "/proc/net/tcp", "/proc/net/tcp6")
    listening = [row.split()[1] for row in table.splitlines() if len(row.split()) > 3 and row.split()[3] == "0A"]
    ours = [address for address in listening if address.endswith(f":{macs.PORT:04X}")]
    # The kernel writes 127.0.0.1 in the order of the machine's bytes.
    assert ours == [f"0100007F:{macs.PORT:04X}"]


def test_the_guest_is_another_kernel(mac: macs.Mac) -> None:
    own = mac.read("/proc/sys/kernel/random/boot_id")
    guest = mac.guest_boot_id()
    assert len(guest) == 36
    assert guest != own
