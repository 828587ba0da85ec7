# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Nix the tests of nix_conf and nix_machine ask: the host's, or the one that NIXMAC_TEST_NIX starts.

    NIXMAC_TEST_NIX="chroot /var/tmp/sid nix" TMPDIR=/var/tmp/shared pytest tests/real/test_nixconf_property.py

TMPDIR has to be the same directory for that command (a bind mount into the chroot). NIXMAC_TEST_EXAMPLES sets how
many examples each property tries, other ones each time.
"""

from __future__ import annotations

import os
import tempfile

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix

FIXED = "NIXMAC_TEST_EXAMPLES" not in os.environ  # the same examples each time
EXAMPLES = int(os.environ.get("NIXMAC_TEST_EXAMPLES", "40"))


def nix_under_test() -> Nix:
    """The Nix to ask; a command of several words is put into a script, because the module starts one program."""
    command = os.environ.get("NIXMAC_TEST_NIX")
    if not command:
        return find_nix()
    descriptor, path = tempfile.mkstemp(prefix="nix-")
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f'#!/bin/sh\nexec {command} "$@"\n')
    os.chmod(path, 0o755)
    return Nix(Runner(), path)
