# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The Mac does not fall asleep while a long step works: caffeinate(8) beside it.

A Mac that nobody touches sleeps after minutes, also under a download or a boot that Ansible waits for.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner, clean_environment

CAFFEINATE = "/usr/bin/caffeinate"
_END_WAIT = 10.0  # seconds


@contextlib.contextmanager
def awake(runner: Runner) -> t.Iterator[None]:
    """Keep the Mac from idle sleep for the body. Never a reason to fail: where caffeinate is missing nothing is done.

    `-w` ends caffeinate with this process, however that ends. runner: counts the process it starts.
    """
    process = _start(runner)
    try:
        yield
    finally:
        if process is not None:
            _end(process)


def _start(runner: Runner) -> subprocess.Popen[bytes] | None:
    if not os.access(CAFFEINATE, os.X_OK):
        return None
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            [CAFFEINATE, "-i", "-w", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    runner.started += 1
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.terminate()
        process.wait(_END_WAIT)
