# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""The variables of users, before anything is done with them: names that nobody reads, values that cannot be.

Each message names the variable, quotes its value, and says what to write instead.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import as_list
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._variable_table import OPTIONS, OTHERS

PREFIX = "linux_builder_"
TABLE = "docs/variables.md of the collection lists them all."

SYSTEMS = (
    *("aarch64-linux", "x86_64-linux", "i686-linux", "armv6l-linux", "armv7l-linux"),
    *("riscv64-linux", "powerpc64le-linux", "s390x-linux"),
)
# Paths on the Mac, where a relative one would begin nowhere. Empty means that the role chooses.
MAC_PATHS = (
    *("linux_builder_adopt_directory", "linux_builder_ca_file", "linux_builder_key_path", "linux_builder_log_path"),
    *("linux_builder_nix_conf_path", "linux_builder_profile", "linux_builder_working_directory"),
)
_EMPTY = ("linux_builder_adopt_directory", "linux_builder_ca_file", "linux_builder_nix_conf_path")


class Findings(t.NamedTuple):
    """errors: what stops the run. warnings: what only looks wrong."""

    errors: list[str]
    warnings: list[str]


def check(variables: t.Mapping[str, t.Any]) -> Findings:
    """What is wrong with a Mac's variables, of which only those of this collection are looked at."""
    errors: list[str] = []
    warnings: list[str] = []
    given = {}
    for name, value in variables.items():
        if name in OPTIONS:
            given[name] = value
        elif name.startswith(PREFIX) and name not in OTHERS:
            near = _near(name)
            # Another name may be one of the user's own. One that is nearly ours is a slip of the finger.
            (errors if near else warnings).append(f"{name}: there is no such variable. {_meant(near) or TABLE}")
    errors += _types(given)
    for name, rule in _RULES:
        if name in given and not any(error.startswith(f"{name}:") for error in errors):
            errors += [f"{name}: {words}" for words in rule(given[name])]
    return Findings(sorted(errors), sorted(warnings))


def _near(name: str) -> list[str]:
    """The variable that is nearly called so. What all have in common makes none of them alike."""
    known = [other[len(PREFIX) :] for other in (*OPTIONS, *OTHERS)]
    return [PREFIX + other for other in difflib.get_close_matches(name[len(PREFIX) :], known, 1, 0.75)]


def _meant(near: t.Sequence[str]) -> str:
    return f"Did you mean {near[0]}?" if near else ""


def _types(given: t.Mapping[str, t.Any]) -> list[str]:
    """By the argument specs; one by one only where something is wrong, to name it."""
    if not ArgumentSpecValidator({name: OPTIONS[name] for name in given}).validate(dict(given)).error_messages:
        return []
    found = []
    for name, value in given.items():
        if ArgumentSpecValidator({name: OPTIONS[name]}).validate({name: value}).error_messages:
            found.append(f"{name}: {value!r} {_wanted(OPTIONS[name], value)}")
    return found


_TYPES = {
    "int": "is no whole number.",
    "bool": "is neither true nor false.",
    "list": "is no list.",
    "path": "is no path.",
    "str": "is no text.",
}


def _wanted(option: t.Mapping[str, t.Any], value: t.Any) -> str:
    choices = option.get("choices")
    if not choices:
        return _TYPES[option["type"]]
    near = difflib.get_close_matches(str(value), choices, 1, 0.6)
    return f"is none of {', '.join(choices)}. {_meant(near)}".rstrip()


def _port(value: t.Any) -> t.Iterator[str]:
    if not 1 <= int(value) <= 65535:
        yield f"{value!r} is no port. Give a number from 1 to 65535; the default is 31022."


def _not_negative(value: t.Any) -> t.Iterator[str]:
    if int(value) < 0:
        yield f"{value!r} is negative. Give 0 or more."


def _positive(value: t.Any) -> t.Iterator[str]:
    if int(value) < 1:
        yield f"{value!r} is less than 1. Give 1 or more."


def _absolute(value: t.Any) -> t.Iterator[str]:
    if not str(value).startswith("/"):
        yield f"{value!r} is no absolute path. Write it from / on."


def _absolute_or_empty(value: t.Any) -> t.Iterator[str]:
    if value:
        yield from _absolute(value)


def _systems(value: t.Any) -> t.Iterator[str]:
    for system in as_list(value):
        name = str(system).strip()
        if name and name not in SYSTEMS:
            near = difflib.get_close_matches(_usual(name), SYSTEMS, 1, 0.6)
            yield f"{name!r} is no system that Nix builds Linux for. {_meant(near) or 'Such as aarch64-linux or x86_64-linux.'}"


def _usual(system: str) -> str:
    """What others call a processor, as Nix calls it."""
    return re.sub(r"^(arm64)\b", "aarch64", re.sub(r"^(amd64|x86-64|x64)\b", "x86_64", system.replace("darwin", "linux")))


def _version(value: t.Any) -> t.Iterator[str]:
    if not re.fullmatch(r"\d+(\.\d+){0,2}", str(value)):
        yield f"{value!r} is no version of macOS. Write it as 13.0, in quotes."


def _address(value: t.Any) -> t.Iterator[str]:
    try:
        ipaddress.IPv4Address(str(value))
    except ValueError:
        yield f"{value!r} is no IPv4 address. The default is 127.0.0.1."


def _label(value: t.Any) -> t.Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(value)):
        yield f"{value!r} is no label of launchd. Use letters, digits, dots and dashes, as in org.nixmac.linux-builder."


def _host_name(value: t.Any) -> t.Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", str(value)):
        yield f"{value!r} is no host name. Use letters, digits, dots and dashes, as in linux-builder."


def _package(value: t.Any) -> t.Iterator[str]:
    if "#" not in str(value) and not str(value).startswith("/nix/store/"):
        yield f"{value!r} names no attribute. Write FLAKE#ATTRIBUTE, as in github:NixOS/nixpkgs/REVISION#darwin.linux-builder."


_Rule = t.Callable[[t.Any], t.Iterator[str]]
_BY_NAME: dict[str, _Rule] = {
    "linux_builder_port": _port,
    "linux_builder_speed_factor": _positive,
    "linux_builder_systems": _systems,
    "linux_builder_minimum_macos": _version,
    "linux_builder_host_address": _address,
    "linux_builder_label": _label,
    "linux_builder_alias": _host_name,
    "linux_builder_package": _package,
    **{name: _absolute_or_empty if name in _EMPTY else _absolute for name in MAC_PATHS},
}
_RULES: list[tuple[str, _Rule]] = [
    *_BY_NAME.items(),
    *((name, _not_negative) for name, option in OPTIONS.items() if option["type"] == "int" and name not in _BY_NAME),
]
