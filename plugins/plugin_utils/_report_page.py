# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""The fleet report as one HTML page that needs nothing but itself. Pure, but for reading its own template.

Whatever comes from a Mac passes `html.escape` or, as JSON, `embedded`. The page's policy (CSP) allows the one style and
the one script that stand in it, by their digests, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import typing as t
from html import escape

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._report import REASONS, STATES, Row
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._report_table import (
    COLUMNS,
    NOTHING,
    STATE_WORDS,
    Column,
    counted,
    trouble,
)

_BAD = {"unreachable", "failed", "down", "broken"}
_LEAST_BARS = 30  # places in the chart: the bars of a few Macs are not to look like walls
_FIELD = re.compile(r"\{\{([a-z]+)\}\}")

REASON_WORDS = {
    "unreachable": "unreachable",
    "failed": "could not be read",
    "down": "builder is down",
    "broken": "a link is broken",
    "unverified": "no verified build of this image",
    "drift": "differs from the wanted configuration",
    "problem": "a problem is reported",
    "skew": "guest's clock is off",
    "disk": "guest's disk is nearly full",
}


def page(report: t.Mapping[str, t.Any]) -> str:
    """The whole page."""
    style, script = _data("fleet_report.css"), _data("fleet_report.js")
    now = report["generated"] or ""
    parts = {
        "policy": policy(style, script),
        "style": style,
        "script": script,
        "title": escape(report["title"]),
        "generated": escape(now),
        "shown": escape(now.replace("T", " ").replace("Z", " UTC")),
        "tiles": _tiles(report["summary"]),
        "chart": chart(report["macs"], report["summary"]["build_seconds"]),
        "states": _options(("state", state, STATE_WORDS[state]) for state in STATES if report["summary"]["states"][state]),
        "reasons": _options(
            ("reason", reason, REASON_WORDS[reason]) for reason in REASONS if report["summary"]["attention"][reason]
        ),
        "sorts": "".join(f'<option value="{index}">{escape(column.heading)}</option>' for index, column in enumerate(COLUMNS)),
        "heads": "".join(_head(index, column) for index, column in enumerate(COLUMNS)),
        "rows": "\n".join(_row(index, mac, now) for index, mac in enumerate(report["macs"])),
        "count": str(len(report["macs"])),
        "data": embedded(report),
    }
    # In one pass, so that a Mac called {{data}} stays one.
    return _FIELD.sub(lambda match: parts[match[1]], _data("fleet_report.html"))


def _data(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as stream:
        return stream.read()


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is fetched, and only this style and this script apply."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embedded(data: t.Any) -> str:
    """JSON for a script element: no text of it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _tiles(summary: t.Mapping[str, t.Any]) -> str:
    macs = summary["macs"]
    tiles = [
        ("Macs", str(macs), ""),
        ("well", str(summary["well"]), "good" if summary["well"] == macs else "warn"),
        ("reachable", str(summary["reachable"]), "good" if summary["reachable"] == macs else "bad"),
        ("verified", str(summary["verified"]), "good" if summary["verified"] == macs else "warn"),
        ("drifted", str(summary["attention"]["drift"]), "warn" if summary["attention"]["drift"] else "good"),
        ("median build", _seconds(summary["build_seconds"]["median"]), ""),
    ]
    return "".join(f'<div class="tile {kind}"><dt>{label}</dt><dd>{value}</dd></div>' for label, value, kind in tiles)


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} s"


def _options(triples: t.Iterable[tuple[str, str, str]]) -> str:
    return "".join(f'<option value="{kind}:{value}">{escape(words)}</option>' for kind, value, words in triples)


# --- the chart ---------------------------------------------------------------------------------------------------


def chart(macs: t.Sequence[Row], found: t.Mapping[str, t.Any]) -> str:
    """Seconds of each Mac's last verified build, one bar a Mac, fastest first; words where there is none."""
    timed = [
        (mac["verified"]["seconds"], index, mac["name"])
        for index, mac in enumerate(macs)
        if mac["verified"] and mac["verified"]["seconds"] is not None
    ]
    if not timed:
        return "<p>No verified build is on record.</p>"
    top = found["maximum"] or 1.0
    bars = "".join(_bar(place, seconds, top, index, name) for place, (seconds, index, name) in enumerate(sorted(timed)))
    width = max(_LEAST_BARS, len(timed))
    level = 100 - 100 * found["median"] / top
    words = (
        f"{counted(found['count'])}: fastest {_seconds(found['minimum'])}, median {_seconds(found['median'])}, "
        f"95 % within {_seconds(found['p95'])}, slowest {_seconds(found['maximum'])}"
    )
    return (
        f'<figure><svg role="img" aria-label="Build seconds. {words}" viewBox="0 0 {width} 100" preserveAspectRatio="none">'
        f'{bars}<line class="median" x1="0" x2="{width}" y1="{level:.2f}" y2="{level:.2f}"/></svg>'
        f"<figcaption>{words}. The line is the median.</figcaption></figure>"
    )


def _bar(place: int, seconds: float, top: float, index: int, name: str) -> str:
    height = max(1.0, 100 * seconds / top)
    return (
        f'<rect data-mac="{index}" x="{place + 0.08:.2f}" y="{100 - height:.2f}" width="0.84" height="{height:.2f}">'
        f"<title>{escape(name)}: {seconds:.1f} s</title></rect>"
    )


# --- the table ---------------------------------------------------------------------------------------------------


def _head(index: int, column: Column) -> str:
    order = "ascending" if index == 0 else "none"
    return (
        f'<th role="columnheader" scope="col" aria-sort="{order}" class="{column.key}">'
        f'<button type="button" data-column="{index}">{escape(column.heading)}</button></th>'
    )


def _row(index: int, mac: Row, now: str) -> str:
    cells = "".join(_cell(place, column, mac, now) for place, column in enumerate(COLUMNS))
    marks = escape(" ".join([f"state:{mac['state']}", *(f"reason:{reason}" for reason in mac["attention"])]))
    kind = (
        "bad" if {"unreachable", "failed", "down", "broken"} & set(mac["attention"]) else "warn" if mac["attention"] else "good"
    )
    return f'<tr role="row" class="{kind}" data-mac="{index}" data-marks="{marks}">{cells}</tr>'


def _cell(place: int, column: Column, mac: Row, now: str) -> str:
    # The name sorts by its place in the report, where mac-2 comes before mac-10; the script knows that place.
    key = column.sort(mac, now) if place else None
    sort = "" if key is None else f' data-sort="{escape(str(key))}"'
    shown = column.show(mac, now)
    body = escape(shown) or f'<span class="nothing">{NOTHING}</span>'
    if column.key == "state":
        body = f'<span class="state">{body}</span>'
    if column.key == "trouble":
        body = _details(mac) or body
    if place == 0:
        return f'<th role="rowheader" scope="row" class="name" data-label="{escape(column.heading)}">{body}</th>'
    numeric = " number" if column.number else ""
    return f'<td role="cell" class="{column.key}{numeric}" data-label="{escape(column.heading)}"{sort}>{body}</td>'


def _details(mac: Row) -> str:
    """All that is wrong or worth knowing, folded; "" when there is nothing."""
    lines = [REASON_WORDS[reason].capitalize() + "." for reason in mac["attention"]]
    broken = mac["broken"]
    if broken is not None:
        lines += [word for word in (broken["says"], broken["evidence"], broken["fix"]) if word]
    lines += [word for word in (mac["message"], (mac["guest"] or {}).get("error")) if word]
    lines += [problem["message"] for problem in mac["problems"] if problem["message"]]
    for area in mac["drift"] or []:
        if area["changed"] or area["error"]:
            lines += [f"{area['area']}: {line}" for line in [area["error"], *(area["changes"] or [])] if line]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{escape(trouble(mac) or lines[0])}</summary><ul>{items}</ul></details>"
