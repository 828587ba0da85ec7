# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Who listens on a TCP port, and whether it belongs to a launchd job. Nothing connects: a connection
without authentication counts against us in the guest's sshd (PerSourcePenalties)."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

LSOF = "/usr/sbin/lsof"
PS = "/bin/ps"


class Listener(t.NamedTuple):
    """One listening socket: its process, the process' parent and group, and the local address (`*` for all)."""

    pid: int
    parent: int
    group: int
    command: str
    user: str
    address: str

    def collides(self, wanted: str) -> bool:
        """Whether a bind to the address `wanted` would fail because of this socket."""
        everywhere = ("*", "0.0.0.0", "[::]")
        return wanted in ("", "0.0.0.0", "*") or self.address in everywhere or self.address == wanted


def listeners(runner: Runner, port: int) -> tuple[list[Listener], str]:
    """(sockets that listen on TCP `port`, words if that could not be found out). Only root sees all of them."""
    # Fields, each on its own line: p pid, g group, R parent, c command, L user, f descriptor, n address.
    argv = [LSOF, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-F", "pgRcLfn"]
    try:
        done = runner.run(argv, timeout=30)
    except CommandError as exc:
        return [], exc.message
    # lsof ends with 1 when nothing matches, and also when it could not look at some file system.
    found = parse_lsof(done.stdout)
    return found, "" if found or done.rc in (0, 1) else f"lsof: {done.words or f'exit status {done.rc}'}"


def parse_lsof(text: str) -> list[Listener]:
    """Read `lsof -F pgRcLfn`; lines that are no known field are skipped."""
    found: list[Listener] = []
    process: dict[str, str] = {}
    for line in text.splitlines():
        field, value = line[:1], line[1:]
        if field == "p":
            process = {"p": value}
        elif field == "n" and process.get("p", "").isdecimal():
            found.append(
                Listener(
                    pid=int(process["p"]),
                    parent=_number(process.get("R")),
                    group=_number(process.get("g")),
                    command=process.get("c", "?").replace("\\x20", " "),
                    user=process.get("L", ""),
                    address=value.rpartition(":")[0],
                )
            )
        elif field in "gRcL":
            process[field] = value
    return found


def family(runner: Runner, found: t.Sequence[Listener], job: int | None) -> frozenset[int]:
    """Pids among `found` that are the job's process or descend from it.

    job: pid of the launchd job, None when it does not run. A ps(1) is started only if parent and
    process group, which lsof tells, do not settle it.
    """
    if job is None:
        return frozenset()
    near = {listener.pid for listener in found if job in (listener.pid, listener.parent, listener.group)}
    if all(listener.pid in near for listener in found):
        return frozenset(near)
    try:
        # One -o each: BSD's ps takes everything behind the first `=` for the text of that header.
        parents = parse_parents(runner.run([PS, "-ax", "-o", "pid=", "-o", "ppid="], timeout=30).stdout)
    except CommandError:
        return frozenset(near)
    return frozenset(listener.pid for listener in found if listener.pid in near or descends(listener.pid, job, parents))


def parse_parents(text: str) -> dict[int, int]:
    """Read pid and parent from ps(1): pid -> parent's pid."""
    pairs = (line.split() for line in text.splitlines())
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2 and all(word.isdecimal() for word in pair)}


def descends(pid: int, ancestor: int, parents: t.Mapping[int, int]) -> bool:
    """Whether `pid` is `ancestor` or below it."""
    seen: set[int] = set()
    while pid not in seen and pid > 1:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = parents.get(pid, 0)
    return False


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
