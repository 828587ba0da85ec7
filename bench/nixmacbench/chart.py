# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two charts as SVG, readable on a light page and on a dark one."""

from __future__ import annotations

import html
import typing as t

from . import core
from .stats import Samples

_WIDTH = 760
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#4b5563}.strong{font-weight:600}.grid{stroke:#9ca3af;stroke-opacity:.35}"
    ".collection{fill:#2563eb;stroke:#2563eb}.baseline{fill:#d97706;stroke:#d97706}.ping{fill:#6b7280;stroke:#6b7280}"
    ".ssh{fill:#9ca3af;stroke:#9ca3af}.line{fill:none;stroke-width:2.5}text{stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#cbd5e1}.collection{fill:#60a5fa;stroke:#60a5fa}"
    ".baseline{fill:#fbbf24;stroke:#fbbf24}.ping{fill:#9ca3af;stroke:#9ca3af}}"
)
_NAMES = {core.COLLECTION: "this collection", core.BASELINE: "baseline", core.PING: "ping play", core.SSH: "ssh HOST true"}
_LICENCE = (
    "\nCopyright (c) 2026, the nixmac.linux_builder authors\n"
    "GNU General Public License v3.0+ "
    "(see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)\n"
    # In two parts: REUSE reads this file as well. On a line of its own: so it reads the chart.
    "SPDX-License-" + "Identifier: GPL-3.0-or-later\n"
)


def _svg(height: float, title: str, parts: t.Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">\n'
        f"<!--{_LICENCE}-->\n<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n"
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    extra = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, four to ten of them."""
    if most <= 0:
        return [0.0, 1.0]
    step = 1.0
    while most / step > 10:
        step *= 10
    while most / step < 1:
        step /= 10
    for part in (0.2, 0.5, 1, 2):
        if most / (step * part) <= 8:
            step *= part
            break
    count = int(-(-most // step))
    return [step * index for index in range(count + 1)]


def cases(samples: Samples, hosts: int) -> str:
    """Seconds of each case as bars."""
    groups = [
        (core.FIRST, (core.COLLECTION, core.BASELINE)),
        (core.UNCHANGED, (core.COLLECTION, core.BASELINE)),
        (core.UNCHANGED_VERIFIED, (core.COLLECTION, core.BASELINE)),
        (core.SETTING, (core.COLLECTION, core.BASELINE)),
        (core.VERIFY, (core.COLLECTION, core.BASELINE)),
        (core.ANSWER, (core.PING, core.SSH)),
    ]
    left, right, bar, top = 175.0, 70.0, 16.0, 48.0
    values = {
        (case, contender): samples.median(contender, case, hosts) or 0.0
        for case, contenders in groups
        for contender in contenders
    }
    marks = ticks(max(values.values()))
    scale = (_WIDTH - left - right) / marks[-1]
    parts, y = [], top
    for case, contenders in groups:
        parts.append(_text(left - 10, y + bar + 4, "bare" if case == core.ANSWER else case, "end"))
        for contender in contenders:
            width = values[case, contender] * scale
            parts.append(f'<rect x="{left}" y="{y:.1f}" width="{width:.1f}" height="{bar - 2}" class="{contender}"/>')
            words = f"{values[case, contender]:.1f} s" + (f" {_NAMES[contender]}" if case == core.ANSWER else "")
            parts.append(_text(left + width + 5, y + bar - 4, words))
            y += bar
        y += 12
    grid = [_line(left + mark * scale, top - 6, left + mark * scale, y) for mark in marks]
    axis = [_text(left + mark * scale, y + 16, f"{mark:g}", "middle") for mark in marks]
    head = [_text(10, 20, f"{hosts} hosts: seconds of a whole run (median)", kind="strong")]
    return _svg(y + 28, f"Seconds of each case with {hosts} hosts", [*head, *_legend(), *grid, *parts, *axis])


def _legend() -> list[str]:
    parts, x = [], 420.0
    for contender in (core.COLLECTION, core.BASELINE):
        parts.append(f'<rect x="{x}" y="9" width="13" height="13" class="{contender}"/>')
        parts.append(_text(x + 18, 20, _NAMES[contender]))
        x += 140
    return parts


def growth(samples: Samples) -> str:
    """Seconds of the unchanged case over the number of hosts."""
    lines = {}
    for contender, case in ((core.BASELINE, core.UNCHANGED), (core.COLLECTION, core.UNCHANGED), (core.PING, core.ANSWER)):
        found = [(hosts, samples.of(contender, case, hosts)) for hosts in samples.sizes()]
        lines[contender] = [(hosts, value.median) for hosts, value in found if value is not None]
    left, right, top, bottom = 60.0, 150.0, 48.0, 330.0
    sizes = samples.sizes() or [1]
    marks = ticks(max((value for points in lines.values() for _hosts, value in points), default=1.0))
    across, up = (_WIDTH - left - right) / max(sizes), (bottom - top) / marks[-1]
    parts = [_text(10, 20, "Nothing to change, without verify: seconds over the number of hosts", kind="strong")]
    for mark in marks:
        parts.append(_line(left, bottom - mark * up, _WIDTH - right, bottom - mark * up))
        parts.append(_text(left - 8, bottom - mark * up + 4, f"{mark:g}", "end"))
    for hosts in sizes:
        parts.append(_line(left + hosts * across, bottom, left + hosts * across, bottom + 5))
        parts.append(_text(left + hosts * across, bottom + 20, str(hosts), "middle"))
    labels = []
    for contender, points in lines.items():
        places = [(left + hosts * across, bottom - value * up) for hosts, value in points]
        parts.append(
            f'<polyline class="line {contender}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{contender}"/>' for x, y in places]
        if places:
            labels.append((places[-1][1] + 4, f"{_NAMES[contender]} {points[-1][1]:.0f} s"))
    # From the lowest up, so that no two stand on each other.
    below = bottom + 20
    for place, words in sorted(labels, reverse=True):
        below = min(place, below - 16)
        parts.append(_text(_WIDTH - right + 10, below, words))
    parts.append(_text((left + _WIDTH - right) / 2, bottom + 40, "hosts", "middle"))
    return _svg(bottom + 50, "Seconds of a run that changes nothing, over the number of hosts", parts)
