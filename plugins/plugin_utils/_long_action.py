# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""The action plugin of modules whose work may take long. The module of the same name does it."""

from __future__ import annotations

import os
import sys
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._long_work import PARAMETER, LongWork, LostConnection
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._play_progress import PlayProgress

display = Display()

# Asked when Ansible loads the plugin to look at it, before it starts the worker, whose own outputs lead nowhere.
_TERMINAL = sys.stdout.isatty()


class LongAction(ActionBase):
    """Hands the work in, asks how far it is about every ten seconds, and returns the module's result."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase. Check mode and a task with `async` run the module as any other: at once, or Ansible's way."""
        result = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        if self._task.async_val or self._task.check_mode:
            arguments = {name: value for name, value in self._task.args.items() if name != PARAMETER}
            done = self._execute_module(module_args=arguments, task_vars=self._vars, wrap_async=wrap_async)
        else:
            done = self._detached()
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return merge_hash(result, done)

    def _detached(self) -> dict[str, t.Any]:
        host = str(self._vars.get("inventory_hostname", "the host"))
        progress = PlayProgress(self._shared(), host, self._say, _TERMINAL)
        work = LongWork(host, self._call, (lambda status: None) if self._task.no_log else progress.report)
        try:
            return work.run()
        except LostConnection as exc:
            words = str(exc)
        finally:
            progress.finish()
        if work.polls:
            words += f" The work goes on on {host} by itself; the next run picks it up."
        raise AnsibleConnectionFailure(words)

    def _call(self, more: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            return self._execute_module(module_args={**self._task.args, **more}, task_vars=self._vars)
        except AnsibleConnectionFailure as exc:
            # The next execution makes a connection and a temporary directory of its own; this one's may be gone.
            self._connection._shell.tmpdir = None
            raise LostConnection(str(exc)) from exc

    def _shared(self) -> str:
        """A directory of this run's and this task's, which Ansible removes at its end."""
        return os.path.join(C.DEFAULT_LOCAL_TMP, f"linux-builder-{self._task._uuid}")

    def _say(self, line: str) -> None:
        display.display(f"linux_builder: {line}")
