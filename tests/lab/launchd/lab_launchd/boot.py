# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens around the jobs: /var/run, emptied directories, orphans, the size of the log."""

from __future__ import annotations

import ctypes
import os
import shutil

from lab_launchd.config import Places

LOG_BYTES = 4 << 20
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """As an ordinary process be a subreaper, so that orphans come to us as they come to PID 1."""
    if os.getpid() != 1:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reopen_standard_files() -> None:
    """Descriptors 0-2 must be open, or a job's log could land on one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_RDWR)


def make_run(places: Places, names: list[str]) -> None:
    """/var/run and the directories that daemons expect there (sshd's, for one)."""
    os.makedirs(places.run, mode=0o755, exist_ok=True)
    os.makedirs(os.path.dirname(places.socket), mode=0o755, exist_ok=True)
    for name in names:
        os.makedirs(os.path.join(places.run, name), mode=0o755, exist_ok=True)


def _mount_points() -> set[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as handle:
            return {line.split()[4] for line in handle}
    except OSError:
        return set()


def clear(directories: list[str]) -> None:
    """Empty /tmp or /var/run as a boot does. Mounts inside stay: they belong to somebody else."""
    mounts = _mount_points()
    for directory in directories:
        real = os.path.realpath(directory)
        try:
            names = os.listdir(real)
        except OSError:
            continue
        for name in names:
            path = os.path.join(real, name)
            if any(mount == path or mount.startswith(path + "/") for mount in mounts):
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                try:
                    os.unlink(path)
                except OSError:
                    continue


def log_limits(path: str) -> None:
    """Keep one old log, so that a crash loop cannot fill the disk."""
    try:
        if os.path.getsize(path) > LOG_BYTES:
            os.replace(path, path + ".0")
    except OSError:
        return
