# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arithmetic of docs/scaling.md, on figures that can be reckoned by heart."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import typing as t
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("make_scaling", Path(__file__).parent / "make_scaling.py")
assert _SPEC is not None
assert _SPEC.loader is not None
scaling = importlib.util.module_from_spec(_SPEC)
sys.modules["make_scaling"] = scaling
_SPEC.loader.exec_module(scaling)

MIB = 2**20


def sample(case: str, hosts: int, cpu: float, **more: t.Any) -> dict[str, t.Any]:
    """One run: a controller of 100 MiB and 50 MiB for each fork, and 10 KiB each way for a host."""
    plain = {"contender": "collection", "seconds": 3.0, "remote_cpu": 0.7, "received": 10240.0, "sent": 10240.0}
    return {**plain, "case": case, "hosts": hosts, "cpu": cpu, "rss": (100 + 50 * min(hosts, 20)) * MIB, **more}


@pytest.fixture
def data() -> dict[str, t.Any]:
    """No change: 1 s and half a second for each host, once with an outlier. The others at 20 hosts only."""
    unchanged = [sample("unchanged", hosts, 1 + 0.5 * hosts) for hosts in (1, 5, 20, 50) for _run in range(3)]
    outlier = sample("unchanged", 20, 99.0, rss=10**12)
    others = [sample("first", 20, 60.0), sample("unchanged, verified", 20, 18.0), sample("one setting", 20, 1.0)]
    baseline = sample("unchanged", 20, 500.0, contender="baseline")
    return {"samples": [*unchanged, outlier, *others, baseline]}


def test_the_cost_of_a_host_is_the_slope(data: dict[str, t.Any]) -> None:
    known = scaling.figures(data)
    assert known.unchanged.base == pytest.approx(1)
    assert known.unchanged.cpu == pytest.approx(0.5)
    assert known.unchanged.forks == 4
    assert (known.first.base, known.first.cpu, known.verified.cpu) == (0, 3.0, 0.9)
    assert known.unchanged.bytes == 20480
    assert known.memory == pytest.approx(100 * MIB)
    assert known.fork == pytest.approx(50 * MIB)


def test_the_table_of_a_fleet(data: dict[str, t.Any]) -> None:
    text = scaling.block(scaling.figures(data))
    (row,) = [line for line in text.splitlines() if line.startswith("| 1,000 ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # 3000 s, 501 s and 900 s of processor on 8 cores of which 80 % count; the last of these in 15 minutes is one worker.
    assert cells[:5] == ["1,000", "7.8 min", "1.3 min", "2.3 min", "1"]
    assert cells[5] == "20 MiB"
    assert cells[6] == "3.2 h"
    assert cells[7:] == ["0.3 a second", "7.8 MiB"]
    assert "`forks = 32` for 8 cores" in text
    assert "1.7 GiB with 32 forks" in text


def test_the_page_is_held_to_the_figures(data: dict[str, t.Any], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    path = tmp_path / "docs" / "scaling.md"
    path.write_text(f"Before.\n{scaling.BEGIN}{scaling.END}\nAfter.\n")
    assert scaling.main(["--check"], tmp_path) == 1
    assert scaling.main([], tmp_path) == 0
    assert "The figures come with the first run" in path.read_text()
    assert scaling.main(["--check"], tmp_path) == 0
    (tmp_path / "docs" / "benchmark.json").write_text(json.dumps(data))
    assert scaling.main(["--check"], tmp_path) == 1
    assert scaling.main([], tmp_path) == 0
    assert scaling.main(["--check"], tmp_path) == 0
    text = path.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "| 10,000 " in text
    path.write_text("no place")
    with pytest.raises(ValueError, match="has no line"):
        scaling.main([], tmp_path)


def test_the_page_names_the_versions_that_are_tested() -> None:
    lock = (scaling.ROOT / "tests" / "requirements-scale.txt").read_text()
    found = re.search(r"Mitogen ([0-9.]+) with ansible-core ([0-9.]+),", (scaling.ROOT / scaling.PAGE).read_text())
    assert found is not None
    assert f"mitogen=={found[1]}\n" in lock
    assert f"ansible-core=={found[2]}\n" in lock
