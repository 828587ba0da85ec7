# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory of a process tree, looked at while it runs."""

from __future__ import annotations

import os
import pathlib
import threading
import typing as t

_PAGE = os.sysconf("SC_PAGE_SIZE")
_INTERVAL = 0.25
PROC = pathlib.Path("/proc")


def tree(pid: int, proc: pathlib.Path = PROC) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        found += _children(parent, proc)
    return found


def _children(pid: int, proc: pathlib.Path) -> list[int]:
    children: list[int] = []
    try:
        for task in (proc / str(pid) / "task").iterdir():
            children += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass  # it has ended meanwhile
    return children


def resident(pids: t.Iterable[int], proc: pathlib.Path = PROC) -> int:
    """Bytes of memory that they have in use, what they share counted for each."""
    total = 0
    for pid in pids:
        try:
            total += int((proc / str(pid) / "statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            continue
    return total


class Watch(threading.Thread):
    """Remembers the peak until `stop`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, resident(tree(self.pid)))
            if self._ended.wait(_INTERVAL):
                return

    def stop(self) -> int:
        """The peak in bytes."""
        self._ended.set()
        self.join()
        return self.peak
