# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One run at a time: flock(2) on the directory in which something is about to change.

It needs no file of its own, so nothing is left behind, and it ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

WAIT = 60.0  # seconds: for work that itself takes less than a second
_POLL = 0.2  # seconds


@contextlib.contextmanager
def held(directory: str, wait: float = WAIT, what: str = "") -> t.Iterator[None]:
    """Hold the lock of `directory`, or of the nearest one above it that exists, for the body.

    wait: seconds; StateError, naming `what`, when another run does not end in that time. A directory that cannot be opened
    is not locked: whoever may not even look at it changes nothing in it.
    """
    descriptor = _open(directory)
    if descriptor is None:
        yield
        return
    try:
        deadline = time.monotonic() + wait
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                raise StateError(
                    f"{what or directory}: another run has been working on it for {wait:g} s. Run again when it has ended."
                )
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _open(directory: str) -> int | None:
    while True:
        try:
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            if directory in ("/", ""):
                return None
            directory = os.path.dirname(directory)
        except OSError:
            return None


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
