# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}();=]|-?[0-9.]+(?:e[-+]?[0-9]+)?|true|false|null')
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def unquote(token: str) -> str:
    """What Nix makes of a string literal; an interpolation in it is an error here."""
    assert not re.search(r"(?<!\\)(?:\\\\)*\$\{", token[1:-1].replace("\\$", ""))
    return re.sub(r"\\(.)", lambda match: _UNESCAPED.get(match.group(1), match.group(1)), token[1:-1])


class Reader:
    """Reads the part of the Nix language that `value` writes, by Nix' rules and not by `value`'s."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        assert "".join(self.tokens) == re.sub(r"\s", "", "".join(_outside(text)))

    def read(self) -> t.Any:
        token = self.tokens.pop(0)
        if token == "(":
            inner = self.read()
            assert self.tokens.pop(0) == ")"
            return inner
        if token == "[":
            return self._until("]", self.read)
        if token == "{":
            return dict(self._until("}", self._attribute))
        return unquote(token) if token.startswith('"') else json.loads(token)

    def _until(self, end: str, one: t.Callable[[], t.Any]) -> list[t.Any]:
        found = []
        while self.tokens[0] != end:
            found.append(one())
        self.tokens.pop(0)
        return found

    def _attribute(self) -> tuple[str, t.Any]:
        name = unquote(self.tokens.pop(0))
        assert self.tokens.pop(0) == "="
        value = self.read()
        assert self.tokens.pop(0) == ";"
        return name, value


def _outside(text: str) -> t.Iterator[str]:
    """The text without the blanks between tokens: string literals whole."""
    position = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"', text):
        yield re.sub(r"\s", "", text[position : match.start()])
        yield re.sub(r"\s", "", match.group())
        position = match.end()
    yield text[position:]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(TEXT)
def test_a_string_says_what_it_was_and_never_evaluates_anything(text: str) -> None:
    literal = _nix_expression.string(text)
    assert "\n" not in literal
    assert unquote(literal) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-999, 999), lambda x: st.lists(x) | st.dictionaries(st.text("ab.", max_size=3), x)
    )
)
def test_values_are_written_so_that_they_read_the_same(data: t.Any) -> None:
    assert Reader(_nix_expression.value(data)).read() == data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-3, "-3"),
        ([-1, "a b"], '[ (-1) ("a b") ]'),
        ([], "[ ]"),
        ({}, "{ }"),
        ({"a.b": {"c": 1}}, '{ "a.b" = { "c" = 1; }; }'),
        (1.5, "1.5"),
        (1e30, "1.0e+30"),
        ("${a} $${b} \\ \" '' \t", '"\\${a} $\\${b} \\\\ \\" \'\' \\t"'),
        ("#", '"#"'),
    ],
)
def test_how_values_are_written(data: t.Any, text: str) -> None:
    assert _nix_expression.value(data) == text


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"a": [1, float("nan")]}, "config.a[1]"),
        (float("inf"), "config"),
        (2**63, "config"),
        (-(2**63), "config"),
        ({1: 2}, "config"),
        ({"a": {"b": b"x"}}, "config.a.b"),
        ({"a": {1, 2}}, "config.a"),
    ],
)
def test_what_nix_cannot_say_is_refused_and_named(data: t.Any, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _nix_expression.value(data)
    assert caught.value.message.startswith(where + ":")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        _nix_expression.value(["a\0b"])
