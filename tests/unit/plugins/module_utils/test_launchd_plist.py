# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Property lists: what is refused, what passes with a warning, how two are compared and shown."""

from __future__ import annotations

import datetime
import pathlib
import plistlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_check import check_definition
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import decode, encode, readable, same

BASE: dict[str, t.Any] = {"ProgramArguments": ["/bin/true"]}


def problems(definition: dict[str, t.Any], domain: str = "system") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_definition(definition, "org.example.x", domain)
    found = caught.value.details["problems"]
    assert all(problem in caught.value.message for problem in found)
    return t.cast(list[str], found)


GOOD: list[dict[str, t.Any]] = [
    {},
    {"Label": "org.example.x"},
    {"KeepAlive": True, "RunAtLoad": False, "Disabled": False},
    {"KeepAlive": {"SuccessfulExit": False, "Crashed": True, "PathState": {"/x": True}}},
    {"StartCalendarInterval": {"Minute": 0, "Weekday": 7}},
    {"StartCalendarInterval": [{"Hour": 23}, {"Day": 31, "Month": 12}, {}]},
    {"StartInterval": 1, "ThrottleInterval": 1, "ExitTimeOut": 0, "Nice": -20},
    {"Umask": 18},
    {"Umask": "022"},
    {"EnvironmentVariables": {"A": "1"}, "WorkingDirectory": "/", "StandardErrorPath": "/var/log/x"},
    {"Sockets": {"Listener": {"SockServiceName": "8080", "SockPathMode": 384}}},
    {"Sockets": {"Listener": [{"SockServiceName": 8080, "Bonjour": ["a"]}, {"SockPathName": "/x", "Bonjour": True}]}},
    {"MachServices": {"org.example.m": True, "org.example.n": {"ResetAtClose": True}}},
    {"LaunchEvents": {"com.apple.fsevents.matching": {"x": {"Path": "/x"}}}},
    {"SoftResourceLimits": {"NumberOfFiles": 10}, "HardResourceLimits": {"NumberOfFiles": 20}},
    {"LimitLoadToSessionType": ["System", "Aqua"], "ProcessType": "Background"},
    {"LimitLoadToSessionType": "System"},
    {"AssociatedBundleIdentifiers": ["org.example.app"]},
    {"inetdCompatibility": {"Wait": True}},
    {"POSIXSpawnType": "Adaptive", "EmbeddedSomething": 1},
    {"Program": "/bin/true", "ProgramArguments": ["true"]},
    {"LimitLoadToHardware": {"machine": ["arm64"]}},
]


@pytest.mark.parametrize("extra", GOOD, ids=str)
def test_legal_definitions_pass_without_a_word(extra: dict[str, t.Any]) -> None:
    assert check_definition(dict(BASE, **extra), "org.example.x", "system") == []


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"Label": "org.example.y"}, "Label is 'org.example.y'"),
    ({"Label": 3}, "Label has to be a string"),
    ({"ProgramArguments": []}, "ProgramArguments is empty"),
    ({"ProgramArguments": "/bin/true"}, "ProgramArguments has to be a list, not a string"),
    ({"ProgramArguments": ["/bin/true", 8080]}, "ProgramArguments[1] has to be a string, not an integer"),
    ({"ProgramArguments": ["true"]}, "ProgramArguments[0] is the relative path 'true'"),
    ({"Program": "~/bin/x"}, "Program is the relative path '~/bin/x'"),
    ({"WorkingDirectory": "var"}, "WorkingDirectory is the relative path"),
    ({"StandardOutPath": "out.log"}, "StandardOutPath is the relative path"),
    ({"WatchPaths": ["x"]}, "WatchPaths[0] is the relative path"),
    ({"KeepAlive": "yes"}, "KeepAlive has to be a boolean or a dictionary, not a string"),
    ({"KeepAlive": 1}, "KeepAlive has to be a boolean or a dictionary, not an integer"),
    ({"KeepAlive": {}}, "KeepAlive is an empty dictionary"),
    ({"KeepAlive": {"SuccesfulExit": True}}, "KeepAlive has no key SuccesfulExit"),
    ({"KeepAlive": {"SuccessfulExit": "no"}}, "KeepAlive.SuccessfulExit has to be a boolean"),
    ({"KeepAlive": {"PathState": ["/x"]}}, "KeepAlive.PathState has to be a dictionary"),
    ({"RunAtLoad": 1}, "RunAtLoad has to be a boolean, not an integer"),
    ({"StartInterval": True}, "StartInterval has to be an integer, not a boolean"),
    ({"StartInterval": 0}, "StartInterval is 0, outside 1 to ..."),
    ({"StartInterval": "60"}, "StartInterval has to be an integer, not a string"),
    ({"StartInterval": 1.5}, "StartInterval has to be an integer, not a real"),
    ({"StartInterval": None}, "StartInterval has to be an integer, not NoneType"),
    ({"StartCalendarInterval": {"Hour": 24}}, "StartCalendarInterval.Hour is 24, outside 0 to 23"),
    ({"StartCalendarInterval": {"Day": 0}}, "StartCalendarInterval.Day is 0, outside 1 to 31"),
    ({"StartCalendarInterval": [{"Minute": 0}, {"Minute": 60}]}, "StartCalendarInterval[1].Minute is 60"),
    ({"StartCalendarInterval": {"Weekday": 8}}, "Weekday is 8, outside 0 to 7"),
    ({"StartCalendarInterval": {"Month": 13}}, "Month is 13, outside 1 to 12"),
    ({"StartCalendarInterval": {"Second": 1}}, "StartCalendarInterval has no key Second"),
    ({"StartCalendarInterval": {"Hour": "3"}}, "Hour has to be an integer, not a string"),
    ({"ExitTimeout": 5}, "ExitTimeout is spelt ExitTimeOut"),
    ({"keepalive": True}, "keepalive is spelt KeepAlive"),
    ({"EnvironmentVariables": {"PORT": 8080}}, "EnvironmentVariables.PORT has to be a string, not an integer"),
    ({"EnvironmentVariables": ["A=1"]}, "EnvironmentVariables has to be a dictionary"),
    ({"Umask": "rwx"}, "Umask is 'rwx'"),
    ({"Umask": True}, "Umask has to be"),
    ({"Nice": 21}, "Nice is 21, outside -20 to 20"),
    ({"ProcessType": "Fast"}, "ProcessType is 'Fast', none of Background"),
    ({"Sockets": {"L": {"SockType": "raw"}}}, "Sockets.L.SockType is 'raw'"),
    ({"Sockets": {"L": {"SockServiceName": 70000}}}, "outside 0 to 65535"),
    ({"Sockets": {"L": "8080"}}, "Sockets.L has to be a list"),
    ({"MachServices": {"m": "yes"}}, "MachServices.m has to be a boolean or a dictionary"),
    ({"KeepAlive": True, "OnDemand": True}, "contradict"),
    ({"SoftResourceLimits": {"Core": 2}, "HardResourceLimits": {"Core": 1}}, "SoftResourceLimits.Core is above"),
    ({"SoftResourceLimits": {"Cores": 2}}, "SoftResourceLimits has no key Cores"),
    ({"LimitLoadToSessionType": "Desktop"}, "LimitLoadToSessionType is 'Desktop'"),
    ({"Disabled": "no"}, "Disabled has to be a boolean"),
]


@pytest.mark.parametrize(("extra", "words"), BAD, ids=lambda value: str(value)[:40])
def test_mistakes_are_refused_in_words(extra: dict[str, t.Any], words: str) -> None:
    assert any(words in problem for problem in problems(dict(BASE, **extra)))


def test_nothing_to_run_is_refused() -> None:
    assert problems({"RunAtLoad": True}) == ["neither Program nor ProgramArguments says what to run"]


def test_all_problems_are_told_at_once() -> None:
    assert len(problems({"Label": "x", "RunAtLoad": 1, "ExitTimeout": 3})) == 4


@pytest.mark.parametrize(
    ("extra", "domain", "words"),
    [
        ({"MyOwnKey": 1}, "system", "knows no key MyOwnKey"),
        ({"OnDemand": False}, "system", "deprecated"),
        ({"TimeOut": 3}, "system", "no longer implemented"),
        ({"ThrottleInterval": 0}, "system", "ThrottleInterval 0"),
        ({"KeepAlive": {"NetworkState": True}}, "system", "NetworkState"),
        ({"UserName": "root"}, "gui/501", "UserName is only honoured"),
        ({"LimitLoadToSessionType": "Aqua"}, "user/501", "Background"),
        ({"LimitLoadToSessionType": "Aqua"}, "system", "134"),
    ],
)
def test_what_launchd_ignores_is_warned_about(extra: dict[str, t.Any], domain: str, words: str) -> None:
    warnings = check_definition(dict(BASE, **extra), "org.example.x", domain)
    assert len(warnings) == 1
    assert words in warnings[0]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["KeepAlive", "Sockets", "StartCalendarInterval", "Umask", "MachServices", "LaunchEvents", "ProgramArguments", "Disabled"]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), ANYTHING, max_size=4))
def test_any_definition_gives_warnings_or_one_error_and_then_is_written_or_refused(definition: dict[str, t.Any]) -> None:
    try:
        check_definition(definition, "org.example.x", "system")
        content = encode(definition)
    except ConfigError:
        return
    assert isinstance(decode("x", content), dict)


def test_same_goes_by_value_and_type() -> None:
    assert same({"a": [1, {"b": True}]}, {"a": [1, {"b": True}]})
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    for left, right in ((True, 1), (1, 1.0), ("1", 1), (b"a", "a"), ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 1}), ([True], [1])):
        assert not same({"x": left}, {"x": right})


def test_a_definition_always_gives_the_same_bytes() -> None:
    assert encode({"b": 1, "a": True}) == encode({"a": True, "b": 1})


@pytest.mark.parametrize(
    "value",
    [None, 2**70, "\x00", "\ud800", {3: 4}, object()],
    ids=["none", "too-large", "nul", "surrogate", "number-key", "object"],
)
def test_what_no_property_list_can_hold_is_refused(value: t.Any) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        encode({"x": value})


def test_both_formats_are_read() -> None:
    value = {"a": True, "b": 1, "c": b"x", "d": datetime.datetime(2026, 1, 2), "e": [1.5]}
    for fmt in (plistlib.FMT_XML, plistlib.FMT_BINARY):
        assert same(decode("x", plistlib.dumps(value, fmt=fmt)), value)


@pytest.mark.parametrize(
    "content", [b"", b"{ a = b; }", b'{"a": 1}', b"<plist><array/></plist>", b"bplist00", b"<plist><dict><key>a"]
)
def test_other_formats_are_refused_by_name_of_the_file(content: bytes) -> None:
    with pytest.raises(FileError, match="/x.plist"):
        decode("/x.plist", content)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.sampled_from([plistlib.FMT_XML, plistlib.FMT_BINARY]))
def test_damaged_property_lists_never_raise_anything_else(noise: bytes, place: int, fmt: plistlib.PlistFormat) -> None:
    content = plistlib.dumps({"Label": "x", "KeepAlive": {"Crashed": True}, "n": [1, 2.5, b"z"]}, fmt=fmt)
    for damaged in (content[:place], content[:place] + noise + content[place + len(noise) :], noise):
        try:
            decode("x", damaged)
        except FileError:
            pass


def test_a_definition_is_shown_with_named_values_hidden() -> None:
    new = {"EnvironmentVariables": {"TOKEN": "n3w", "KEY": "same", "PLAIN": "p"}, "Empty": [], "On": True, "N": {"m": [1]}}
    old = {"EnvironmentVariables": {"TOKEN": "old", "KEY": "same"}}
    text = readable(new, ["TOKEN", "KEY", "OTHER"], old)
    assert "TOKEN: '******** (changed)'\n" in text
    assert "KEY: '********'\n" in text
    assert "PLAIN: 'p'\n" in text
    assert "Empty: []\n" in text
    assert "On: true\n" in text
    assert "n3w" not in text
    assert new["EnvironmentVariables"]["TOKEN"] == "n3w"
    assert readable(None, []) == ""


def test_a_file_that_is_no_plist_does_not_stop_a_definition(tmp_path: pathlib.Path) -> None:
    # The caller replaces it; only reading it as a job's definition fails.
    with pytest.raises(FileError, match="plutil"):
        decode(str(tmp_path), b"nonsense")


def test_an_unknown_encoding_is_no_traceback() -> None:
    with pytest.raises(FileError, match="is not a property list"):
        decode("x", b'<?xml version="1.0" encoding="U-F-8"?><plist version="1.0"><dict/></plist>')
