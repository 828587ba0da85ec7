# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark makes of its samples: order of the runs, statistics, targets, tables, charts."""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from nixmacbench import chart, cli, core, plan, report, stats
from nixmacbench.core import Sample


def sample(contender: str, case: str, hosts: int, seconds: float, rss: int = 2**20) -> Sample:
    return Sample(contender, case, hosts, seconds, 1.0, rss, 2.0, 15.0, 6.0, 0.5, 2048.0, 1024.0)


def measured(own: float = 10.0) -> list[Sample]:
    found = [sample(core.COLLECTION, core.UNCHANGED, 20, seconds) for seconds in (own, own + 2, own - 1)]
    found += [sample(core.BASELINE, core.UNCHANGED, 20, 90.0, 2**21), sample(core.PING, core.ANSWER, 20, 4.0)]
    found += [sample(core.COLLECTION, core.FIRST, 20, 30.0), sample(core.BASELINE, core.FIRST, 20, 75.0)]
    return [*found, sample(core.COLLECTION, core.UNCHANGED, 5, 2.5), sample(core.COLLECTION, core.UNCHANGED, 50, 30.0)]


BUILDS = {
    "vm": {"manual": {"seconds": [20.0, 30.0, 22.0], "tiny": [10.0]}, "collection": {"seconds": [11.0], "tiny": [9.0]}},
    "light": {"manual": {"seconds": [12.0], "tiny": [10.0]}, "collection": {"seconds": [4.0]}},
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    data = {"facts": {"date": "2026-11-23"}, "hosts": 20, "builds": BUILDS, "samples": [s.as_dict() for s in measured()]}
    (tmp_path / report.DATA).write_text(json.dumps(data))
    blocks = "\n".join(f"<!-- BEGIN {name} (made by bench/run report) -->\nold\n<!-- END {name} -->" for name in report.BLOCKS)
    (tmp_path / report.PAGE).write_text(f"# Benchmark\n\nBefore.\n\n{blocks}\n\nAfter.\n")
    return tmp_path


def test_the_median_and_its_spread() -> None:
    assert stats.spread([3.0, 1.0, 2.0]) == stats.Spread(2.0, 1.0, 3.0, 3)
    assert stats.spread([3.0, 1.0]).median == 2.0
    with pytest.raises(ValueError, match="no values"):
        stats.spread([])


def test_samples_are_told_apart_by_contender_case_and_hosts() -> None:
    samples = stats.Samples(measured())
    assert samples.median(core.COLLECTION, core.UNCHANGED, 20) == 10.0
    assert samples.median(core.BASELINE, core.UNCHANGED, 20, "rss") == 2**21
    assert samples.of(core.BASELINE, core.VERIFY, 20) is None
    assert samples.sizes() == [5, 20, 50]


def test_targets_are_ratios_of_one_run() -> None:
    found = stats.targets(stats.Samples(measured()), 20, BUILDS)
    assert [round(target.value or 0, 2) for target in found] == [2.5, 9.0, 2.5, 1.2, 0.5, 2.0, 1.11, 3.0, 0]
    assert [target.met for target in found] == [True, True, True, False, True, True, False, True, None]


def test_a_slower_run_misses_and_an_absent_one_is_not_measured() -> None:
    assert stats.targets(stats.Samples(measured(15.0)), 20, BUILDS)[0].met is False
    assert {target.met for target in stats.targets(stats.Samples([]), 20, {})} == {None}
    assert stats.ratio(1.0, 0.0) is None


def test_the_page_keeps_its_text_and_gets_its_tables(docs: Path) -> None:
    assert report.write(docs, check=True) == [report.PAGE, "benchmark-cases.svg", "benchmark-growth.svg"]
    assert "old" in (docs / report.PAGE).read_text()
    report.write(docs, check=False)
    text = (docs / report.PAGE).read_text()
    assert "old" not in text
    assert text.startswith("# Benchmark\n\nBefore.\n")
    assert text.endswith("\n\nAfter.\n")
    assert "| nothing to change, without verify | 10.0 (9.0–12.0, n=3) | 90.0 (90.0–90.0, n=1) | 9.0 × |" in text
    assert "| ≤ 1.1 × | 1.20 × | **missed** |" in text
    assert report.write(docs, check=True) == []


@pytest.mark.parametrize("name", [report.PAGE, "benchmark-cases.svg", "benchmark-growth.svg"])
def test_what_was_changed_by_hand_is_found(docs: Path, name: str) -> None:
    report.write(docs, check=False)
    path = docs / name
    path.write_text(path.read_text().replace("9.0", "8.0").replace("20 hosts", "21 hosts").replace("seconds over", "second over"))
    assert report.write(docs, check=True) == [name]


def test_a_block_that_nobody_makes_is_an_error(docs: Path) -> None:
    data = json.loads((docs / report.DATA).read_text())
    with pytest.raises(KeyError):
        report.page("<!-- BEGIN other (made by bench/run report) -->\n<!-- END other -->", data)


def test_charts_are_svg_with_a_bar_for_each_and_words() -> None:
    samples = stats.Samples(measured())
    for text in (chart.cases(samples, 20), chart.growth(samples)):
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert all(line == line.rstrip() for line in text.splitlines())
        words = "".join(root.itertext())
        assert "this collection" in words
        assert "baseline" in words
        assert "SPDX-License-Identifier" in text
    assert "90.0 s" in chart.cases(samples, 20)


@pytest.mark.parametrize("most", [0.003, 0.9, 1.0, 7.0, 42.0, 99.0, 250.0, 1234.0])
def test_an_axis_ends_above_its_data_with_few_round_marks(most: float) -> None:
    marks = chart.ticks(most)
    assert marks[0] == 0
    assert marks[-1] >= most * 0.999
    assert 2 <= len(marks) <= 11


def test_contenders_alternate_and_the_fleet_is_new_before_each_further_first() -> None:
    scope = plan.Scope(hosts=20, unchanged=5, first=2, changing=2, verified=2)
    steps = plan.main_part(scope)
    count = {key: sum((s.contender, s.case) == key for s in steps) for key in {(s.contender, s.case) for s in steps}}
    assert count[core.COLLECTION, core.UNCHANGED] == count[core.PING, core.ANSWER] == 5
    assert count[core.BASELINE, core.FIRST] == count[core.BASELINE, core.SETTING] == 2
    both = [step.contender for step in steps if step.case == core.UNCHANGED]
    assert both == [core.COLLECTION, core.BASELINE] * 5
    undone = [steps[index] for index in range(len(steps)) if plan.undone_before(steps, index)]
    assert [(step.contender, step.number) for step in undone] == [(core.COLLECTION, 1), (core.BASELINE, 1)]


def test_growth_is_measured_for_each_number_of_hosts() -> None:
    steps = plan.growth_part(plan.Scope(growth=(1, 50), grown=2, slow=1))
    assert [step.hosts for step in steps if step.contender == core.COLLECTION] == [1, 50, 1, 50]
    assert [step.hosts for step in steps if step.contender == core.BASELINE] == [1, 50, 1]
    assert plan.Scope().most == 50


def options(**given: object) -> argparse.Namespace:
    names = ("hosts", "growth", "unchanged", "verified", "changing", "first", "grown", "slow", "builds")
    return argparse.Namespace(**{"quick": False, **dict.fromkeys(names), **given})


def test_options_replace_what_they_name() -> None:
    assert cli.scope(options()) == plan.Scope()
    assert cli.scope(options(hosts=50, growth=())).hosts == 50
    assert cli.scope(options(quick=True, builds=2)).builds == 2
    assert cli._numbers("1,5,50") == (1, 5, 50)


def test_the_json_has_a_sample_a_line_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    cli._write(path, {"hosts": 20, "builds": {}, "samples": [s.as_dict() for s in measured()]})
    data = json.loads(path.read_text())
    assert core.samples_of(data["samples"]) == measured()
    assert len([line for line in path.read_text().splitlines() if "contender" in line]) == len(measured())
