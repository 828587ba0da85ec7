# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run cost one host, out of the kernel's account of its processes (tests/lab/nixmaclab/processes.py)."""

from __future__ import annotations

import dataclasses

from nixmaclab import processes

# Users that only the light guest has, beside what is named guest-*: builder, and those who build.
_GUEST_USERS = frozenset({1000, *range(30000, 30009)})
_PYTHON = "python3"


@dataclasses.dataclass(frozen=True)
class Work:
    """What one host did in a run. cpu: seconds of processor of all that ended on it."""

    executions: int
    processes: int
    module_processes: int
    cpu: float


def guest(process: processes.Process) -> bool:
    """Whether it ran in the light guest, which on a Mac is a VM and none of the Mac's processes."""
    return process.name.startswith("guest-") or process.user in _GUEST_USERS


def work(data: bytes) -> Work:
    """Out of an accounting file. An execution of a module is a Python that Ansible's shell started."""
    own = [process for process in processes.parse(data) if not guest(process)]
    kinds = processes.sorted_out(own)
    return Work(
        executions=kinds["ansible"].count(_PYTHON),
        processes=len(kinds["ansible"]) + len(kinds["modules"]),
        module_processes=len(kinds["modules"]),
        cpu=sum(process.cpu for process in own),
    )
