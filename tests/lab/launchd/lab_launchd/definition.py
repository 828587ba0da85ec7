# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job's definition, read from a property list with launchd's own checks."""

from __future__ import annotations

import os
import plistlib
import stat
import typing as t
import xml.parsers.expat

from lab_launchd.facts import BAD_LABEL, BAD_OWNER, BAD_PLIST, BAD_PROGRAM, LaunchError

# What plistlib raises on files that are no property list.
PLIST_ERRORS = (ValueError, TypeError, AttributeError, LookupError, OverflowError, xml.parsers.expat.ExpatError)

_KINDS: dict[str, tuple[type, ...]] = {
    "Label": (str,),
    "Disabled": (bool, dict),
    "UserName": (str,),
    "GroupName": (str,),
    "Program": (str,),
    "ProgramArguments": (list,),
    "RunAtLoad": (bool,),
    "KeepAlive": (bool, dict),
    "OnDemand": (bool,),
    "RootDirectory": (str,),
    "WorkingDirectory": (str,),
    "EnvironmentVariables": (dict,),
    "Umask": (int, str),
    "ExitTimeOut": (int,),
    "ThrottleInterval": (int,),
    "InitGroups": (bool,),
    "WatchPaths": (list,),
    "QueueDirectories": (list,),
    "StartInterval": (int,),
    "StartCalendarInterval": (dict, list),
    "StandardInPath": (str,),
    "StandardOutPath": (str,),
    "StandardErrorPath": (str,),
    "SoftResourceLimits": (dict,),
    "HardResourceLimits": (dict,),
    "Nice": (int,),
    "ProcessType": (str,),
    "AbandonProcessGroup": (bool,),
    "LaunchOnlyOnce": (bool,),
    "LimitLoadToSessionType": (str, list),
    "Sockets": (dict,),
    "MachServices": (dict,),
    "LowPriorityIO": (bool,),
}


def _fits(value: t.Any, kinds: tuple[type, ...]) -> bool:
    # A bool is an int in Python, but not in a property list.
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds)


def _strings(value: t.Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


class Definition:
    """One job as launchd understands it; wrongly typed keys are dropped and named in `ignored`."""

    def __init__(self, data: dict[str, t.Any]) -> None:
        self.ignored: list[str] = []
        clean: dict[str, t.Any] = {}
        for key, value in data.items():
            if key in _KINDS and not _fits(value, _KINDS[key]):
                self.ignored.append(key)
            else:
                clean[key] = value
        self.data = clean
        self.label: str = clean.get("Label", "")
        if not self.label or "/" in self.label:
            raise LaunchError(BAD_LABEL, "Label")
        self.arguments = self._arguments(clean)
        self.inferred = "Program" not in clean
        if self.inferred and not self.arguments:
            raise LaunchError(BAD_PROGRAM, "Program")
        self.program: str = clean.get("Program") or self.arguments[0]
        self.disabled = clean.get("Disabled") is True
        self._timing(clean)
        self._conditions(clean)
        self._process(clean)

    @staticmethod
    def _arguments(clean: dict[str, t.Any]) -> list[str]:
        raw = clean.get("ProgramArguments", [])
        if not all(isinstance(item, str) for item in raw):
            raise LaunchError(BAD_PROGRAM, "ProgramArguments")
        return list(raw)

    def _timing(self, clean: dict[str, t.Any]) -> None:
        # ThrottleInterval 0 is ignored by launchd; ExitTimeOut 0 means: never SIGKILL.
        self.throttle = clean.get("ThrottleInterval", 0) if clean.get("ThrottleInterval", 0) > 0 else 10
        self.exit_timeout = clean.get("ExitTimeOut", 5) if clean.get("ExitTimeOut", 5) >= 0 else 5
        self.interval = clean.get("StartInterval", 0) if clean.get("StartInterval", 0) > 0 else None
        calendar = clean.get("StartCalendarInterval", [])
        calendar = [calendar] if isinstance(calendar, dict) else calendar
        self.calendar = [
            {key: value for key, value in item.items() if _fits(value, (int,))} for item in calendar if isinstance(item, dict)
        ]

    def _conditions(self, clean: dict[str, t.Any]) -> None:
        self.keep_alive = clean.get("KeepAlive", not clean.get("OnDemand", True))
        self.conditions: dict[str, t.Any] = self.keep_alive if isinstance(self.keep_alive, dict) else {}
        self.watch_paths = _strings(clean.get("WatchPaths"))
        self.queue_directories = _strings(clean.get("QueueDirectories"))
        self.run_at_load = bool(clean.get("RunAtLoad", False))
        # man launchd.plist: SuccessfulExit implies RunAtLoad, or there would never be an exit to look at.
        self.starts_at_load = self.run_at_load or self.keep_alive is True or "SuccessfulExit" in self.conditions
        self.launch_only_once = bool(clean.get("LaunchOnlyOnce", False))
        state = self.conditions.get("PathState")
        self.path_state: dict[str, bool] = state if isinstance(state, dict) else {}
        self.polls = bool(self.path_state or self.watch_paths or self.queue_directories)

    def _process(self, clean: dict[str, t.Any]) -> None:
        variables = clean.get("EnvironmentVariables", {})
        self.environment = {key: value for key, value in variables.items() if isinstance(value, str)}
        self.abandon_group = bool(clean.get("AbandonProcessGroup", False))
        self.umask = self._umask(clean.get("Umask"))
        sessions = clean.get("LimitLoadToSessionType", [])
        self.sessions = [sessions] if isinstance(sessions, str) else _strings(sessions)

    @staticmethod
    def _umask(value: t.Any) -> int | None:
        if isinstance(value, str):
            try:
                # strtoul(3) with base 0: a leading 0 makes it octal
                return int(value, 8 if value.startswith("0") and not value.lower().startswith("0x") else 0)
            except ValueError:
                return None
        return value if isinstance(value, int) else None

    def text(self, key: str) -> str | None:
        """A string key, None when absent."""
        value = self.data.get(key)
        return value if isinstance(value, str) else None


def check_file(path: str, uid: int | None) -> None:
    """Owner and mode rules: root (or the user for an agent), not writable by group or others."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise LaunchError(2, str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise LaunchError(BAD_PLIST, "not a regular file")
    owners = (0,) if uid is None else (0, uid)
    if status.st_uid not in owners or status.st_mode & 0o022:
        raise LaunchError(BAD_OWNER, f"owner {status.st_uid} mode {status.st_mode & 0o7777:o}")


def read_definition(path: str) -> Definition:
    """Read an XML or binary property list; other formats are refused as launchd refuses them."""
    try:
        with open(path, "rb") as handle:
            data = plistlib.load(handle)
    except OSError as error:
        raise LaunchError(2, str(error)) from error
    except PLIST_ERRORS as error:
        raise LaunchError(BAD_PLIST, str(error)) from error
    if not isinstance(data, dict):
        raise LaunchError(BAD_PLIST, "not a dictionary")
    return Definition(data)
