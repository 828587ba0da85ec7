# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of docs/benchmark.md, made from docs/benchmark.json between markers, and the check that they are."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

from . import chart, core, stats
from .stats import Samples, Spread

PAGE = "benchmark.md"
DATA = "benchmark.json"
_NAMES = {
    core.COLLECTION: "this collection",
    core.BASELINE: "baseline",
    core.PING: "`ping` play",
    core.SSH: "`ssh HOST true`",
}
_CASES = (core.FIRST, core.UNCHANGED, core.UNCHANGED_VERIFIED, core.SETTING, core.VERIFY, core.ANSWER)
_WORDS = {
    core.FIRST: "first converge, image present",
    core.UNCHANGED: "nothing to change, without verify",
    core.UNCHANGED_VERIFIED: "nothing to change, with verify",
    core.SETTING: "one changed setting",
    core.VERIFY: "verify only",
    core.ANSWER: "bare",
}
_COLUMNS = {"manual": "manual", "collection": "this collection", "master": "this collection and ControlMaster"}
_BLOCK = re.compile(r"(<!-- BEGIN (\w+) \(made by bench/run report\) -->\n).*?(<!-- END \2 -->)", re.DOTALL)


def table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    """In Markdown, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", "|" + "|".join(["---"] + ["--:"] * (len(head) - 1)) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float | None, digits: int = 1) -> str:
    """With a dash for what was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def times(value: float | None, digits: int = 1) -> str:
    """A ratio."""
    return "–" if value is None else f"{value:.{digits}f} ×"


def _seconds(value: Spread | None) -> str:
    if value is None:
        return "–"
    return f"{value.median:.1f} ({value.low:.1f}–{value.high:.1f}, n={value.count})"


def machine(data: t.Mapping[str, t.Any]) -> str:
    """Where and with what it was measured."""
    facts = data["facts"]
    return table(["what", "value"], [[name, str(facts[name])] for name in facts])


def targets(data: t.Mapping[str, t.Any]) -> str:
    """Each with its verdict."""
    words = {True: "met", False: "**missed**", None: "not measured"}
    found = stats.targets(Samples(core.samples_of(data["samples"])), data["hosts"], data["builds"])
    rows = [[x.words, f"{'≥' if x.least else '≤'} {x.limit:g} ×", times(x.value, 2), words[x.met]] for x in found]
    return table(["target", "wanted", "measured", ""], rows)


def cases(data: t.Mapping[str, t.Any]) -> str:
    """Seconds of each case at the main number of hosts."""
    samples, hosts = Samples(core.samples_of(data["samples"])), data["hosts"]
    rows = []
    for case in _CASES[:-1]:
        own, base = (samples.of(contender, case, hosts) for contender in (core.COLLECTION, core.BASELINE))
        faster = stats.ratio(base.median if base else None, own.median if own else None)
        rows.append([_WORDS[case], _seconds(own), _seconds(base), times(faster)])
    for contender in (core.PING, core.SSH):
        rows.append([_NAMES[contender], _seconds(samples.of(contender, core.ANSWER, hosts)), "", ""])
    return table([f"{hosts} hosts, seconds", "this collection", "baseline", "faster"], rows)


def cost(data: t.Mapping[str, t.Any]) -> str:
    """What each case costs on one host and on the controller."""
    samples, hosts = Samples(core.samples_of(data["samples"])), data["hosts"]
    rows = []
    for case in _CASES:
        for contender in _NAMES:
            if not samples.some(contender, case, hosts):
                continue

            def of(figure: str, contender: str = contender, case: str = case) -> float:
                return samples.median(contender, case, hosts, figure) or 0.0

            name = _NAMES[contender] if case == core.ANSWER else f"{_WORDS[case]}: {_NAMES[contender]}"
            rows.append(
                [
                    name,
                    number(of("seconds") / hosts, 2),
                    number(of("executions")),
                    number(of("processes"), 0),
                    number(of("module_processes"), 0),
                    number(of("remote_cpu"), 2),
                    number(of("received") / 1024, 0),
                    number(of("sent") / 1024, 0),
                    number(of("cpu") / hosts, 2),
                    number(of("rss") / 2**20, 0),
                ]
            )
    head = ["per host", "seconds", "module executions", "processes", "of them by modules", "processor s", "KiB in", "KiB out"]
    return table([*head, "controller: processor s", "controller: peak MiB (all hosts)"], rows)


def growth(data: t.Mapping[str, t.Any]) -> str:
    """The unchanged case over the number of hosts."""
    samples = Samples(core.samples_of(data["samples"]))
    rows = []
    for hosts in samples.sizes():
        row = [str(hosts)]
        for contender, case in _GROWN:
            seconds = samples.of(contender, case, hosts)
            row += [_seconds(seconds), number(stats.ratio(seconds.median if seconds else None, hosts), 2)]
        for contender in (core.COLLECTION, core.BASELINE):
            rss = samples.median(contender, core.UNCHANGED, hosts, "rss")
            row.append(number(rss / 2**20 if rss is not None else None, 0))
        rows.append(row)
    head = ["hosts"]
    for contender, _case in _GROWN:
        head += [f"{_NAMES[contender]}: seconds", "per host"]
    return table([*head, "this collection: MiB", "baseline: MiB"], rows)


_GROWN = ((core.COLLECTION, core.UNCHANGED), (core.BASELINE, core.UNCHANGED), (core.PING, core.ANSWER))


def builds(data: t.Mapping[str, t.Any]) -> str:
    """Builder throughput."""
    found = data["builds"]
    rows = []
    for guest, where in core.GUESTS.items():
        by_settings = found.get(guest, {})
        for work, words in core.WORKS.items():
            spreads = [
                stats.spread(by_settings[name][work]) if by_settings.get(name, {}).get(work) else None for name in _COLUMNS
            ]
            first = spreads[0].median if spreads[0] else None
            row = [f"{words}, {where}", _seconds(spreads[0])]
            for value in spreads[1:]:
                row += [_seconds(value), times(stats.ratio(first, value.median if value else None), 2)]
            rows.append(row)
    head = ["seconds", _COLUMNS["manual"]]
    for name in ("collection", "master"):
        head += [_COLUMNS[name], "faster"]
    return table(head, rows)


BLOCKS: dict[str, t.Callable[[t.Mapping[str, t.Any]], str]] = {
    "machine": machine,
    "targets": targets,
    "cases": cases,
    "cost": cost,
    "growth": growth,
    "builds": builds,
}


def page(text: str, data: t.Mapping[str, t.Any]) -> str:
    """The page with its blocks made anew. KeyError for a block that nobody makes."""
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]](data)}\n{match[3]}", text)


def wanted(docs: pathlib.Path) -> dict[pathlib.Path, str]:
    """All files that are made from the data, with what shall be in them."""
    data = json.loads((docs / DATA).read_text(encoding="utf-8"))
    files = {docs / PAGE: page((docs / PAGE).read_text(encoding="utf-8"), data)}
    samples = Samples(core.samples_of(data["samples"]))
    files[docs / "benchmark-cases.svg"] = chart.cases(samples, data["hosts"])
    files[docs / "benchmark-growth.svg"] = chart.growth(samples)
    return files


def write(docs: pathlib.Path, check: bool) -> list[str]:
    """Write the files, or with `check` only say which are not what the data makes."""
    stale = []
    for path, text in wanted(docs).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(text, encoding="utf-8")
    return stale
