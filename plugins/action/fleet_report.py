# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of status.yml: what the Macs answered becomes a page, a JSON file and a table. Contacts no host."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _report, _report_page, _report_sources, _report_table

_SILENT = "This Mac has left no report."


class ActionModule(ActionBase):
    """See the documentation of the module fleet_report."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Write both files; in check mode only the table is shown."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "list", "elements": "str", "required": True},
                "variable": {"type": "str", "required": True},
                "path": {"type": "path", "required": True},
                "title": {"type": "str", "default": "Linux builders"},
                "asked": {"type": "bool", "default": True},
                "merge": {"type": "list", "elements": "path", "default": []},
                "max_age": {"type": "int", "default": 0},
                "fail_on": {"type": "list", "elements": "str", "choices": list(_report.REASONS), "default": []},
                "table": {"type": "bool", "default": True},
            },
        )
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        macs = _report.aged(self._macs(options, (task_vars or {}).get("hostvars", {}), now), now, options["max_age"])
        report = _report.report(macs, now, options["title"])
        directory = os.path.abspath(options["path"])
        result: dict[str, t.Any] = {
            "changed": False,
            "html": os.path.join(directory, "fleet.html"),
            "json": os.path.join(directory, "fleet.json"),
            "summary": report["summary"],
        }
        if not self._task.check_mode:
            _write(directory, {"fleet.json": json.dumps(report, indent=1) + "\n", "fleet.html": _report_page.page(report)})
        if options["table"]:
            width = max(80, shutil.get_terminal_size((160, 24)).columns)
            Display().display(_report_table.table(report, width))
        found = _report.failing(report["macs"], options["fail_on"])
        if found:
            words = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in list(found.items())[:10])
            more = f" and {len(found) - 10} more" if len(found) > 10 else ""
            result.update(failed=True, msg=f"{len(found)} of {len(report['macs'])} Macs need a look: {words}{more}.")
        return result

    def _macs(self, options: dict[str, t.Any], hostvars: t.Any, now: float) -> list[_report.Row]:
        """What was read in this run, and in others."""
        hosts = options["hosts"]
        try:
            earlier = [_report_sources.rows(source, hosts) for source in options["merge"]]
        except _report.ReportError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        if not options["asked"]:
            return _report.merge([_report.unread(host, "unreachable", _SILENT) for host in hosts], *earlier)
        return _report.merge(
            *earlier, [_report.row(host, self._answer(hostvars, host, options["variable"]), now) for host in hosts]
        )

    @staticmethod
    def _answer(hostvars: t.Any, host: str, variable: str) -> t.Any:
        try:
            return hostvars[host][variable]
        except (KeyError, TypeError):
            return None  # a play that ended for this Mac before the task


def _write(directory: str, files: t.Mapping[str, str]) -> None:
    """Each file at once: a web server in front of the directory never shows half of one."""
    try:
        os.makedirs(directory, exist_ok=True)
        for name, text in files.items():
            descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.chmod(temporary, 0o644)
                os.replace(temporary, os.path.join(directory, name))
            except BaseException:
                os.unlink(temporary)
                raise
    except OSError as exc:
        raise AnsibleActionFail(
            f"{exc.filename or directory}: cannot be written: {exc.strerror}. Name another linux_builder_report_path."
        ) from exc
