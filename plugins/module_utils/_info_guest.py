# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the guest says of itself in one ssh session: disk, memory, uptime, boot id, clock.

The builder of this collection is reached with the pinned host key of its working directory. A builder that was set up by
hand or by nix-darwin is reached as the Nix daemon reaches it: by its entry among the machines, if that names this Mac.
"""

from __future__ import annotations

import base64
import os
import re
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _clock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest, ssh_argv
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import host_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_file import pieces
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import KEY

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target

# The time comes first: the less happens before, the better it is known when it was read. /nix/var/nix lies on the
# data disk, which holds what is built; the store itself is an overlay, whose size says less.
QUESTION = (
    "date +%s; cat /proc/sys/kernel/random/boot_id; cat /proc/uptime; "
    "while read -r name size unit; do case $name in MemTotal:|MemAvailable:) echo $name $size;; esac; done < /proc/meminfo; "
    "df -kP /nix/var/nix"
)

# Names under which a builder on this very Mac goes: the manual's, nix-darwin's, and addresses of the Mac itself.
_LOCAL = frozenset(("linux-builder", "localhost", "127.0.0.1", "::1"))

_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UPTIME = re.compile(r"(\d+\.\d+) \d+\.\d+")
_MEMORY = re.compile(r"(MemTotal|MemAvailable): (\d+)")
_DISK = re.compile(r".*\s(\d+)\s+\d+\s+(\d+)\s+\d+%\s+/.*")


class Way(t.NamedTuple):
    """How to get in, one of the two. guest: this collection's builder. target: another's."""

    guest: Guest | None = None
    target: Target | None = None


def find_way(layout: Layout, host_address: str, port: int, client_key: str, machines: t.Iterable[str]) -> Way | None:
    """The way to the builder on this Mac; None where there is none. machines: texts with entries (machines file, builders)."""
    if os.path.exists(layout.known_hosts):
        return Way(Guest(layout, host_address, port, client_key))
    for text in machines:
        for line in text.splitlines():
            for entry in pieces(line):
                target = _target(entry.split())
                if target is not None:
                    return Way(target=target)
    return None


def _target(fields: t.Sequence[str]) -> Target | None:
    """The builder that an entry of the machines file names, None for a machine elsewhere or one that is not for Linux."""
    fields = [*("" if field == "-" else field for field in fields), *[""] * 8]
    if "://" not in fields[0] or not any(system.endswith("-linux") for system in fields[1].split(",")):
        return None
    _user, host, _port = host_of(fields[0])
    if host not in _LOCAL:
        return None
    # Not at the top of the file: a Mac whose builder is this collection's would compile it in each run.
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target

    return Target(uri=fields[0], key=fields[2] or KEY, alias=host, public_host_key=fields[7] if _is_base64(fields[7]) else "")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def ask(way: Way, runner: Runner, timeout: float, *, now: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """`builder.guest` of builder_info; all null but `error` when the guest does not answer. timeout: seconds for all of it."""
    before = now()
    try:
        done = _run(way, runner, timeout)
    except LinuxBuilderError as exc:
        slow = isinstance(exc, CommandError) and "timeout" in exc.details
        return _facts(error=f"ssh: no answer within {timeout:g} s" if slow else exc.message)
    return parse(done, before, now())


def _run(way: Way, runner: Runner, timeout: float) -> Completed:
    if way.target is not None:
        from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Guest as Other

        return Other(way.target, runner).run(["sh", "-c", QUESTION], timeout=timeout)
    return runner.run(ssh_argv(t.cast(Guest, way.guest), QUESTION), timeout=timeout)


def parse(done: Completed, before: float, after: float) -> dict[str, t.Any]:
    """Read the answer to QUESTION. before, after: the Mac's clock around it, seconds since 1970."""
    lines = done.stdout.splitlines()
    boot_id = next((line for line in lines if _BOOT_ID.fullmatch(line)), None)
    if boot_id is None:
        words = " / ".join(line.strip() for line in done.stderr.splitlines() if line.strip("@ \r"))
        return _facts(error=f"ssh: {words.removeprefix('ssh: ') or f'exit status {done.rc}'}")
    uptime = next((match for match in map(_UPTIME.fullmatch, lines) if match), None)
    memory = {match[1]: int(match[2]) // 1024 for match in map(_MEMORY.fullmatch, lines) if match}
    disk = next((match for match in map(_DISK.fullmatch, lines) if match), None)
    skew = _clock.judge(done._replace(rc=0, stdout=lines[0]), before, after)
    return _facts(
        disk_total_mib=int(disk[1]) // 1024 if disk else None,
        disk_free_mib=int(disk[2]) // 1024 if disk else None,
        memory_total_mib=memory.get("MemTotal"),
        memory_available_mib=memory.get("MemAvailable"),
        uptime_seconds=float(uptime[1]) if uptime else None,
        boot_id=boot_id,
        clock_skew_seconds=skew.seconds if skew else None,
        clock_uncertainty_seconds=skew.uncertainty if skew else None,
    )


def _facts(**known: t.Any) -> dict[str, t.Any]:
    names = (
        *("disk_total_mib", "disk_free_mib", "memory_total_mib", "memory_available_mib", "uptime_seconds", "boot_id"),
        *("clock_skew_seconds", "clock_uncertainty_seconds", "error"),
    )
    return {**dict.fromkeys(names), **known}
