# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""ssh-keygen, for the one thing that is left to it: making a new key."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner, find_program
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

# OpenSSH of macOS; a run that changes nothing never starts it.
SSH_KEYGEN = "/usr/bin/ssh-keygen"
_TIMEOUT = 300.0  # seconds; the largest RSA keys take a slow machine a minute or two


class SshKeygen:
    """The command object: `runner` starts and counts the processes."""

    def __init__(self, runner: Runner, path: str = SSH_KEYGEN) -> None:
        self.runner = runner
        self._path = path

    def generate(self, path: str, key_type: str, bits: int, comment: str) -> None:
        """Write a new pair without passphrase to `path` and `path`.pub, which must not exist. CommandError if it fails."""
        argv = [find_program("ssh-keygen", self._path), "-q", "-t", key_type]
        if key_type != "ed25519":
            argv += ["-b", str(bits)]
        argv += ["-N", "", "-C", comment, "-f", path]
        done = self.runner.run(argv, timeout=_TIMEOUT)
        if done.rc != 0:
            raise CommandError(
                f"{self._path}: no {key_type} key was made (exit status {done.rc}): {done.words or 'no message'}. "
                "The old pair is untouched.",
                command=self._path,
                rc=done.rc,
            )
