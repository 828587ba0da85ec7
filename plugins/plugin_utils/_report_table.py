# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""The columns of the fleet report, for the page and for the terminal: what a cell shows and what it sorts by. Pure."""

from __future__ import annotations

import dataclasses
import typing as t
import unicodedata

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils._report import STATES, Row, seconds_between

NOTHING = "–"
_WIDEST = 32  # columns of one cell in the terminal
_MOST_TROUBLES = 20  # lines in the terminal; the page has all

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

# State -> the word that people read.
STATE_WORDS = {
    "ready": "ready",
    "running": "running",
    "silent": "no answer",
    "stopped": "stopped",
    "absent": "no builder",
    "other": "other builder",
    "failed": "not read",
    "unreachable": "unreachable",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """show: (row, the report's time) -> text, "" for nothing known. sort: the same -> number or text, None for nothing.

    brief: heading in the terminal, "" for a column that the page alone has. short: what the terminal shows, where
    the page's text is too long for it.
    """

    key: str
    heading: str
    brief: str
    show: t.Callable[[Row, str], str]
    sort: t.Callable[[Row, str], t.Any]
    number: bool = False
    short: t.Callable[[Row, str], str] | None = None


def duration(seconds: float | None, parts: int = 2) -> str:
    """The largest unit and, with two parts, what is left in the next one: 3 d 4 h; 45 s."""
    if seconds is None:
        return ""
    left = int(max(0, seconds))
    for index, (size, unit) in enumerate(_UNITS):
        if left >= size or size == 1:
            rest = left % size
            smaller = _UNITS[index + 1] if index + 1 < len(_UNITS) and rest >= _UNITS[index + 1][0] else None
            tail = f" {rest // smaller[0]} {smaller[1]}" if smaller and size > 60 and parts > 1 else ""
            return f"{left // size} {unit}{tail}"
    return ""


def gib(mib: int | None) -> str:
    """MiB as GiB with one decimal."""
    return "" if mib is None else f"{mib / 1024:.1f}"


def _of(row: Row, part: str, field: str) -> t.Any:
    return (row[part] or {}).get(field)


def _age(row: Row, now: str) -> float | None:
    return seconds_between(_of(row, "verified", "time"), now)


def _verified(row: Row, now: str, parts: int = 2) -> str:
    age = _age(row, now)
    if age is None:
        return ""
    # A Mac whose clock is ahead has built "in the future".
    words = f"{duration(age, parts)} ago" if age >= 60 else "just now"
    return words if _of(row, "verified", "current") is not False else f"{words}, older image"


def _share(row: Row, free: str, total: str) -> str:
    parts = gib(_of(row, "guest", free)), gib(_of(row, "guest", total))
    return f"{parts[0]} of {parts[1]} GiB" if all(parts) else ""


def _nix(row: Row, _now: str) -> str:
    nix = row["nix"] or {}
    managed = nix.get("managed_by") if nix.get("managed_by") == "nix-darwin" else None
    return " ".join(word for word in (nix.get("version"), nix.get("variant"), managed and f"({managed})") if word)


def _image(row: Row, _now: str, digits: int = 12) -> str:
    image = row["image"]
    if image is None:
        return ""
    number = "" if image["generation"] is None else f"#{image['generation']}"
    pin = (image["revision"] or "")[:digits] or (image["pin"] or "").partition("?")[0][:40]
    return " ".join(word for word in (number, pin) if word) or (image["store_path"] or "")


def _drift(row: Row, _now: str) -> str:
    if row["drift"] is None:
        return ""
    return ", ".join(area["area"] or "?" for area in row["drift"] if area["changed"] or area["error"]) or "none"


def _skew(row: Row, _now: str) -> str:
    skew = _of(row, "guest", "clock_skew_seconds")
    # Not -0.0, which is no direction.
    return "" if skew is None else f"{round(skew, 1) + 0.0:+.1f} s"


def _system(row: Row, _now: str) -> str:
    return " ".join(word for word in (_of(row, "macos", "version"), row["architecture"]) if word)


def trouble(row: Row) -> str:
    """The first thing to know about what is wrong, in one line; empty when nothing is."""
    broken = row["broken"]
    if broken is not None:
        return ": ".join(word for word in (broken["link"], broken["says"] or broken["evidence"]) if word)
    errors = [area["error"] for area in row["drift"] or [] if area["error"]]
    words = [row["message"], *(problem["message"] for problem in row["problems"]), _of(row, "guest", "error"), *errors]
    return next((word for word in words if word), "")


def _restarts(row: Row) -> int | None:
    return t.cast("int | None", _of(row, "job", "restarts"))


def _version(value: str | None) -> str | None:
    """2.9.1 before 2.26.3: each part as wide as the widest. The v keeps it a text where there are but two of them."""
    return None if value is None else "v" + ".".join(part.zfill(6) for part in value.split("."))


COLUMNS: tuple[Column, ...] = (
    Column("name", "Mac", "MAC", lambda row, now: row["name"], lambda row, now: row["name"].lower()),
    Column(
        "state",
        "State",
        "STATE",
        lambda row, now: STATE_WORDS.get(row["state"], ""),
        lambda row, now: STATES.index(row["state"]) if row["state"] in STATES else None,
        number=False,
    ),
    Column(
        "trouble",
        "First trouble",
        "",
        lambda row, now: trouble(row),
        lambda row, now: len(row["attention"]) or None,
    ),
    Column(
        "drift",
        "Drift",
        "DRIFT",
        _drift,
        lambda row, now: None if row["drift"] is None else sum(bool(area["changed"] or area["error"]) for area in row["drift"]),
    ),
    Column("verified", "Verified", "VERIFIED", _verified, _age, short=lambda row, now: _verified(row, now, 1)),
    Column(
        "seconds",
        "Build, s",
        "BUILD",
        lambda row, now: f"{_of(row, 'verified', 'seconds'):.1f}" if _of(row, "verified", "seconds") is not None else "",
        lambda row, now: _of(row, "verified", "seconds"),
        number=True,
    ),
    Column(
        "disk",
        "Disk free",
        "DISK",
        lambda row, now: _share(row, "disk_free_mib", "disk_total_mib"),
        lambda row, now: _of(row, "guest", "disk_free_mib"),
        number=True,
        short=lambda row, now: gib(_of(row, "guest", "disk_free_mib")) and f"{gib(_of(row, 'guest', 'disk_free_mib'))} G",
    ),
    Column(
        "memory",
        "Memory free",
        "",
        lambda row, now: _share(row, "memory_available_mib", "memory_total_mib"),
        lambda row, now: _of(row, "guest", "memory_available_mib"),
        number=True,
    ),
    Column(
        "skew",
        "Clock skew",
        "SKEW",
        _skew,
        lambda row, now: None if _of(row, "guest", "clock_skew_seconds") is None else abs(row["guest"]["clock_skew_seconds"]),
        number=True,
    ),
    Column(
        "uptime",
        "Up",
        "UP",
        lambda row, now: duration(_of(row, "guest", "uptime_seconds")),
        lambda row, now: _of(row, "guest", "uptime_seconds"),
        number=True,
        short=lambda row, now: duration(_of(row, "guest", "uptime_seconds"), 1),
    ),
    Column(
        "restarts",
        "Restarts",
        "RST",
        lambda row, now: "" if _restarts(row) is None else str(_restarts(row)),
        lambda row, now: _restarts(row),
        number=True,
    ),
    Column("macos", "macOS", "MACOS", _system, lambda row, now: _version(_of(row, "macos", "version"))),
    Column("nix", "Nix", "NIX", _nix, lambda row, now: _version(_of(row, "nix", "version"))),
    Column(
        "image",
        "Image",
        "IMAGE",
        _image,
        lambda row, now: _of(row, "image", "generation"),
        number=True,
        short=lambda row, now: _image(row, now, 7),
    ),
)


# --- the terminal ------------------------------------------------------------------------------------------------


def table(report: t.Mapping[str, t.Any], width: int = 160) -> str:
    """The report as lines of at most `width` columns: a row a Mac, then what is wrong with which, then the counts."""
    now = report["generated"] or ""
    shown = [column for column in COLUMNS if column.brief]
    rows = [[_cut((column.short or column.show)(mac, now) or NOTHING, _WIDEST) for column in shown] for mac in report["macs"]]
    lines = [[column.brief for column in shown], *rows]
    widths = [max(_width(line[index]) for line in lines) for index in range(len(shown))]
    text = ["  ".join(_cell(*cell) for cell in zip(line, widths, shown)).rstrip() for line in lines]
    return "\n".join(_cut(line, width) for line in [*text, "", *_troubles(report["macs"]), *_closing(report)])


def _troubles(macs: t.Sequence[Row]) -> list[str]:
    wrong = [mac for mac in macs if mac["attention"]]
    lines = [": ".join(word for word in (mac["name"], ", ".join(mac["attention"]), trouble(mac)) if word) for mac in wrong]
    more = [f"and {len(lines) - _MOST_TROUBLES} more, see the page"] if len(lines) > _MOST_TROUBLES else []
    return [*lines[:_MOST_TROUBLES], *more, ""] if lines else []


def counted(macs: int) -> str:
    """1 Mac, 2 Macs."""
    return f"{macs} Mac{'' if macs == 1 else 's'}"


def _closing(report: t.Mapping[str, t.Any]) -> list[str]:
    found = report["summary"]
    builds = found["build_seconds"]
    line = f"{counted(found['macs'])}: {found['well']} well, {found['reachable']} reachable, {found['verified']} verified"
    if builds["count"]:
        line += f"; build {builds['minimum']:.1f} to {builds['maximum']:.1f} s, median {builds['median']:.1f} s"
    reasons = [f"{count} {reason}" for reason, count in found["attention"].items() if count]
    return [line, *(["Look at: " + ", ".join(reasons)] if reasons else [])]


def _cell(text: str, width: int, column: Column) -> str:
    padding = " " * (width - _width(text))
    return padding + text if column.number else text + padding


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut(line: str, width: int) -> str:
    if _width(line) <= width:
        return line
    while line and _width(line) > width - 1:
        line = line[:-1]
    return line + "…"
