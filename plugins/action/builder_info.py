# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_info on the controller's side: with this look site, status and diagnosis begin; see CheckedAction."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._checked_action import CheckedAction


class ActionModule(CheckedAction):
    """See CheckedAction."""
