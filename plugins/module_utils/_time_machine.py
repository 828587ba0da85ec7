# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Keeping the builder's directory out of Time Machine's backups, with tmutil(8).

The exclusion is the kind that tmutil calls sticky: an extended attribute of the directory, which goes with it. The other
kind (`-p`, a fixed path) asks for Full Disk Access even of root, which sshd does not have (seen by NixOS/nix-installer with
`tmutil addexclusion -p /nix`), and outlives the directory. It is the directory and not the disk alone, because a disk that is
made anew is another file, and because the store image beside it is written at every start. All in it can be made again.
"""

from __future__ import annotations

import ctypes
import os
import plistlib
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

TMUTIL = "/usr/bin/tmutil"
_MARK = "com.apple.metadata:com_apple_backup_excludeItem"
_MARKED = plistlib.dumps("com.apple.backupd", fmt=plistlib.FMT_BINARY)
_LONGEST = 256  # bytes; the mark has 61
_TIMEOUT = 120.0  # seconds; addexclusion asks backupd, which on some Macs takes more than ten


class Exclusion(t.NamedTuple):
    """What happened to the exclusion of a path. line: for --diff, empty when nothing changed. warning: what went wrong."""

    line: str = ""
    warning: str = ""

    @property
    def changed(self) -> bool:
        """Whether the exclusion was, or in check mode would be, changed."""
        return bool(self.line)


def hold(path: str, excluded: bool, runner: Runner, check_mode: bool = False) -> Exclusion:
    """See to it that Time Machine leaves `path` out (`excluded`), or has it in again. Nothing where there is no tmutil.

    A Mac whose tmutil refuses keeps its builder: that is a warning, not an error.
    """
    if not os.path.exists(TMUTIL):
        return Exclusion()
    try:
        if os.path.lexists(path):
            if is_excluded(path, runner) == excluded:
                return Exclusion()
        elif not excluded or not check_mode:
            return Exclusion()
        if not check_mode:
            _change(path, excluded, runner)
    except CommandError as exc:
        return Exclusion(warning=f"{exc.message} Time Machine's settings are as before; the builder works without.")
    return Exclusion(line=f"Time Machine: {path} is left {'out' if excluded else 'in'}\n")


def _change(path: str, excluded: bool, runner: Runner) -> None:
    verb = "addexclusion" if excluded else "removeexclusion"
    _run([verb, path], runner)
    # Seen on some Macs: success, and nothing changed (openradar 45250124).
    if is_excluded(path, runner) != excluded:
        raise CommandError(f"{TMUTIL} {verb} {path}: ended well, but changed nothing.", command=TMUTIL)


def is_excluded(path: str, runner: Runner) -> bool:
    """Whether Time Machine leaves the existing `path` out. CommandError when tmutil does not say."""
    if _marked(path):
        return True
    words = _run(["isexcluded", path], runner)
    # `[Excluded]    /private/var/lib/x`: the path is the resolved one, so only the mark is looked at.
    if not words.startswith(("[Excluded]", "[Included]")):
        raise CommandError(f"{TMUTIL} isexcluded {path}: printed {words[:200]!r}.", command=TMUTIL)
    return words.startswith("[Excluded]")


def _marked(path: str) -> bool:
    """Whether the directory bears the mark of a sticky exclusion. Without it tmutil has to tell: one above may have it."""
    path = os.path.realpath(path)
    buffer = ctypes.create_string_buffer(_LONGEST)
    try:
        if hasattr(os, "getxattr"):  # not on macOS; Linux has such names for users alone
            return os.getxattr(path, f"user.{_MARK}") == _MARKED
        call = ctypes.CDLL(None).getxattr
        call.restype = ctypes.c_ssize_t
        arguments = (ctypes.c_char_p(path.encode()), ctypes.c_char_p(_MARK.encode()), buffer, ctypes.c_size_t(_LONGEST))
        size = call(*arguments, ctypes.c_uint32(0), ctypes.c_int(0))
    except (OSError, AttributeError):
        return False
    return size > 0 and buffer.raw[:size] == _MARKED


def _run(arguments: list[str], runner: Runner) -> str:
    done = runner.run([TMUTIL, *arguments], timeout=_TIMEOUT)
    if done.rc != 0:
        words = done.words.rstrip(".") or f"exit status {done.rc}"
        raise CommandError(f"{TMUTIL} {' '.join(arguments)}: {words}.", command=TMUTIL)
    return done.stdout.strip()
