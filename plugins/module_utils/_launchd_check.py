# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a job's definition may hold: launchd.plist(5) as a table, and the mistakes that launchd keeps silent about.

launchd ignores a key with a wrong type and knows no error for a misspelt one; the job then does something
else than was asked for. So types, ranges and contradictions are refused here, before anything is changed.
Keys that nobody knows pass with a warning, as launchd lets them pass.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import Definition

Problems = list[str]
Check = t.Callable[[str, t.Any], t.Iterable[str]]

_TYPE_NAMES = {bool: "a boolean", int: "an integer", str: "a string", list: "a list", dict: "a dictionary", float: "a real"}


def _is(kind: type, value: t.Any) -> bool:
    # bool is a subclass of int in Python and another type in a property list.
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)


def _wrong(name: str, wanted: str, value: t.Any) -> str:
    return f"{name} has to be {wanted}, not {_TYPE_NAMES.get(type(value), type(value).__name__)}"


def _typed(kind: type) -> Check:
    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if not _is(kind, value):
            yield _wrong(name, _TYPE_NAMES[kind], value)

    return check


def _path(name: str, value: t.Any) -> t.Iterable[str]:
    if not _is(str, value):
        yield _wrong(name, "an absolute path", value)
    elif not value.startswith("/"):
        yield f"{name} is the relative path {value!r}; launchd expands neither ~ nor $HOME, give an absolute one"


def _integer(low: int, high: int | None = None) -> Check:
    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if not _is(int, value):
            yield _wrong(name, "an integer", value)
        elif value < low or (high is not None and value > high):
            yield f"{name} is {value}, outside {low} to {'...' if high is None else high}"

    return check


def _choice(*words: str) -> Check:
    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if value not in words:
            yield f"{name} is {value!r}, none of {', '.join(words)}"

    return check


def _each(item: Check, *, empty: bool = True) -> Check:
    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if not _is(list, value):
            yield _wrong(name, "a list", value)
            return
        if not value and not empty:
            yield f"{name} is empty"
        for number, each in enumerate(value):
            yield from item(f"{name}[{number}]", each)

    return check


def _one_or_each(item: Check, kind: type) -> Check:
    """Accepts a single value of `kind` as well as a list of them."""

    def check(name: str, value: t.Any) -> t.Iterable[str]:
        return item(name, value) if _is(kind, value) else _each(item)(name, value)

    return check


def _mapping(item: Check) -> Check:
    """A dictionary with free keys."""

    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if not _is(dict, value):
            yield _wrong(name, "a dictionary", value)
            return
        for key, each in value.items():
            yield from item(f"{name}.{key}", each)

    return check


def _record(fields: t.Mapping[str, Check], *, strict: bool = True, empty: bool = True) -> Check:
    """A dictionary with known keys; `strict`: no others."""

    def check(name: str, value: t.Any) -> t.Iterable[str]:
        if not _is(dict, value):
            yield _wrong(name, "a dictionary", value)
            return
        if not value and not empty:
            yield f"{name} is an empty dictionary"
        for key, each in value.items():
            if key in fields:
                yield from fields[key](f"{name}.{key}", each)
            elif strict:
                yield f"{name} has no key {key}; it knows {', '.join(sorted(fields))}"

    return check


def _any(name: str, value: t.Any) -> t.Iterable[str]:
    return ()


def _either(wanted: str, checks: t.Mapping[type, Check]) -> Check:
    """One check per type."""

    def check(name: str, value: t.Any) -> t.Iterable[str]:
        found = checks.get(type(value))
        return [_wrong(name, wanted, value)] if found is None else found(name, value)

    return check


def _umask(name: str, value: t.Any) -> t.Iterable[str]:
    if re.fullmatch(r"0?[0-7]{1,3}", value) is None:
        yield f"{name} is {value!r}, not an octal mask such as '022'"


_STRING, _BOOLEAN = _typed(str), _typed(bool)
_STRINGS = _each(_STRING)
_BOOLEANS = _mapping(_BOOLEAN)
_SESSION = _choice("Aqua", "Background", "LoginWindow", "StandardIO", "System")
_CALENDAR = _record(
    {
        "Minute": _integer(0, 59),
        "Hour": _integer(0, 23),
        "Day": _integer(1, 31),
        "Weekday": _integer(0, 7),
        "Month": _integer(1, 12),
    }
)
_KEEP_ALIVE = _record(
    {
        "SuccessfulExit": _BOOLEAN,
        "Crashed": _BOOLEAN,
        "NetworkState": _BOOLEAN,
        "AfterInitialDemand": _BOOLEAN,
        "PathState": _BOOLEANS,
        "OtherJobEnabled": _BOOLEANS,
        "OtherJobActive": _BOOLEANS,
    },
    empty=False,
)
_LIMITS = _record(
    dict.fromkeys("Core CPU Data FileSize MemoryLock NumberOfFiles NumberOfProcesses ResidentSetSize Stack".split(), _integer(0))
)
_SOCKET = _record(
    {
        "SockType": _choice("stream", "dgram", "seqpacket"),
        "SockPassive": _BOOLEAN,
        "SockNodeName": _STRING,
        "SockServiceName": _either("a port's name or number", {str: _STRING, int: _integer(0, 65535)}),
        "SockFamily": _choice("IPv4", "IPv6", "IPv4v6", "Unix"),
        "SockProtocol": _choice("TCP", "UDP"),
        "SockPathName": _path,
        "SecureSocketWithKey": _STRING,
        "SockPathOwner": _integer(0),
        "SockPathGroup": _integer(0),
        "SockPathMode": _integer(0, 0o7777),
        "ReceivePacketInfo": _BOOLEAN,
        "Bonjour": _either("a boolean, a name or a list of names", {bool: _any, str: _any, list: _STRINGS}),
        "MulticastGroup": _STRING,
    },
    strict=False,
)

KEYS: dict[str, Check] = {
    "Label": _STRING,
    "Disabled": _either("a boolean", {bool: _any, dict: _any}),
    "UserName": _STRING,
    "GroupName": _STRING,
    "inetdCompatibility": _record({"Wait": _BOOLEAN}),
    "LimitLoadToHosts": _STRINGS,
    "LimitLoadFromHosts": _STRINGS,
    "LimitLoadToSessionType": _one_or_each(_SESSION, str),
    "LimitLoadToHardware": _mapping(_STRINGS),
    "LimitLoadFromHardware": _mapping(_STRINGS),
    "Program": _path,
    "BundleProgram": _STRING,
    "ProgramArguments": _each(_STRING, empty=False),
    "EnableGlobbing": _BOOLEAN,
    "EnableTransactions": _BOOLEAN,
    "EnablePressuredExit": _BOOLEAN,
    "OnDemand": _BOOLEAN,
    "ServiceIPC": _BOOLEAN,
    "KeepAlive": _either("a boolean or a dictionary", {bool: _any, dict: _KEEP_ALIVE}),
    "RunAtLoad": _BOOLEAN,
    "RootDirectory": _path,
    "WorkingDirectory": _path,
    "EnvironmentVariables": _mapping(_STRING),
    "Umask": _either("an integer (decimal) or an octal string", {int: _integer(0, 0o777), str: _umask}),
    "TimeOut": _integer(0),
    "ExitTimeOut": _integer(0),
    "ThrottleInterval": _integer(0),
    "InitGroups": _BOOLEAN,
    "WatchPaths": _each(_path),
    "QueueDirectories": _each(_path),
    "StartOnMount": _BOOLEAN,
    "StartInterval": _integer(1),
    "StartCalendarInterval": _one_or_each(_CALENDAR, dict),
    "StandardInPath": _path,
    "StandardOutPath": _path,
    "StandardErrorPath": _path,
    "Debug": _BOOLEAN,
    "WaitForDebugger": _BOOLEAN,
    "SoftResourceLimits": _LIMITS,
    "HardResourceLimits": _LIMITS,
    "Nice": _integer(-20, 20),
    "ProcessType": _choice("Background", "Standard", "Adaptive", "Interactive"),
    "AbandonProcessGroup": _BOOLEAN,
    "LowPriorityIO": _BOOLEAN,
    "LowPriorityBackgroundIO": _BOOLEAN,
    "MaterializeDatalessFiles": _BOOLEAN,
    "LaunchOnlyOnce": _BOOLEAN,
    "MachServices": _mapping(
        _either(
            "a boolean or a dictionary",
            {bool: _any, dict: _record({"ResetAtClose": _BOOLEAN, "HideUntilCheckIn": _BOOLEAN}, strict=False)},
        )
    ),
    "Sockets": _mapping(_one_or_each(_SOCKET, dict)),
    "LaunchEvents": _mapping(_mapping(_typed(dict))),
    "SessionCreate": _BOOLEAN,
    "LegacyTimers": _BOOLEAN,
    "AssociatedBundleIdentifiers": _one_or_each(_STRING, str),
    "HopefullyExitsFirst": _BOOLEAN,
    "HopefullyExitsLast": _BOOLEAN,
}
# Keys of Apple's own property lists: not documented by Apple, accepted here without a word.
_PRIVATE = frozenset(
    """POSIXSpawnType JetsamProperties JetsamPriority JetsamMemoryLimit EnterKernelDebuggerBeforeKill MultipleInstances
    CFBundleIdentifier SandboxProfile SandboxFlags QuarantineData DisableASLR PerJobMachServices BinaryOrderPreference
    MachExceptionHandler EventMonitor ShutdownMonitor BeginTransactionAtShutdown XPCDomain XPCDomainBootstrapper
    AuditSessionID JoinGUISession SecuritySessionUUID UserEnvironmentVariables MachServiceLookupPolicies
    IgnoreProcessGroupAtShutdown Policies _ManagedBy""".split()
)
_WITHOUT_EFFECT = {
    "LimitLoadToHosts": "is no longer supported",
    "LimitLoadFromHosts": "is no longer supported",
    "EnableGlobbing": "is ignored since macOS 10.10",
    "OnDemand": "is deprecated since 10.5, use KeepAlive",
    "ServiceIPC": "is ignored",
    "TimeOut": "is no longer implemented",
    "HopefullyExitsFirst": "is no longer respected",
    "HopefullyExitsLast": "is no longer respected",
}
_BY_FOLDED_NAME = {key.casefold(): key for key in (*KEYS, *_PRIVATE)}


def check_definition(definition: Definition, label: str, domain: str) -> list[str]:
    """Refuse (ConfigError with every problem found) what launchd would ignore or reject; returns warnings.

    domain: `system`, `gui/<uid>` or `user/<uid>`.
    """
    problems: Problems = []
    warnings: list[str] = []
    for key, value in definition.items():
        if key in KEYS:
            problems.extend(KEYS[key](key, value))
        elif key not in _PRIVATE:
            _unknown_key(key, problems, warnings)
        if key in _WITHOUT_EFFECT:
            warnings.append(f"{label}: {key} {_WITHOUT_EFFECT[key]}.")
    for rule in (_label_rule, _program_rule, _keep_alive_rule, _limits_rule):
        problems.extend(rule(definition, label))
    if problems:
        raise ConfigError(
            f"definition of {label}: {'; '.join(problems)}. Nothing was changed; see launchd.plist(5).", problems=problems
        )
    return warnings + [f"{label}: {text}." for text in _doubts(definition, domain)]


def _unknown_key(key: str, problems: Problems, warnings: list[str]) -> None:
    known = _BY_FOLDED_NAME.get(key.casefold())
    if known is not None:
        problems.append(f"{key} is spelt {known}, and launchd ignores every other spelling")
    elif not key.startswith("Embedded"):
        warnings.append(f"definition: launchd.plist(5) knows no key {key}; launchd ignores it.")


def _label_rule(definition: Definition, label: str) -> t.Iterable[str]:
    if _is(str, definition.get("Label", label)) and definition.get("Label", label) != label:
        yield f"Label is {definition['Label']!r}, but the job asked for is {label!r}"


def _program_rule(definition: Definition, label: str) -> t.Iterable[str]:
    arguments = definition.get("ProgramArguments")
    if "Program" not in definition and arguments is None:
        yield "neither Program nor ProgramArguments says what to run"
    elif "Program" not in definition and _is(list, arguments) and arguments and _is(str, arguments[0]):
        yield from _path("ProgramArguments[0]", arguments[0])


def _keep_alive_rule(definition: Definition, label: str) -> t.Iterable[str]:
    keep_alive, on_demand = definition.get("KeepAlive"), definition.get("OnDemand")
    if _is(bool, keep_alive) and _is(bool, on_demand) and keep_alive == on_demand:
        yield "KeepAlive and OnDemand contradict each other; leave OnDemand out"


def _limits_rule(definition: Definition, label: str) -> t.Iterable[str]:
    soft, hard = definition.get("SoftResourceLimits"), definition.get("HardResourceLimits")
    if isinstance(soft, dict) and isinstance(hard, dict):
        for name in sorted(soft.keys() & hard.keys()):
            if _is(int, soft[name]) and _is(int, hard[name]) and soft[name] > hard[name]:
                yield f"SoftResourceLimits.{name} is above HardResourceLimits.{name}"


def _doubts(definition: Definition, domain: str) -> t.Iterable[str]:
    """What is legal and most likely not meant."""
    sessions = definition.get("LimitLoadToSessionType")
    wanted = {"system": "System", "user": "Background", "gui": "Aqua"}[domain.partition("/")[0]]
    if sessions is not None and wanted not in ([sessions] if isinstance(sessions, str) else sessions):
        yield f"LimitLoadToSessionType does not hold {wanted}, so launchd may refuse it in {domain} (134)"
    if domain != "system":
        for key in ("UserName", "GroupName"):
            if key in definition:
                yield f"{key} is only honoured in the system domain"
    if definition.get("ThrottleInterval") == 0:
        yield "launchd ignores ThrottleInterval 0 and takes 10"
    keep_alive = definition.get("KeepAlive")
    if isinstance(keep_alive, dict) and "NetworkState" in keep_alive:
        yield "KeepAlive.NetworkState is no longer implemented"
