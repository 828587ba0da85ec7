# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Synthetic fleets: answers of builder_info as Macs in all kinds of states would give them, the same in every run."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _report

NOW = 1795427400  # 2026-11-23T09:50:00Z
REVISION = "bd495b825e5c4365131f9b744cce923d42c06158"
PIN = f"github:NixOS/nixpkgs/{REVISION}#darwin.linux-builder"
HOSTILE = '<img src=x onerror=alert(1)></script><script>document.title="owned"</script>'


def report(count: int, seed: int = 7) -> dict[str, t.Any]:
    """The report of a fleet; about one Mac in eight needs a look, and the last one's names are an attack on the page."""
    dice = random.Random(seed)
    rows = [_report.row(f"mac-{number}", _answer(dice, number), NOW) for number in range(1, count)]
    hostile = _healthy(dice)
    hostile["info"]["nix"]["variant"] = HOSTILE
    hostile["problems"] = [{"code": HOSTILE, "message": f"{HOSTILE} --> ]]> </style>"}]
    rows.append(_report.row(f'zz"{HOSTILE}', hostile, NOW))
    return _report.report(rows, NOW, "Linux builders </title><b>bold</b>")


def _answer(dice: random.Random, number: int) -> dict[str, t.Any]:
    if number % 23 == 0:
        return {"unreachable": True, "msg": "Failed to connect to the host via ssh: Connection timed out"}
    if number % 41 == 0:
        return {"failed": True, "msg": "Missing sudo password"}
    answer = _healthy(dice)
    builder = answer["info"]["builder"]
    if number % 17 == 0:
        builder.update(guest={"error": "ssh: connect to host 127.0.0.1 port 31022: Connection refused"}, last_exit_code=134)
        link = {"name": "job", "says": "QEMU crashes.", "evidence": "runs 41, last exit code 134", "fix": "use another revision"}
        answer.update(broken="job", links=[{"name": "macos", "state": "good"}, {**link, "state": "broken"}])
    elif number % 19 == 0:
        answer["drift"] = [{"area": "builder", "changed": True, "changes": ["- cores: 2", "+ cores: 4"], "error": None}]
    elif number % 29 == 0:
        builder.update(store_path=None, generation=None, loaded=False, pid=None, guest=None, verified=None)
    elif number % 31 == 0:
        builder["verified"] = None
    return answer


def _healthy(dice: random.Random) -> dict[str, t.Any]:
    path = "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-create-builder"
    memory = dice.choice((3072, 4096, 8192))
    builder = {
        "label": "org.nixmac.linux-builder",
        "loaded": True,
        "state": "running",
        "pid": dice.randint(300, 90000),
        "restarts": dice.choice((0, 0, 0, 1, 2)),
        "last_exit_code": 0,
        "generation": dice.randint(1, 12),
        "store_path": path,
        "pin": PIN,
        "verified": {
            "time": NOW - dice.randint(30, 9 * 86400),
            "seconds": {"aarch64-linux": round(dice.lognormvariate(1.1, 0.45), 2)},
            "store_path": path,
        },
        "guest": {
            "disk_total_mib": 20480,
            "disk_free_mib": dice.randint(2000, 18000),
            "memory_total_mib": memory,
            "memory_available_mib": dice.randint(700, memory - 200),
            "uptime_seconds": dice.randint(60, 40 * 86400),
            "clock_skew_seconds": round(dice.gauss(0, 1.5), 2),
            "error": None,
        },
    }
    info = {
        "macos": {"version": dice.choice(("13.6", "14.7.2", "15.6.1", "26.1")), "build": "24G90"},
        "architecture": dice.choice(("arm64", "arm64", "x86_64")),
        "nix": {"version": dice.choice(("2.9.1", "2.26.3", "2.34.8")), "variant": "upstream", "managed_by": "none"},
        "builder": builder,
        "other_builders": [],
    }
    drift = [{"area": area, "changed": False, "changes": [], "error": None} for area in ("credentials", "builder", "delegation")]
    return {"info": info, "drift": drift, "problems": [], "broken": None}
