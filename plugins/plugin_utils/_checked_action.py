# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""A module on the controller's side: where a role asks, the user's variables are checked before anything runs on the Mac.

The roles call such a module before they change anything. There a slip in an inventory costs nothing, and the check no task more.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _variable_check

_COLLECTION = "nixmac.linux_builder"


class CheckedAction(NormalAction):
    """Checks, then runs the module of its name as any."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See the class."""
        role = self._task._role
        if role is not None and role._role_collection == _COLLECTION:
            self._check(task_vars or {})
        return super().run(tmp, task_vars)

    def _check(self, task_vars: t.Mapping[str, t.Any]) -> None:
        host = task_vars.get("inventory_hostname", "this Mac")
        found = _variable_check.check(dict(self._values(task_vars)))
        errors, warnings = found
        if self._task.ignore_errors:
            # The fleet report shows such a Mac all the same.
            errors, warnings = [], errors + warnings
        for words in warnings:
            Display().warning(f"{host}: {words}")
        if errors:
            raise AnsibleActionFail(f"{host}: {' '.join(errors)} Nothing was changed.")

    def _values(self, task_vars: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Any]]:
        for name in [name for name in task_vars if name.startswith(_variable_check.PREFIX)]:
            value = task_vars[name]
            if name in _variable_check.OPTIONS:
                try:
                    value = self._templar.template(value)
                except AnsibleError:
                    continue  # whoever uses it says why it cannot be
                if value is None:
                    continue
            yield name, value
