# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Modules whose work may take long and goes on by itself on the Mac."""

    DOCUMENTATION = r"""
options:
  _job:
    description: Not for users. The action plugin of the same name tells the module with it which work it asks after.
    type: dict
notes:
  - The work goes on by itself on the Mac, in a process that a dropped connection does not end. The next run with the same
    options picks it up. How far all Macs of a play are is told in one line, about every ten seconds.
"""
