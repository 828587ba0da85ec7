# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet report: what becomes a row, what stays out, how reports are merged, what page and table show."""

from __future__ import annotations

import copy
import html.parser
import json
import re

import pytest

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _report, _report_page, _report_table

NOW = 1795427400
STORE = "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-linux-builder"
REVISION = "bd495b825e5c4365131f9b744cce923d42c06158"
HEALTHY = {
    "changed": False,
    "info": {
        "macos": {"version": "15.6.1", "build": "24G90"},
        "architecture": "arm64",
        "nix": {"version": "2.26.3", "variant": "upstream", "managed_by": "none", "path": "/x/nix", "error": ""},
        "builder": {
            "label": "org.nixmac.linux-builder",
            "loaded": True,
            "state": "running",
            "pid": 812,
            "restarts": 2,
            "last_exit_code": 0,
            "generation": 4,
            "store_path": STORE,
            "pin": f"github:NixOS/nixpkgs/{REVISION}#darwin.linux-builder",
            "verified": {"time": "2026-11-23T07:50:00Z", "seconds": {"aarch64-linux": 3.14}, "store_path": STORE},
            "guest": {
                "disk_total_mib": 20480,
                "disk_free_mib": 10240,
                "memory_total_mib": 3072,
                "memory_available_mib": 1536,
                "uptime_seconds": 93784.5,
                "clock_skew_seconds": 0.25,
                "error": None,
            },
        },
        "other_builders": [],
    },
    "drift": [{"area": "builder", "changed": False, "changes": [], "error": None}],
    "problems": [],
}


def answer(**changes):
    """HEALTHY with the values at dotted places changed; `builder__guest` is info.builder.guest."""
    found = copy.deepcopy(HEALTHY)
    for name, value in changes.items():
        place = found if name in ("drift", "problems", "broken", "links") else found["info"]
        *path, last = name.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    return found


def row(**changes):
    return _report.row("mac-1", answer(**changes), NOW)


def whole(*rows):
    return _report.report(rows or [row()], NOW, "Linux builders")


# --- rows --------------------------------------------------------------------------------------------------------


def test_a_healthy_mac_needs_no_look():
    mac = row()
    assert mac["state"] == "ready"
    assert mac["attention"] == []
    assert mac["seen"] == "2026-11-23T09:50:00Z"
    assert mac["image"] == {
        "generation": 4,
        "pin": f"github:NixOS/nixpkgs/{REVISION}#darwin.linux-builder",
        "revision": REVISION,
        "store_path": STORE,
    }
    assert mac["verified"] == {
        "time": "2026-11-23T07:50:00Z",
        "seconds": 3.14,
        "systems": {"aarch64-linux": 3.14},
        "current": True,
    }
    assert mac["job"] == {"label": "org.nixmac.linux-builder", "state": "running", "restarts": 2, "last_exit_code": 0}


@pytest.mark.parametrize(
    ("changes", "state", "attention"),
    [
        ({"builder__guest": None}, "running", []),
        ({"builder__guest": {"error": "Connection refused"}}, "silent", ["down"]),
        ({"builder__guest": None, "builder__pid": None}, "stopped", ["down"]),
        ({"builder__guest": None, "builder__pid": None, "builder__loaded": False}, "stopped", ["down"]),
        (
            {"builder": {"loaded": False, "store_path": None}, "other_builders": [{"owner": "nix-darwin", "loaded": True}]},
            "other",
            [],
        ),
        ({"builder": {"loaded": False, "store_path": None}, "adoptable": [{"owner": "by hand"}]}, "other", []),
        ({"builder": {"loaded": False, "store_path": None}}, "absent", ["down"]),
        ({"builder__verified": None}, "ready", ["unverified"]),
        ({"builder__verified__store_path": "/nix/store/other"}, "ready", ["unverified"]),
        # A builder that was set up by hand has no profile, so nothing of ours has to be verified.
        ({"builder__verified": None, "builder__store_path": None}, "ready", []),
        ({"builder__verified__store_path": None}, "ready", []),
        ({"drift": [{"area": "builder", "changed": True}]}, "ready", ["drift"]),
        ({"drift": [{"area": "builder", "changed": None, "error": "no Nix"}]}, "ready", ["drift"]),
        ({"drift": None}, "ready", []),
        ({"problems": [{"code": "port_taken", "message": "Port 31022 is taken."}]}, "ready", ["problem"]),
        ({"nix__error": "nix.conf:3: illegal line"}, "ready", ["problem"]),
        ({"builder__guest__clock_skew_seconds": -31.0}, "ready", ["skew"]),
        ({"builder__guest__disk_free_mib": 1023}, "ready", ["disk"]),
        ({"broken": "ssh", "links": [{"name": "ssh", "state": "broken", "says": "No ssh."}]}, "ready", ["broken"]),
        ({"broken": None, "links": [{"name": "disk", "state": "weak", "says": "Little space."}]}, "ready", ["problem"]),
    ],
)
def test_states_and_reasons(changes, state, attention):
    mac = row(**changes)
    assert (mac["state"], mac["attention"]) == (state, attention)


def test_the_first_broken_link_is_told_with_its_fix():
    ssh = {"name": "ssh", "state": "broken", "says": "No ssh.", "evidence": "refused", "fix": "start it", "seconds": 0.1}
    disk = {"name": "disk", "state": "weak", "says": "Little space.", "fix": "Free some."}
    mac = row(broken="ssh", links=[{"name": "macos", "state": "good"}, ssh, {**ssh, "name": "trust"}, disk])
    assert mac["broken"] == {"link": "ssh", "says": "No ssh.", "evidence": "refused", "fix": "start it"}
    assert mac["problems"] == [{"code": "disk", "message": "Little space. Free some."}]
    assert row(broken=None, links=[])["broken"] is None
    assert row(broken="ssh")["broken"] == {"link": "ssh", "says": None, "evidence": None, "fix": None}


def test_macs_without_an_answer_are_rows():
    lost = _report.row("a", {"unreachable": True, "msg": "Failed to connect: timed out"}, NOW)
    assert (lost["state"], lost["reachable"], lost["attention"]) == ("unreachable", False, ["unreachable"])
    assert lost["message"] == "Failed to connect: timed out"
    failed = _report.row("b", {"failed": True, "msg": "MODULE FAILURE", "module_stderr": "one\nno python3\n"}, NOW)
    assert (failed["state"], failed["reachable"], failed["message"]) == ("failed", True, "MODULE FAILURE no python3")
    for nothing in (None, {}, [], "text", {"info": 3}):
        assert _report.row("c", nothing, NOW)["message"] == "The Mac was not asked: the play ended before."


def test_values_of_a_wrong_type_are_left_out():
    mac = row(
        builder__generation="4; rm",
        builder__restarts=True,
        builder__guest__disk_free_mib="lots",
        builder__guest__uptime_seconds=float("nan"),
        builder__verified__seconds={"aarch64-linux": "fast", "x86_64-linux": 2},
        macos={"version": ["15"], "build": 7},
        architecture={"a": 1},
        problems="none",
        drift={"area": "builder"},
    )
    assert mac["image"]["generation"] is None
    assert mac["job"]["restarts"] is None
    assert mac["guest"]["disk_free_mib"] is None
    assert mac["guest"]["uptime_seconds"] is None
    assert mac["verified"]["systems"] == {"x86_64-linux": 2.0}
    assert mac["macos"] == {"version": None, "build": None}
    assert mac["architecture"] is None
    assert mac["problems"] == []
    json.dumps(mac, allow_nan=False)


# --- secrets -----------------------------------------------------------------------------------------------------

SECRET = "hunter2hunter2"
PLACES = [
    f"cannot fetch https://bob:{SECRET}@cache.example.com/nix-cache-info",
    f"cannot fetch git+https://{SECRET}@github.com/acme/private",
    f"http://cache.example.com/?access_token={SECRET}&x=1 answered 403",
    f"access-tokens = github.com={SECRET}",
    f"password: {SECRET}",
    f"ANSIBLE_BECOME_PASSWORD={SECRET}",
    f"-----BEGIN OPENSSH PRIVATE KEY----- {SECRET} -----END OPENSSH PRIVATE KEY-----",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
    f"ghp_{SECRET}",
    "x" * 380 + f" https://bob:{SECRET}@cache.example.com/",
]


@pytest.mark.parametrize("words", PLACES)
def test_secrets_in_texts_are_masked(words):
    macs = [
        row(
            nix__error=words,
            builder__pin=words,
            builder__guest={"error": words},
            problems=[{"code": words, "message": words}],
            drift=[{"area": "delegation", "changed": True, "changes": [words], "error": words}],
            broken=words,
            links=[{"name": words, "state": "broken", "says": words, "evidence": words, "fix": words}],
        ),
        _report.row("lost", {"unreachable": True, "msg": words}, NOW),
        _report.row("odd", {"failed": True, "msg": words, "module_stderr": words, "invocation": {"module_args": words}}, NOW),
    ]
    report = _report.report(macs, NOW, words)
    for shown in (json.dumps(report), _report_page.page(report), _report_table.table(report, 1000)):
        assert SECRET not in shown
        assert SECRET[:8] not in shown


def test_fields_that_nobody_asked_for_stay_out():
    found = answer(builder__private_key=SECRET, nix__settings={"access-tokens": SECRET})
    found["exposed_keys"] = [{"path": SECRET}]
    found["info"]["environment"] = {"TOKEN": SECRET}
    found["problems"] = [{"code": "a", "message": "b", "secret": SECRET}]
    found["info"]["builder"]["guest"]["boot_log"] = SECRET
    found["drift"] = [SECRET, [SECRET], {"area": SECRET.encode()}]
    assert SECRET not in json.dumps(_report.row("mac-1", found, NOW))


def test_a_store_uri_is_no_secret():
    assert (
        _report.text("ssh-ng://builder@linux-builder: Connection refused") == "ssh-ng://builder@linux-builder: Connection refused"
    )


# --- the fleet ---------------------------------------------------------------------------------------------------


def test_summary_counts():
    macs = [
        row(),
        _report.row("b", {"unreachable": True, "msg": "x"}, NOW),
        row(builder__verified__seconds={"x86_64-linux": 9.0}),
    ]
    found = _report.summary(macs)
    assert (found["macs"], found["well"], found["reachable"], found["verified"]) == (3, 2, 2, 2)
    assert found["states"]["ready"] == 2
    assert found["attention"]["unreachable"] == 1
    assert found["build_seconds"] == {"count": 2, "minimum": 3.14, "median": 3.14, "p95": 9.0, "maximum": 9.0}
    assert _report.summary([])["build_seconds"]["median"] is None


def test_names_sort_as_people_count():
    names = ["mac-10", "mac-2", "Mac-1", "rack2-mac1", "rack10-mac1", "7"]
    found = _report.report([_report.row(name, None, NOW) for name in names], NOW, "")
    assert [mac["name"] for mac in found["macs"]] == ["7", "Mac-1", "mac-2", "mac-10", "rack2-mac1", "rack10-mac1"]
    assert found["title"] == "Linux builders"


def test_merging_keeps_what_was_seen_last():
    old = _report.rows_of(_report.report([_report.row(name, HEALTHY, NOW - 100) for name in ("a", "b")], NOW - 100, "x"), "old")
    young = _report.rows_of(_report.report([_report.row("c", HEALTHY, NOW + 50)], NOW, "x"), "young")
    mine = [_report.row("b", {"unreachable": True, "msg": "x"}, NOW), _report.row("c", None, NOW)]
    found = {mac["name"]: (mac["seen"], mac["state"]) for mac in _report.merge(old, young, mine)}
    assert found == {
        "a": ("2026-11-23T09:48:20Z", "ready"),
        "b": ("2026-11-23T09:50:00Z", "unreachable"),
        "c": ("2026-11-23T09:50:50Z", "ready"),
    }


def test_a_merged_report_is_the_same_again():
    report = whole(row(), _report.row("b", {"unreachable": True, "msg": "x"}, NOW))
    again = _report.report(_report.rows_of(json.loads(json.dumps(report)), "it"), NOW, "Linux builders")
    assert again == report


@pytest.mark.parametrize(
    "data", [None, [], {}, {"format": 2, "macs": []}, {"format": 1, "macs": {}}, {"format": 1, "macs": [{"state": "ready"}]}]
)
def test_what_is_no_report_is_refused(data):
    with pytest.raises(_report.ReportError, match="other.json: is no fleet report of format 1"):
        _report.rows_of(data, "other.json")


def test_a_merged_row_is_not_believed():
    forged = {"name": "a", "state": "owned", "seen": "yesterday", "secret": SECRET, "attention": ["everything"], "job": 3}
    (mac,) = _report.rows_of({"format": 1, "macs": [forged]}, "it")
    assert mac["state"] == "failed"
    assert mac["seen"] == "1970-01-01T00:00:00Z"
    assert mac["attention"] == ["failed"]
    assert SECRET not in json.dumps(mac)


def test_failing():
    macs = [row(), _report.row("b", {"unreachable": True, "msg": "x"}, NOW)]
    assert _report.failing(macs, ["unreachable", "drift"]) == {"b": ["unreachable"]}
    assert _report.failing(macs, ["drift"]) == {}


# --- the page ----------------------------------------------------------------------------------------------------


class Reader(html.parser.HTMLParser):
    """Elements, their attributes, and the texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.texts = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


ATTACKS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "<!-- <script>",
    "{{script}}",
    "'><svg/onload=alert(1)>",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("words", ATTACKS)
def test_what_a_mac_says_stays_text(words):
    def page_of(text):
        mac = _report.row(
            text,
            answer(
                nix__variant=text,
                macos__version=text,
                builder__label=text,
                builder__pin=text,
                problems=[{"code": text, "message": text}],
                drift=[{"area": text, "changed": True, "changes": [text]}],
                broken=text,
                links=[{"name": text, "state": "broken", "says": text, "evidence": text, "fix": text}],
            ),
            NOW,
        )
        return _report_page.page(_report.report([mac], NOW, text))

    plain, attacked = Reader(page_of("x")), Reader(page_of(words))
    shape = [(tag, sorted(attributes)) for tag, attributes in plain.elements]
    assert [(tag, sorted(attributes)) for tag, attributes in attacked.elements] == shape
    assert words in attacked.texts
    data = attacked.texts[next(i for i, text in enumerate(attacked.texts) if text.startswith('{"format"'))]
    assert json.loads(data)["macs"][0]["name"] == words


def test_embedded_data_has_nothing_that_a_parser_of_html_looks_for():
    data = {"a": "</script><!--<script x>&amp;\u2028"}
    assert not set("<>&\u2028") & set(_report_page.embedded(data))
    assert json.loads(_report_page.embedded(data)) == data


def test_the_page_asks_nobody():
    page = _report_page.page(whole())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not [
        value for _tag, attributes in Reader(page).elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://(?!www\.gnu\.org)", page)


def test_every_column_can_be_sorted_and_has_its_label():
    reader = Reader(_report_page.page(whole()))
    heads = [attributes for tag, attributes in reader.elements if attributes.get("role") == "columnheader"]
    assert [head["aria-sort"] for head in heads] == ["ascending"] + ["none"] * (len(heads) - 1)
    assert len(heads) == len([1 for tag, attributes in reader.elements if tag == "button" and "data-column" in attributes])
    assert len(heads) == len([1 for _tag, attributes in reader.elements if "data-label" in attributes])


def test_the_chart_has_a_bar_for_each_build():
    macs = [row(builder__verified__seconds={"x": seconds}) for seconds in (4.0, 1.0, 2.0)] + [row(builder__verified=None)]
    drawn = _report_page.chart(macs, _report.summary(macs)["build_seconds"])
    bars = re.findall(r'<rect data-mac="(\d)" x="([\d.]+)" y="[\d.]+" width="0.84" height="([\d.]+)"', drawn)
    assert bars == [("1", "0.08", "25.00"), ("2", "1.08", "50.00"), ("0", "2.08", "100.00")]
    assert "3 Macs: fastest 1.0 s, median 2.0 s, 95 % within 4.0 s, slowest 4.0 s" in drawn
    assert _report_page.chart([], _report.summary([])["build_seconds"]) == "<p>No verified build is on record.</p>"
    instant = [row(builder__verified__seconds={"x": 0})]
    assert "<rect" in _report_page.chart(instant, _report.summary(instant)["build_seconds"])


# --- the table ---------------------------------------------------------------------------------------------------


def test_the_table():
    lost = _report.row("mac-10", {"unreachable": True, "msg": "Connection timed out"}, NOW)
    lines = _report_table.table(whole(row(), lost), 160).splitlines()
    assert lines[0].split() == "MAC STATE DRIFT VERIFIED BUILD DISK SKEW UP RST MACOS NIX IMAGE".split()
    cells = "mac-1|ready|none|2 h ago|3.1|10.0 G|+0.2 s|1 d|2|15.6.1 arm64|2.26.3 upstream|#4 bd495b8"
    assert re.split(r"  +", lines[1]) == cells.split("|")
    assert lines[2].split()[:2] == ["mac-10", "unreachable"]
    assert "mac-10: unreachable: Connection timed out" in lines
    assert lines[-2] == "2 Macs: 1 well, 1 reachable, 1 verified; build 3.1 to 3.1 s, median 3.1 s"
    assert lines[-1] == "Look at: 1 unreachable"


def test_no_line_is_wider_than_the_terminal():
    wide = _report.row("Rechner-" + "漢字" * 40, {"unreachable": True, "msg": "x" * 300}, NOW)
    lines = _report_table.table(whole(row(), wide), 80).splitlines()
    assert max(map(_report_table._width, lines)) <= 80
    assert any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min"),
        (3599, "59 min"),
        (3660, "1 h 1 min"),
        (93784, "1 d 2 h"),
        (86400, "1 d"),
    ],
)
def test_durations(seconds, words):
    assert _report_table.duration(seconds) == words
