# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the Mac's own Nix knows: names, aliases, defaults, which settings are lists, and when it reads includes.

One process tells all of it: `show-config` of a small configuration that includes a file of its own.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import (
    Nix,
    NixVersion,
    Setting,
    as_json,
    parse_settings,
    settings_from,
)

# When Nix applies what it includes.
INLINE = "inline"  # at the place of the include line (before 2.16, and since 2.22)
DEFERRED = "deferred"  # before all own lines of the including file (2.16 to 2.19)
LOST = "lost"  # never: a defect reads the including file again (2.20, 2.21, Lix 2.90 to 2.91.1)

# Settings with a list or map as value that are one JSON text in nix.conf.
_JSON_SETTINGS = frozenset({"external-builders"})
# Lists that took `extra-` up to some version and do not any more; whether this Nix still does is measured.
_ONCE_APPENDABLE = frozenset({"allowed-impure-host-deps", "plugin-files"})

_PROBE = b"""\
bash-prompt = own
!include sub/probe.conf
extra-allowed-impure-host-deps = /nixmac-probe
"""
_PROBED = b"bash-prompt = included\nbash-prompt-suffix = included\n"
# The probe itself, or the command line, sets these; their default is the value without any nix.conf.
_TOUCHED = frozenset({"bash-prompt", "bash-prompt-suffix", "allowed-impure-host-deps", "experimental-features"})

# Without a Nix on the host: what every Nix since 2.4 agrees on.
_LISTS = """access-tokens allowed-impure-host-deps allowed-uris allowed-users experimental-features extra-platforms
    hashed-mirrors ignored-acls impure-env nix-path plugin-files sandbox-paths secret-key-files substituters
    system-features trusted-public-keys trusted-substituters trusted-users""".split()
_MAPS = frozenset({"access-tokens", "impure-env"})  # from text to text
_DEFAULTS: dict[str, list[str]] = {
    "allowed-users": ["*"],
    "substituters": ["https://cache.nixos.org/"],
    "trusted-public-keys": ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="],
    "trusted-users": ["root"],
}
_ALIASES = {
    "build-max-jobs": "max-jobs",
    "build-cores": "cores",
    "build-fallback": "fallback",
    "build-timeout": "timeout",
    "build-max-silent-time": "max-silent-time",
    "build-use-sandbox": "sandbox",
    "build-use-chroot": "sandbox",
    "build-use-substitutes": "substitute",
    "build-sandbox-paths": "sandbox-paths",
    "build-chroot-dirs": "sandbox-paths",
    "binary-caches": "substituters",
    "binary-cache-public-keys": "trusted-public-keys",
    "trusted-binary-caches": "trusted-substituters",
    "binary-caches-parallel-connections": "http-connections",
    "substitution-max-jobs": "max-substitution-jobs",
    "gc-keep-outputs": "keep-outputs",
    "gc-keep-derivations": "keep-derivations",
    "env-keep-derivations": "keep-env-derivations",
    "commit-lockfile-summary": "commit-lock-file-summary",
}


class Table(t.NamedTuple):
    """Names and kinds of settings. `settings` is empty when no Nix could be asked."""

    settings: t.Mapping[str, Setting]
    aliases: t.Mapping[str, str]
    not_appendable: frozenset[str] = frozenset()
    order: str = INLINE

    @property
    def asked(self) -> bool:
        """Whether a Nix on this host told these facts."""
        return bool(self.settings)

    def known(self, name: str) -> bool:
        """Whether it is a setting or an alias of one; True for all when no Nix could be asked."""
        return not self.asked or name in self.settings or name in self.aliases

    def canonical(self, name: str) -> str:
        """A setting's own name for an alias; else the name as it is."""
        return name if name in self.settings else self.aliases.get(name, name)

    def names(self, name: str) -> set[str]:
        """A setting's own name and all its aliases."""
        own = self.canonical(name)
        return {own} | {alias for alias, target in self.aliases.items() if target == own}

    def is_list(self, name: str) -> bool:
        """Whether the value is a list (or a map) of elements without blanks."""
        name = self.canonical(name)
        if not self.asked:
            return name in _LISTS
        setting = self.settings.get(name)
        return setting is not None and isinstance(setting.value, (list, dict)) and name not in _JSON_SETTINGS

    def appendable(self, name: str) -> bool:
        """Whether this Nix adds the elements of an `extra-NAME` line."""
        return self.is_list(name) and self.canonical(name) not in self.not_appendable

    def read(self, name: str) -> tuple[str, bool]:
        """What a line's left side means: (setting, whether it adds to it)."""
        if name in self.settings or name in self.aliases:
            return self.canonical(name), False
        if name.startswith("extra-") and self.appendable(name[6:]) and not (not self.asked and name in _LISTS):
            return self.canonical(name[6:]), True
        return name, False

    def is_map(self, name: str) -> bool:
        """Whether the elements are `key=value`, of which Nix keeps one for each key."""
        name = self.canonical(name)
        setting = self.settings.get(name)
        return isinstance(setting.value, dict) if setting is not None else name in _MAPS

    def combined(self, name: str, parts: t.Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """The elements that Nix makes of a plain line and the `extra-` lines behind it."""
        if not self.is_map(name):
            return tuple(element for part in parts for element in part)
        text_map = self.canonical(name) in _MAPS
        whole: dict[str, str] = {}
        for part in parts:
            own: dict[str, str] = {}
            for element in part:
                key, equals, _value = element.partition("=")
                if text_map and equals:
                    own.setdefault(key, element)
                elif not text_map:
                    own[key.rstrip("?")] = element
            # What an earlier line says about a key stays.
            whole = {**own, **whole}
        return tuple(whole[key] for key in sorted(whole))

    def default(self, name: str) -> tuple[str, ...]:
        """Elements that a list has when no line sets it; nothing for other settings."""
        name = self.canonical(name)
        if not self.asked:
            return tuple(_DEFAULTS.get(name, ()))
        return elements(self.settings[name].value) if self.is_list(name) else ()

    def near(self, name: str) -> str:
        """The known name that looks most like it, or nothing."""
        return next(iter(difflib.get_close_matches(name, [*self.settings, *self.aliases], 1)), "")


def elements(value: t.Any) -> tuple[str, ...]:
    """A list or map in JSON as the elements of its text: maps are `key=value`."""
    if not isinstance(value, dict):
        return tuple(str(item) for item in value)
    sources = {key: item.get("source", "") if isinstance(item, dict) else item for key, item in value.items()}
    return tuple(f"{key}={source}" for key, source in sources.items())


def order_of(version: NixVersion) -> str:
    """When a Nix of this version reads includes; used when it cannot be measured."""
    numbers = version.numbers
    if version.variant == "lix":
        return LOST if numbers < (2, 91, 2) else INLINE
    if (2, 16, 0) <= numbers < (2, 20, 0):
        return DEFERRED
    return LOST if (2, 20, 0) <= numbers < (2, 22, 0) else INLINE


def without_nix() -> Table:
    """The little that is certain when there is no Nix to ask."""
    return Table({}, _ALIASES)


def ask(nix: Nix) -> Table:
    """Ask the Mac's Nix, with one process, whatever state its own nix.conf is in. CommandError when it cannot tell."""
    rows, order, not_appendable = nix.constant("table", lambda: _ask(nix))
    return _table(settings_from(rows), str(order), frozenset(not_appendable))


def _ask(nix: Nix) -> tuple[list[list[t.Any]], str, list[str]]:
    """(settings, when includes are read, lists that cannot be appended to)."""
    directory = tempfile.mkdtemp(prefix="nixmac-")
    try:
        os.mkdir(os.path.join(directory, "sub"))
        for name, content in (("nix.conf", _PROBE), ("sub/probe.conf", _PROBED)):
            with open(os.path.join(directory, name), "wb") as stream:
                stream.write(content)
        done = nix.show(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if done.rc != 0:
        # Nix 2.20 and 2.21 may end by a signal on any include: then the version has to tell.
        bare = nix.settings(os.path.join(directory, "none"))
        return as_json(bare), order_of(nix.version()), sorted(_ONCE_APPENDABLE)
    settings = parse_settings(done, nix.path)
    return as_json(settings), _measured(settings), sorted(_not_appendable(settings))


def _measured(settings: t.Mapping[str, Setting]) -> str:
    try:
        seen, winner = settings["bash-prompt-suffix"].value, settings["bash-prompt"].value
    except KeyError as exc:
        raise CommandError("nix: knows no setting bash-prompt; Nix 2.4 or newer is needed. Upgrade Nix first.") from exc
    if seen != "included":
        return LOST
    return INLINE if winner == "included" else DEFERRED


def _not_appendable(settings: t.Mapping[str, Setting]) -> frozenset[str]:
    probe = settings.get("allowed-impure-host-deps")
    return frozenset() if probe is not None and "/nixmac-probe" in elements(probe.value) else _ONCE_APPENDABLE


def _table(settings: t.Mapping[str, Setting], order: str, not_appendable: frozenset[str]) -> Table:
    clean = {name: setting._replace(value=setting.default) if name in _TOUCHED else setting for name, setting in settings.items()}
    aliases = {alias: name for name, setting in settings.items() for alias in setting.aliases}
    return Table(clean, aliases, not_appendable, order)
