# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For the tests of nix_conf: recorded settings, a reading of nix.conf that shares no code with the module, and strategies."""

from __future__ import annotations

import dataclasses
import json
import os
import posixpath
import re
import typing as t

from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as tables
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Setting
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_edit import Site

FIXTURES = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "fixtures", "nixconf")
VERSIONS = ("2.8.0", "2.26.3", "2.34.8")
ROOT = "/etc/nix/nix.conf"


def load(name: str) -> t.Any:
    """A recorded JSON file."""
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as stream:
        return json.load(stream)


def table(version: str = "2.26.3", order: str = tables.INLINE) -> tables.Table:
    """What the module learns from that Nix, here from the record."""
    recorded = load(f"settings-{version}.json")
    settings = {
        name: Setting(
            name,
            entry["defaultValue"] if name in tables._TOUCHED else entry["value"],
            entry["defaultValue"],
            tuple(entry["aliases"]),
        )
        for name, entry in recorded.items()
    }
    aliases = {alias: name for name, setting in settings.items() for alias in setting.aliases}
    return tables.Table(settings, aliases, tables._ONCE_APPENDABLE if version == "2.34.8" else frozenset(), order)


def site(files: t.Mapping[str, bytes], path: str = ROOT, *, version: str = "2.26.3", order: str = tables.INLINE) -> Site:
    """A configuration in memory; names are relative to /etc/nix."""
    absolute = {posixpath.join("/etc/nix", name): content for name, content in files.items()}
    folders = {posixpath.dirname(name) for name in absolute}

    def read(name: str) -> t.Any:
        return False if name in folders else absolute.get(name)

    return Site(ROOT, path, absolute.get(path), read, table(version, order))


def words(line: bytes) -> list[str]:
    """Tokens of a line, cut by hand."""
    found: list[str] = []
    current = bytearray()
    for byte in line.split(b"#")[0] + b" ":
        if byte in b" \t\r\n":
            if current:
                found.append(current.decode("utf-8", "surrogateescape"))
            current = bytearray()
        else:
            current.append(byte)
    return found


@dataclasses.dataclass
class Reading:
    """An interpreter of nix.conf that applies line by line, as Nix does, instead of searching for the last line."""

    files: t.Mapping[str, bytes]  # absolute names
    table: tables.Table
    values: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def apply(self, path: str) -> None:
        """Apply a file; ValueError for what Nix rejects."""
        pending = []
        for line in self.files[path].split(b"\n"):
            tokens = words(line)
            if not tokens:
                continue
            if tokens[0] in ("include", "!include"):
                if len(tokens) != 2:
                    raise ValueError("include")
                self._include(path, tokens)
            elif len(tokens) < 2 or tokens[1] != "=":
                raise ValueError("syntax")
            elif self.table.order == tables.DEFERRED:
                pending.append((tokens[0], tokens[2:]))
            else:
                self._set(tokens[0], tokens[2:])
        for name, value in pending:
            self._set(name, value)

    def _include(self, path: str, tokens: list[str]) -> None:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), tokens[1]))
        if target in self.files:
            if self.table.order != tables.LOST:
                self.apply(target)
        elif tokens[0] == "include" and target + "/" not in self.files and not os.path.isdir(target):
            raise ValueError("missing")

    def _set(self, name: str, value: list[str]) -> None:
        settings, aliases = self.table.settings, self.table.aliases
        own = name if name in settings else aliases.get(name)
        adds = False
        if own is None and name.startswith("extra-"):
            own = name[6:] if name[6:] in settings else aliases.get(name[6:])
            adds = True
        if own is None or (adds and not isinstance(settings[own].value, (list, dict))):
            return
        old = self.values.get(own, settings[own].value)
        if isinstance(settings[own].value, dict):
            new = {}
            for item in value:
                key, equals, text = item.partition("=")
                if equals and key not in new:
                    new[key] = text
            self.values[own] = {**new, **old} if adds else new
        elif isinstance(settings[own].value, list):
            self.values[own] = [*old, *value] if adds else value
        else:
            self.values[own] = " ".join(value)

    def of(self, name: str) -> t.Any:
        """A setting's value: list, map or text; its default where nothing set it."""
        return self.values.get(name, self.table.settings[name].value)


def reading(target: Site, content: bytes | None, files: t.Mapping[str, bytes]) -> Reading:
    """Read a configuration with `content` as the edited file."""
    absolute = {posixpath.join("/etc/nix", name): data for name, data in files.items()}
    if content is None:
        absolute.pop(target.path, None)
    else:
        absolute[target.path] = content
    result = Reading(absolute, target.table)
    if target.root in absolute:
        result.apply(target.root)
    return result


# -- strategies ----------------------------------------------------------------------------------------------------

USERS = ["root", "ann", "bob", "@admin", "zoë"]
HOSTS = ["https://one.example", "https://two.example", "https://three.example"]
TOKENS = ["one.example=abc", "two.example=def", "one.example=xyz"]
LISTS = {
    "trusted-users": USERS,
    "allowed-users": USERS,
    "substituters": HOSTS,
    "trusted-substituters": HOSTS,
    "extra-platforms": ["a-b", "c-d"],
    "access-tokens": TOKENS,
}
SCALARS = {
    "cores": ["0", "3", "7"],
    "max-jobs": ["2", "5", "auto"],
    "fallback": ["true", "false"],
    "builders": ["", "ssh://a", "ssh://a i686-linux;@/etc/nix/machines"],
    "bash-prompt": ["x", "y z"],
}
SPELLINGS = {
    "substituters": ["substituters", "binary-caches"],
    "trusted-substituters": ["trusted-substituters", "trusted-binary-caches"],
    "max-jobs": ["max-jobs", "build-max-jobs"],
    "cores": ["cores", "build-cores"],
}
BLANK = st.sampled_from([b" ", b"  ", b"\t", b" \t "])
EDGE = st.sampled_from([b"", b"", b"", b" ", b"\t"])
COMMENT = st.sampled_from([b"", b"", b"", b"# c", b" # trusted-users = eve", b"#", b" # caf\xe9"])


@st.composite
def assignment(draw: st.DrawFn) -> bytes:
    """An assignment in any spelling and spacing."""
    name = draw(st.sampled_from([*LISTS, *SCALARS, "no-such-setting"]))
    spelling = draw(st.sampled_from(SPELLINGS.get(name, [name])))
    if name in LISTS:
        extra = draw(st.sampled_from(["", "extra-"]))
        values = draw(st.lists(st.sampled_from(LISTS[name]), max_size=3))
    else:
        extra = ""
        values = draw(st.sampled_from(SCALARS.get(name, ["1"]))).split()
    text = draw(EDGE) + (extra + spelling).encode() + draw(BLANK) + b"="
    for value in values:
        text += draw(BLANK) + value.encode()
    return text + draw(EDGE) + draw(COMMENT)


OTHER = st.sampled_from([b"", b"", b"  ", b"# a comment", b"\t# max-jobs = 9", b"!include none.conf", b"# caf\xe9 \xff"])
END = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"])


@st.composite
def conf(draw: st.DrawFn, includes: t.Sequence[bytes] = ()) -> bytes:
    """A file that Nix accepts: assignments, comments, blank lines, includes, any line ends, perhaps no final one."""
    kinds = [assignment(), assignment(), OTHER]
    if includes:
        kinds.append(st.sampled_from([b"!include " + name for name in includes]))
    lines = draw(st.lists(st.one_of(kinds), max_size=7))
    content = b"".join(line + draw(END) for line in lines)
    return re.sub(rb"\r?\n\Z", b"", content) if draw(st.booleans()) and draw(st.booleans()) else content


@st.composite
def request(draw: st.DrawFn) -> dict[str, t.Any]:
    """Options of nix_conf that do not contradict themselves."""
    names = draw(st.lists(st.sampled_from([*LISTS, *SCALARS]), min_size=1, max_size=4, unique=True))
    options: dict[str, t.Any] = {"settings": {}, "append": {}, "absent": {}}
    for name in names:
        kinds = ["settings", "absent"] + (["append", "append", "remove"] if name in LISTS else ["settings"])
        kind = draw(st.sampled_from(kinds))
        spelling = draw(st.sampled_from(SPELLINGS.get(name, [name])))
        if kind == "settings":
            options[kind][spelling] = draw(_value(name))
        elif kind == "absent":
            options[kind][spelling] = []
        else:
            elements = draw(
                st.lists(st.sampled_from(LISTS[name]), min_size=1, max_size=2, unique_by=lambda item: item.split("=")[0])
            )
            options["append" if kind == "append" else "absent"][spelling] = elements
    return options


def _value(name: str) -> st.SearchStrategy[t.Any]:
    if name in LISTS:
        return st.lists(st.sampled_from(LISTS[name]), max_size=3, unique_by=lambda item: item.split("=")[0])
    return st.sampled_from(SCALARS[name])
