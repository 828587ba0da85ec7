# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""What the controller knows of a fleet: one row per Mac, made from builder_info's answers, and a summary. Pure.

A field gets into a row only if it stands in `_ROW`, with that type; so whatever else a Mac says stays out of the report.
docs/fleet-report.schema.json is the same for others to read.
"""

from __future__ import annotations

import datetime
import math
import re
import typing as t

FORMAT = 1

# Best first: the order in which a sorted table shows them, from its end.
STATES = ("ready", "running", "other", "absent", "stopped", "silent", "failed", "unreachable")

# Why a Mac needs a look; also the words of `fail_on`.
REASONS = ("unreachable", "failed", "down", "broken", "unverified", "drift", "problem", "skew", "disk")

MAX_SKEW = 30.0  # seconds; beyond it certificates and time stamps of builds begin to suffer
MIN_DISK_MIB = 1024  # the guest collects garbage below this much (min-free of the stock image)
_TEXT_LIMIT = 400
_LIST_LIMIT = 40

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# Messages of programs may quote what the user gave them. The store URI ssh-ng://builder@host is no secret.
_SECRETS = (
    (re.compile(r"(\w[\w+.-]*://[^/\s:@]*):[^/\s]*@"), r"\1:***@"),
    (re.compile(r"((?:git\+)?https?://)[^/\s@]+@"), r"\1***@"),
    (re.compile(r"(?i)([?&][\w-]*(?:token|key|secret|password|sig|signature)=)[^&\s'\"]+"), r"\1***"),
    (re.compile(r"(?i)\b((?:[\w-]*(?:token|secret|password|passphrase|passwd)s?)\s*[=:]\s*)\S.*"), r"\1***"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"), "***"),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)\w+"), "***"),
)

Row = dict[str, t.Any]

_EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
_NEVER = "1970-01-01T00:00:00Z"


def text(value: t.Any) -> str | None:
    """One bounded line without control characters and without what looks like a secret; None for no text."""
    if not isinstance(value, str):
        return None
    # The whole is searched before it is cut, so that a cut never hides where a secret begins.
    line = _CONTROL.sub(" ", value)
    for pattern, mask in _SECRETS:
        line = pattern.sub(mask, line)
    line = line.strip()
    return (line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…") or None


def _integer(value: t.Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: t.Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 3)


def _flag(value: t.Any) -> bool | None:
    return value if isinstance(value, bool) else None


def moment(value: t.Any) -> str | None:
    """A time as 2026-11-23T09:40:00Z, from that form or from seconds since 1970; None for anything else."""
    parsed = _parse(value)
    return None if parsed is None else parsed.strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(value: t.Any) -> datetime.datetime | None:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
        if isinstance(value, str):
            parsed = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            return parsed.replace(tzinfo=parsed.tzinfo or datetime.timezone.utc).astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def seconds_between(earlier: t.Any, later: t.Any) -> float | None:
    """Seconds from one time to another, None where one is unknown."""
    first, second = _parse(earlier), _parse(later)
    return None if first is None or second is None else (second - first).total_seconds()


def _choice(*names: str) -> t.Callable[[t.Any], str | None]:
    return lambda value: value if isinstance(value, str) and value in names else None


class _Many:
    """A list, or with `named` a mapping from texts, of values of one form; bounded."""

    def __init__(self, form: t.Any, named: bool = False) -> None:
        self.form = form
        self.named = named

    def clean(self, value: t.Any) -> t.Any:
        if self.named:
            pairs = list(value.items())[:_LIST_LIMIT] if isinstance(value, t.Mapping) else []
            cleaned = {text(key): _clean(self.form, item) for key, item in pairs}
            return {key: item for key, item in cleaned.items() if key is not None and item is not None}
        items = list(value)[:_LIST_LIMIT] if isinstance(value, (list, tuple)) else []
        return [item for item in (_clean(self.form, item) for item in items) if item is not None]


def _clean(form: t.Any, value: t.Any) -> t.Any:
    """`value` in the shape of `form`: only known keys, each of its type, None for what is missing or of another type."""
    if isinstance(form, _Many):
        return None if value is None else form.clean(value)
    if isinstance(form, dict):
        return {key: _clean(sub, value.get(key)) for key, sub in form.items()} if isinstance(value, t.Mapping) else None
    return form(value)


_ROW: dict[str, t.Any] = {
    "name": text,
    "seen": moment,
    "reachable": _flag,
    "state": _choice(*STATES),
    "message": text,
    "attention": _Many(_choice(*REASONS)),
    "macos": {"version": text, "build": text},
    "architecture": text,
    "nix": {"version": text, "variant": text, "managed_by": text},
    "image": {"generation": _integer, "pin": text, "revision": text, "store_path": text},
    "job": {"label": text, "state": text, "restarts": _integer, "last_exit_code": _integer},
    "other_builder": text,
    "verified": {"time": moment, "seconds": _number, "systems": _Many(_number, named=True), "current": _flag},
    "guest": {
        "disk_total_mib": _integer,
        "disk_free_mib": _integer,
        "memory_total_mib": _integer,
        "memory_available_mib": _integer,
        "uptime_seconds": _number,
        "clock_skew_seconds": _number,
        "error": text,
    },
    "drift": _Many({"area": text, "changed": _flag, "changes": _Many(text), "error": text}),
    "broken": {"link": text, "says": text, "evidence": text, "fix": text},
    "problems": _Many({"code": text, "message": text}),
}


# --- one Mac -----------------------------------------------------------------------------------------------------


def row(name: str, result: t.Any, seen: t.Any) -> Row:
    """One Mac's row. result: what the task builder_info registered there; anything, where the task never ran."""
    result = result if isinstance(result, t.Mapping) else {}
    info = result.get("info")
    raw: Row = {"name": name, "seen": seen}
    if result.get("unreachable"):
        raw.update(state="unreachable", message=_words(result, "The Mac did not answer."))
    elif not isinstance(info, t.Mapping):
        raw.update(state="failed", message=_words(result, "The Mac was not asked: the play ended before."))
    else:
        raw.update(_facts(info), broken=_broken(result), drift=result.get("drift"), problems=_problems(result))
    return _finish(raw)


def unread(name: str, state: str, message: str) -> Row:
    """A Mac that nothing is known of, older than any report of it."""
    return _finish({"name": name, "seen": 0, "state": state, "message": message})


def _finish(raw: t.Mapping[str, t.Any]) -> Row:
    cleaned: Row = _clean(_ROW, raw)
    cleaned.update(
        name=cleaned["name"] or "?",
        # Without a time a row is older than any other.
        seen=cleaned["seen"] or moment(0),
        reachable=cleaned["state"] != "unreachable",
        problems=cleaned["problems"] or [],
    )
    cleaned["attention"] = attention(cleaned)
    return cleaned


def _words(result: t.Mapping[str, t.Any], otherwise: str) -> str:
    """What the failed task said; of a module that printed no JSON, its last line on stderr."""
    said = str(result.get("msg") or "").replace("Task failed: ", "", 1)
    last = str(result.get("module_stderr") or "").strip().splitlines()[-1:]
    return " ".join([said, *last]).strip() or otherwise


def _facts(info: t.Mapping[str, t.Any]) -> Row:
    builder = _mapping(info, "builder")
    guest = builder.get("guest")
    found = [*(info.get("other_builders") or []), *(info.get("adoptable") or [])]
    others = [other for other in found if isinstance(other, t.Mapping)]
    return {
        "state": _state(builder, others),
        "message": _mapping(info, "nix").get("error") or builder.get("error"),
        "macos": info.get("macos") if _mapping(info, "macos").get("version") else None,
        "architecture": info.get("architecture"),
        "nix": info.get("nix") if _mapping(info, "nix").get("version") else None,
        "image": _image(builder),
        "job": builder if builder.get("loaded") else None,
        "other_builder": others[0].get("owner") if others else None,
        "verified": _verified(builder),
        "guest": guest,
    }


def _mapping(data: t.Mapping[str, t.Any], key: str) -> t.Mapping[str, t.Any]:
    value = data.get(key)
    return value if isinstance(value, t.Mapping) else {}


def _state(builder: t.Mapping[str, t.Any], others: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    guest = builder.get("guest")
    asked = isinstance(guest, t.Mapping)
    if isinstance(guest, t.Mapping) and not guest.get("error"):
        return "ready"
    if builder.get("loaded") and builder.get("pid"):
        return "silent" if asked else "running"
    if builder.get("loaded") or builder.get("store_path"):
        return "stopped"
    return "other" if others else "absent"


def _image(builder: t.Mapping[str, t.Any]) -> Row | None:
    if not builder.get("store_path"):
        return None
    pin = builder.get("pin")
    revision = re.search(r"\b[0-9a-f]{40}\b", pin) if isinstance(pin, str) else None
    return {**builder, "revision": revision.group(0) if revision else None}


def _verified(builder: t.Mapping[str, t.Any]) -> Row | None:
    record = _mapping(builder, "verified")
    systems = _mapping(record, "seconds")
    known = [value for value in map(_number, systems.values()) if value is not None]
    if not record or moment(record.get("time")) is None:
        return None
    return {
        "time": record.get("time"),
        "seconds": max(known) if known else None,
        "systems": systems,
        "current": record.get("store_path") == builder.get("store_path") if record.get("store_path") else None,
    }


def _links(result: t.Mapping[str, t.Any], state: str) -> list[Row]:
    """The links that the diagnosis found in this state, in their order."""
    links = [link for link in result.get("links") or [] if isinstance(link, t.Mapping) and link.get("state") == state]
    return [{**link, "link": link.get("name")} for link in links]


def _broken(result: t.Mapping[str, t.Any]) -> Row | None:
    name = result.get("broken")
    return next((link for link in _links(result, "broken") if link["link"] == name), {"link": name}) if name else None


def _problems(result: t.Mapping[str, t.Any]) -> list[t.Any]:
    """What stops a run of site.yml, and links that hold but not well."""
    weak = [{"code": link["link"], "message": f"{link.get('says')} {link.get('fix') or ''}"} for link in _links(result, "weak")]
    problems = result.get("problems")
    return [*(problems if isinstance(problems, list) else []), *weak]


def attention(mac: Row) -> list[str]:
    """Why this Mac needs a look, in the order of `REASONS`; empty when all is well as far as it was looked."""
    state = mac["state"]
    if state in ("unreachable", "failed"):
        return [state]
    guest = mac["guest"] or {}
    # Another tool's builder, or one set up by hand, is nothing that this collection would have verified.
    ours = mac["image"] is not None
    found = {
        "down": state in ("stopped", "silent", "absent"),
        "broken": mac["broken"] is not None,
        "unverified": ours and (mac["verified"] is None or mac["verified"]["current"] is False),
        "drift": any(area["changed"] or area["error"] for area in mac["drift"] or []),
        "problem": bool(mac["problems"] or mac["message"]),
        "skew": abs(guest.get("clock_skew_seconds") or 0) > MAX_SKEW,
        "disk": guest.get("disk_free_mib") is not None and guest["disk_free_mib"] < MIN_DISK_MIB,
    }
    return [reason for reason in REASONS if found.get(reason)]


# --- the fleet ---------------------------------------------------------------------------------------------------


def report(rows: t.Iterable[Row], generated: t.Any, title: str) -> dict[str, t.Any]:
    """The whole report, as the JSON file has it."""
    macs = sorted(rows, key=lambda mac: natural(mac["name"]))
    return {
        "format": FORMAT,
        "title": text(title) or "Linux builders",
        "generated": moment(generated),
        "summary": summary(macs),
        "macs": macs,
    }


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts mac-2 before mac-10."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def summary(macs: t.Sequence[Row]) -> dict[str, t.Any]:
    """Counts, and the build seconds of all Macs with a verified build."""
    builds = sorted(mac["verified"]["seconds"] for mac in macs if mac["verified"] and mac["verified"]["seconds"] is not None)
    return {
        "macs": len(macs),
        "well": sum(not mac["attention"] for mac in macs),
        "reachable": sum(bool(mac["reachable"]) for mac in macs),
        "verified": sum(mac["verified"] is not None and mac["verified"]["current"] is not False for mac in macs),
        "states": {state: sum(mac["state"] == state for mac in macs) for state in STATES},
        "attention": {reason: sum(reason in mac["attention"] for mac in macs) for reason in REASONS},
        "build_seconds": {
            "count": len(builds),
            "minimum": builds[0] if builds else None,
            "median": quantile(builds, 0.5),
            "p95": quantile(builds, 0.95),
            "maximum": builds[-1] if builds else None,
        },
    }


def quantile(ordered: t.Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


class ReportError(Exception):
    """A file that shall be merged is no report."""


def rows_of(data: t.Any, source: str) -> list[Row]:
    """The rows of a report that another run wrote, checked as if a Mac had said them. ReportError names `source`."""
    macs = data.get("macs") if isinstance(data, t.Mapping) and data.get("format") == FORMAT else None
    if not isinstance(macs, list) or not all(isinstance(mac, t.Mapping) and isinstance(mac.get("name"), str) for mac in macs):
        raise ReportError(f"{source}: is no fleet report of format {FORMAT}. Give a fleet.json that this collection wrote.")
    rows = []
    for mac in macs:
        state = mac.get("state") if mac.get("state") in STATES else "failed"
        rows.append(_finish({**mac, "state": state}))
    return rows


def merge(*reports: t.Iterable[Row]) -> list[Row]:
    """One row for each name: the one that was seen last; of two seen at once, the later report's."""
    newest: dict[str, Row] = {}
    for mac in (mac for rows in reports for mac in rows):
        known = newest.get(mac["name"])
        if known is None or (mac["seen"] or "") >= (known["seen"] or ""):
            newest[mac["name"]] = mac
    return list(newest.values())


def aged(macs: t.Iterable[Row], now: t.Any, hours: int) -> list[Row]:
    """The same, but a Mac that was last seen more than `hours` ago counts as unreachable; 0: none is too old."""
    limit = moment((_parse(now) or _EPOCH).timestamp() - hours * 3600) or ""
    return [mac if not hours or mac["seen"] >= limit or mac["seen"] == _NEVER else _old(mac, hours) for mac in macs]


def _old(mac: Row, hours: int) -> Row:
    return _finish({**mac, "state": "unreachable", "message": f"Last heard of at {mac['seen']}, more than {hours} hours ago."})


def failing(macs: t.Iterable[Row], reasons: t.Collection[str]) -> dict[str, list[str]]:
    """Name -> those of `reasons` that hold for the Mac; Macs without one are left out."""
    found = {mac["name"]: [reason for reason in mac["attention"] if reason in reasons] for mac in macs}
    return {name: hit for name, hit in found.items() if hit}
