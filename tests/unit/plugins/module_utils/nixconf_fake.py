# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Nix for tests: reads real directories with the independent reading, answers like `show-config`, counts its starts."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as tables
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support

# Values that Nix rejects, as text: enough for the tests.
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class FakeNix(Nix):
    """`version`: whose recorded settings it has. `calls`: the arguments of each start."""

    def __init__(self, version: str = "2.26.3", order: str = tables.INLINE, text: str | None = None) -> None:
        super().__init__(Runner(), "/fake/nix")
        self.table = support.table(version, order)
        self.text = text or f"nix (Nix) {version}"
        self.calls: list[list[str]] = []

    def run(self, args: t.Sequence[str], **kwargs: t.Any) -> Completed:
        """Answer `--version` and `show-config --json`."""
        self.calls.append(list(args))
        directory = (kwargs.get("env") or {}).get("NIX_CONF_DIR", "/etc/nix")
        try:
            reading = self._read(directory)
        except ValueError as exc:
            return Completed(("nix",), 1, "", f"error: {exc}\n")
        if args[0] == "--version":
            return Completed(("nix",), 0, self.text + "\n", "")
        answer = {
            name: {"value": self._value(reading, name), "defaultValue": setting.default, "aliases": list(setting.aliases)}
            for name, setting in self.table.settings.items()
        }
        return Completed(("nix",), 0, json.dumps(answer), "warning: 'show-config' is a deprecated alias for 'config show'\n")

    def _read(self, directory: str) -> support.Reading:
        files = {}
        for folder, _folders, names in os.walk(directory):
            for name in names:
                with open(os.path.join(folder, name), "rb") as stream:
                    files[os.path.join(folder, name)] = stream.read()
        reading = support.Reading(files, self.table)
        root = os.path.join(directory, "nix.conf")
        if root in files:
            reading.apply(root)
        for name in self.table.settings:
            self._value(reading, name)
        return reading

    def _value(self, reading: support.Reading, name: str) -> t.Any:
        value, kind = reading.of(name), self.table.settings[name].value
        if name not in reading.values or not isinstance(kind, (bool, int)):
            return value
        if isinstance(kind, bool) and value not in _BOOLEANS:
            raise ValueError(f"Boolean setting '{name}' has invalid value '{value}'")
        if isinstance(kind, bool):
            return _BOOLEANS[value]
        if not (value.isdigit() or (name == "max-jobs" and value == "auto")):
            raise ValueError(f"setting '{name}' has invalid value '{value}'")
        return 2 if value == "auto" else int(value)
