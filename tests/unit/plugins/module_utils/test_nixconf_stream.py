# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's own reading of nix.conf against the records of real Nix, and edits of single lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as tables
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_check import disagreements
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_edit import plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document, Line
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_request import Request
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import Stream, read_stream
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support

GOLDEN = support.load("golden.json")
# What of a file makes every command fail; all other errors are about values, which are Nix' own to judge.
FORM = ("syntax error", "illegal configuration line", "not found", "could not find", "does not exist", "bad_format_string")


def stream_of(files: dict[str, bytes], version: str = "2.26.3", order: str = tables.INLINE) -> Stream:
    site = support.site(files, version=version, order=order)
    return read_stream(site.root, site.files, site.table)


@pytest.mark.parametrize("version", support.VERSIONS)
@pytest.mark.parametrize("label", sorted(GOLDEN))
def test_reading_is_that_of_real_nix(label: str, version: str) -> None:
    files = {name: text.encode("latin-1") for name, text in GOLDEN[label]["files"].items()}
    result = GOLDEN[label]["results"][version]
    if any(words in line for words in FORM for line in result["stderr"]) and result["rc"] != 0:
        with pytest.raises(ConfigError):
            stream_of(files, version)
        return
    stream = stream_of(files, version)
    ignored = any("Ignoring setting" in line for line in result["stderr"])  # a feature is off; the module refuses that later
    if result["rc"] == 0 and not ignored:
        defaults = {name: setting.value for name, setting in stream.table.settings.items()}
        assert disagreements({**defaults, **result["changed"]}, stream, stream.table.settings) == []


@pytest.mark.parametrize(("order", "value"), [(tables.INLINE, ("4",)), (tables.DEFERRED, ("4",)), (tables.LOST, ("4",))])
def test_line_behind_the_include_wins_in_every_order(order: str, value: tuple[str, ...]) -> None:
    files = {"nix.conf": b"cores = 3\n!include a.conf\ncores = 4\n", "a.conf": b"cores = 5\n"}
    assert stream_of(files, order=order).value("cores") == value


@pytest.mark.parametrize(("order", "value"), [(tables.INLINE, "5"), (tables.DEFERRED, "3"), (tables.LOST, "3")])
def test_line_before_the_include_wins_where_includes_come_first_or_never(order: str, value: str) -> None:
    files = {"nix.conf": b"cores = 3\n!include a.conf\n", "a.conf": b"cores = 5\n"}
    assert stream_of(files, order=order).value("cores") == (value,)


def test_deferred_order_holds_on_each_level() -> None:
    files = {"nix.conf": b"!include a.conf\n", "a.conf": b"cores = 5\n!include b.conf\n", "b.conf": b"cores = 6\n"}
    assert stream_of(files, order=tables.DEFERRED).value("cores") == ("5",)
    assert stream_of(files).value("cores") == ("6",)


def test_nesting_without_end_is_refused_with_file_and_line() -> None:
    files = {f"{number}.conf": f"include {number + 1}.conf\n".encode() for number in range(40)}
    with pytest.raises(ConfigError, match=r"conf:1: includes .* without end"):
        stream_of({"nix.conf": b"include 0.conf\n", **files})


def test_circle_through_other_spellings_is_found() -> None:
    with pytest.raises(ConfigError, match="without end"):
        stream_of({"nix.conf": b"# c\ninclude d/../nix.conf\n", "d/x": b""})


def test_first_value_for_a_key_stays_in_a_map() -> None:
    stream = stream_of({"nix.conf": b"access-tokens = a=1 a=2 b\nextra-access-tokens = a=3 c=4\n"})
    assert stream.value("access-tokens") == ("a=1", "c=4")


def test_place_of_a_line_is_its_number() -> None:
    stream = stream_of({"nix.conf": b"# c\n\ncores = 3\n"})
    assert [line.where for line in stream.live("cores")] == ["/etc/nix/nix.conf:3"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a = 1", b"a = 1\r\nb = 2", b"a = 1\r", b"\r", b"x\r\n\r", b"a = 1\n\n\n", b"# \xff\nb", b"a\r\nb\r\nc"],
)
def test_line_that_is_added_and_removed_leaves_no_trace(content: bytes) -> None:
    document = Document.of(content)
    added = document.added("cores = 3")
    (index,) = [index for index, line in enumerate(added.lines) if line.words[:1] == ("cores",)]
    assert added.removed([index]).content == content


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_come_back_and_take_a_line(content: bytes) -> None:
    document = Document.of(content)
    assert document.content == content
    added = document.added("nixmac-x = 3")
    indices = [index for index, line in enumerate(added.lines) if line.words[:1] == ("nixmac-x",)]
    assert len(indices) == 1
    assert added.removed(indices).content == content


@pytest.mark.parametrize(
    ("line", "values", "result"),
    [
        (b"cores = 3 # c\r\n", ["4"], b"cores = 4 # c\r\n"),
        (b"\tcores\t=\t\t3\n", ["4"], b"\tcores\t=\t\t4\n"),
        (b"cores = 3# c", ["4"], b"cores = 4# c"),
        (b"x =\n", ["4"], b"x = 4\n"),
        (b"x = # c\n", ["4", "5"], b"x = 4 5 # c\n"),
        (b"x = a  b\n", [], b"x =\n"),
        (b"x = = a\n", ["b"], b"x = b\n"),
    ],
)
def test_value_is_exchanged_and_the_rest_of_the_line_stays(line: bytes, values: list[str], result: bytes) -> None:
    assert Line.of(line).with_values(values).raw == result


@pytest.mark.parametrize("line", [b"x = a  b # c\n", b"x =\n", b"x = \t\n", b"x = # c", b"\tx  =\ta\r\n", b"x =#\n"])
def test_elements_that_are_added_and_removed_leave_no_trace(line: bytes) -> None:
    longer = Line.of(line).with_more(["p", "q"])
    assert longer.values[-2:] == ("p", "q")
    assert longer.without({"p", "q"}).raw == line


@pytest.mark.parametrize(
    "content", [b"extra-trusted-users =\n", b"trusted-users =\n", b"trusted-users = ann # c", b"extra-trusted-users = ann\n"]
)
def test_appended_element_leaves_no_trace_in_a_line_that_was_there(content: bytes) -> None:
    site = support.site({"nix.conf": content})
    after = plan(site, Request({}, {"trusted-users": ("bob",)}, frozenset(), {}), None).after
    assert after is not None
    assert b"bob" in after
    back = plan(support.site({"nix.conf": after}), Request({}, {}, frozenset(), {"trusted-users": ("bob",)}), None)
    assert back.after == content
