# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checkout under its name in a collection path, for this process and for the programs that the tests start."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pages

_HOME = Path(tempfile.mkdtemp(prefix="nixmac-docs-"))
_COLLECTION = _HOME / "collections" / "ansible_collections" / "nixmac" / "linux_builder"
_COLLECTION.parent.mkdir(parents=True)
_COLLECTION.symlink_to(pages.ROOT)
(_HOME / "ansible.cfg").touch()
os.environ.update(
    ANSIBLE_COLLECTIONS_PATH=str(_HOME / "collections"),
    ANSIBLE_HOME=str(_HOME / "home"),
    ANSIBLE_CONFIG=str(_HOME / "ansible.cfg"),
    ANSIBLE_LOCALHOST_WARNING="false",
    ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
    NO_COLOR="1",
)
sys.path.insert(0, str(_HOME / "collections"))


def pytest_sessionfinish() -> None:
    """The directory goes with the tests."""
    import shutil

    shutil.rmtree(_HOME, ignore_errors=True)
