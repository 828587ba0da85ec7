# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a user asks of nix.conf, in Nix' own terms: settings by their own names, values as tokens."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import tokens_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import Table

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_OWNER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_KEYWORDS = frozenset({"include"})
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


class Request(t.NamedTuple):
    """settings: exact values; append, remove: elements of lists; absent: settings to drop. All by canonical name."""

    settings: t.Mapping[str, tuple[str, ...]]
    append: t.Mapping[str, tuple[str, ...]]
    absent: frozenset[str]
    remove: t.Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> list[str]:
        """Every setting that is asked for, in order."""
        return list(dict.fromkeys([*self.settings, *self.append, *sorted(self.absent), *self.remove]))


def parse_request(
    settings: t.Mapping[str, t.Any] | None,
    append: t.Mapping[str, t.Any] | None,
    absent: t.Any,
    table: Table,
    allow_unknown: bool = False,
) -> Request:
    """Check and translate the options of nix_conf. ConfigError names the setting and what is wrong with it."""
    exact = {_name(name, table, allow_unknown, "settings"): value_tokens(name, value) for name, value in (settings or {}).items()}
    more = {_list_name(name, table, allow_unknown): _elements(name, value) for name, value in (append or {}).items()}
    gone, fewer = _absent(absent, table)
    for name, values in [*exact.items(), *more.items()]:
        _check_map(name, values, table)
    _no_contradiction(exact, more, gone, fewer)
    return Request(exact, {name: values for name, values in more.items() if values}, gone, fewer)


def _name(name: t.Any, table: Table, allow_unknown: bool, option: str) -> str:
    if not isinstance(name, str) or not _NAME.match(name) or name in _KEYWORDS:
        raise ConfigError(f"{option}: {name!r} cannot be the name of a setting (letters, digits, dots, dashes).")
    if not allow_unknown and not table.known(name):
        raise ConfigError(f"{option}: {_unknown(name, table)}", setting=name)
    own, adds = table.read(name)
    if adds:
        advice = f"Name {own} itself" if option == "absent" else f"Write `append: {{{own}: [...]}}`"
        raise ConfigError(f"{option}: {name} is the form that adds to {own}. {advice} instead.", setting=name)
    return own


def _unknown(name: str, table: Table) -> str:
    base = name[6:] if name.startswith("extra-") else ""
    if base and table.known(base):
        advice = (
            f"Write `append: {{{base}: [...]}}`" if table.appendable(base) else f"{base} takes no `extra-`; set {base} itself"
        )
        return f"{name} is no setting of its own. {advice}."
    near = table.near(name)
    hint = f" Did you mean {near}?" if near else ""
    return f"the Nix on this host knows no setting {name}.{hint} Set `allow_unknown: true` to write it anyway."


def _list_name(name: t.Any, table: Table, allow_unknown: bool) -> str:
    own = _name(name, table, allow_unknown, "append")
    if table.is_list(own):
        return own
    if allow_unknown and own not in table.settings:
        return f"extra-{own}"  # all that is known of it: the line that will be read one day
    raise ConfigError(f"append: {name} is no list. Use `settings` to give it a value.", setting=name)


def _check_map(name: str, values: t.Iterable[str], table: Table) -> None:
    if table.is_map(name) and name != "sandbox-paths" and not all("=" in value for value in values):
        raise ConfigError(f"{name}: each element must be `key=value`; Nix drops others without a word.", setting=name)


def value_tokens(name: str, value: t.Any) -> tuple[str, ...]:
    """A value from YAML as Nix' tokens: booleans as true/false, lists as elements, maps as key=value."""
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, (int, str)):
        return tokens_of(_writable(name, str(value)))
    if isinstance(value, (list, tuple)):
        return _elements(name, value)
    if isinstance(value, t.Mapping):
        return _elements(name, [f"{key}={item}" for key, item in value.items()])
    raise ConfigError(f"{name}: a value must be a text, number, boolean, list or map. To remove the setting, use `absent`.")


def _elements(name: str, value: t.Any) -> tuple[str, ...]:
    if isinstance(value, t.Mapping):
        value = [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, str):
        value = tokens_of(value)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name}: a list of elements is needed.", setting=name)
    result = []
    for item in value:
        text = _writable(name, str(item)) if isinstance(item, (str, int, float)) and not isinstance(item, bool) else ""
        if tokens_of(text) != (text,):
            raise ConfigError(f"{name}: each element must be a text without blanks, and not be empty.", setting=name)
        result.append(text)
    return tuple(dict.fromkeys(result))


def _writable(name: str, text: str) -> str:
    """The text, if a line of nix.conf can hold it. The text itself may be a secret and is not quoted."""
    signs = {"#": "a `#`", "\n": "a line break", "\0": "a NUL"}
    wrong = next((label for sign, label in signs.items() if sign in text.strip(" \t\r\n")), None)
    if wrong is not None:
        raise ConfigError(f"{name}: the value has {wrong}, which nix.conf cannot hold (no quoting exists there).", setting=name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ConfigError(f"{name}: the value is no UTF-8, which Nix cannot print.", setting=name) from exc
    return text


def _absent(absent: t.Any, table: Table) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """Names, or a map from names to elements; an unknown name is no error, there is just nothing to remove."""
    gone: set[str] = set()
    fewer: dict[str, tuple[str, ...]] = {}
    if not absent:
        return frozenset(), fewer
    pairs: t.Iterable[tuple[t.Any, t.Any]] = absent.items() if isinstance(absent, t.Mapping) else _pairs(absent)
    for name, items in pairs:
        own = _name(name, table, True, "absent")
        known = own in table.settings or (not table.asked and table.is_list(own))
        if items is None or items == []:
            gone.update({own} if known else {own, f"extra-{own}"})
        else:
            fewer[own if table.is_list(own) or known else f"extra-{own}"] = _elements(name, items)
    return frozenset(gone), fewer


def _pairs(absent: t.Any) -> t.Iterator[tuple[t.Any, t.Any]]:
    if isinstance(absent, str):
        absent = [absent]
    if not isinstance(absent, (list, tuple)):
        raise ConfigError("absent: a list of names, or a map from names to elements, is needed.")
    for item in absent:
        if isinstance(item, t.Mapping):
            yield from item.items()
        else:
            yield item, None


def _no_contradiction(
    exact: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any], gone: t.Collection[str], fewer: t.Mapping[str, t.Any]
) -> None:
    for name in exact:
        if name in more or name in gone or name in fewer:
            raise ConfigError(f"{name}: is in `settings` and also in `append` or `absent`. Keep one of them.", setting=name)
    for name in more:
        both = set(more[name]) & set(fewer.get(name, ()))
        if name in gone or both:
            raise ConfigError(f"{name}: the same is asked for in `append` and in `absent`. Keep one of them.", setting=name)


def same_value(table: Table, name: str, one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> bool:
    """Whether two values mean the same to Nix; `yes` and `1` are `true` for a boolean setting."""
    if one is None or other is None:
        return one == other
    if table.is_map(name):
        one, other = table.combined(name, [one]), table.combined(name, [other])
    if one == other:
        return True
    setting = table.settings.get(table.canonical(name))
    if setting is not None and isinstance(setting.value, bool):
        return any(set(one) <= words and set(other) <= words for words in (_TRUE, _FALSE)) and len(one) == len(other) == 1
    return False


def check_owner(owner: str) -> str:
    """The name of a block's owner, if it can stand in a marker line."""
    if not _OWNER.match(owner):
        raise ConfigError(f"owner: {owner!r} must be letters, digits, dots and dashes.")
    return owner
