# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that a test may switch on. None is ever active by default.

Each fault is a dict: name, label (optional: only that job), count (how often, default 1; 0 = until cleared),
rc (bootstrap and kickstart), seconds (linger).

bootstrap   the next bootstrap answers `rc` (default 5) and loads nothing
bootout     bootout does its work but answers `rc` (default 36)
kickstart   the next kickstart answers `rc` (default 1) and does nothing
no-spawn    a job loaded next does not start by itself until it is kickstarted
linger      a label stays SIGTERMed for `seconds` after its process is gone
broken-lwcr print shows the malformed LWCR block of 27.0 (count 0 = always is the useful form)
"""

from __future__ import annotations

import typing as t

DEFAULT_RC = {"bootstrap": 5, "bootout": 36, "kickstart": 1}
NAMES = ("bootstrap", "bootout", "kickstart", "no-spawn", "linger", "broken-lwcr")


class Faults:
    """The faults waiting to happen."""

    def __init__(self, items: list[dict[str, t.Any]]) -> None:
        self.items: list[dict[str, t.Any]] = []
        for item in items:
            self.add(item)

    def add(self, item: dict[str, t.Any]) -> None:
        """Arm one fault; ValueError names what is wrong with it."""
        name = item.get("name")
        if name not in NAMES:
            raise ValueError("unknown fault {!r}; one of {}".format(name, ", ".join(NAMES)))
        self.items.append(
            {
                "name": name,
                "label": item.get("label"),
                "count": int(item.get("count", 1)),
                "rc": int(item.get("rc", DEFAULT_RC.get(name, 0))),
                "seconds": float(item.get("seconds", 3)),
            }
        )

    def take(self, name: str, label: str | None) -> dict[str, t.Any] | None:
        """The armed fault for this job, counted down; None when there is none."""
        for item in self.items:
            if item["name"] == name and item["label"] in (None, label):
                if item["count"] == 1:
                    self.items.remove(item)
                elif item["count"] > 1:
                    item["count"] -= 1
                return item
        return None

    def clear(self) -> None:
        """Forget all of them."""
        self.items = []
