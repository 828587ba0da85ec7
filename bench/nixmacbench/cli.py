# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`bench/run`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
import typing as t

from . import core, plan, report
from .core import BenchError, Sample, say

if t.TYPE_CHECKING:
    from . import fleet


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run", description="What a fleet costs with this collection and without it.")
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="measure all and write the JSON (default: docs/benchmark.json)")
    measure.add_argument("--quick", action="store_true", help="two hosts, one repetition, no VM: to see that it works")
    measure.add_argument("--output", type=pathlib.Path, help="where the JSON goes; --quick writes below .cache/bench")
    measure.add_argument("--growth", type=_numbers, help="other numbers of hosts, such as 1,5,50")
    for field in dataclasses.fields(plan.Scope):
        if field.name != "growth":
            measure.add_argument(f"--{field.name}", type=int, metavar="N", help=_HELP[field.name])
    measure.add_argument(
        "--part", choices=["all", "fleet", "builds"], default="all", help="only one part, put into the same JSON"
    )
    measure.add_argument("--keep", action="store_true", help="leave the stand-ins running")
    made = commands.add_parser("report", help="make tables and charts of docs/benchmark.md from its JSON")
    made.add_argument("--check", action="store_true", help="write nothing; exit status 1 where they differ")
    commands.add_parser("down", help="remove the benchmark's stand-ins")
    return parser


_HELP = {
    "hosts": "hosts of the main part (20)",
    "unchanged": "repetitions where nothing is to change, and of the bare contenders (5)",
    "verified": "repetitions of the cases with a verified build (5)",
    "changing": "repetitions of one changed setting (5)",
    "first": "repetitions of the first converge (5)",
    "slow": "repetitions of the baseline with more hosts than in the main part (1)",
    "grown": "repetitions for the other numbers of hosts (3)",
    "builds": "repetitions of the builds, 0 for none (3)",
}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def scope(args: argparse.Namespace) -> plan.Scope:
    """What the options ask for."""
    start = plan.QUICK if args.quick else plan.Scope()
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(plan.Scope)}
    return dataclasses.replace(start, **{name: value for name, value in given.items() if value is not None})


def main(argv: t.Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = _parser().parse_args(argv)
    try:
        return {"measure": _measure, "report": _report, "down": _down}[args.command](args)
    except BenchError as problem:
        sys.stderr.write(f"bench: {problem}\n")
        return 1


def _report(args: argparse.Namespace) -> int:
    stale = report.write(core.DOCS, args.check)
    if args.check and stale:
        print(f"{', '.join(stale)}: not what docs/{report.DATA} makes. Run: python bench/nixmacbench report")
        return 1
    print(f"docs/{report.PAGE} and its charts are what docs/{report.DATA} makes")
    return 0


def _down(_args: argparse.Namespace) -> int:
    from . import fleet

    fleet.remove()
    return 0


def _measure(args: argparse.Namespace) -> int:
    from . import fleet

    wanted = scope(args)
    output: pathlib.Path = args.output or (core.CACHE / "quick.json" if args.quick else core.DOCS / report.DATA)
    # A part alone is put beside what the other part found before.
    data = (
        json.loads(output.read_text(encoding="utf-8"))
        if args.part != "all" and output.exists()
        else {"samples": [], "builds": {}}
    )
    data.setdefault("hosts", wanted.hosts)
    data["facts"] = {**data.get("facts", {}), **_facts()}
    # One at a time: both would take the same stand-ins.
    core.CACHE.mkdir(parents=True, exist_ok=True)
    lock = (core.CACHE / "lock").open("w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    fleet.remove()
    try:
        for part in ("fleet", "builds") if args.part == "all" else (args.part,):
            begin = time.monotonic()
            {"fleet": _fleet_part, "builds": _builds_part}[part](wanted, data)
            data["facts"][f"{part}: took"] = f"{(time.monotonic() - begin) / 60:.0f} minutes"
            # Here already: what was measured in half an hour is not lost with the other part.
            _write(output, data)
            say(f"wrote {output}")
            if not args.keep:
                fleet.remove()
    except BaseException:
        if not args.keep:
            fleet.remove()
        raise
    print(*(make(data) for make in report.BLOCKS.values()), sep="\n\n")
    if output == core.DOCS / report.DATA:
        report.write(core.DOCS, check=False)
        # Its arithmetic begins with these figures.
        subprocess.run([sys.executable, core.REPO / "tests" / "tools" / "make_scaling.py"], check=True)
    return 0


def _fleet_part(wanted: plan.Scope, data: dict[str, t.Any]) -> None:
    from . import fleet

    fleets = {name: fleet.Fleet(name) for name in (core.COLLECTION, core.BASELINE)}
    data.update(hosts=wanted.hosts, scope=dataclasses.asdict(wanted), samples=[], repeated=[])
    for sample in _samples(wanted, fleets, data["repeated"]):
        data["samples"].append(sample.as_dict())
        # Where a later run ends it all, what was measured before is still there.
        _write(core.CACHE / "partial.json", data)
    data["facts"]["runs repeated"] = str(len(data["repeated"]))


def _builds_part(wanted: plan.Scope, data: dict[str, t.Any]) -> None:
    from . import throughput

    data["builds"] = throughput.run(wanted.builds) if wanted.builds else {}


def _write(path: pathlib.Path, data: t.Mapping[str, t.Any]) -> None:
    """A sample a line: the file is read by people too."""
    rows = ",\n".join(f"    {json.dumps(row)}" for row in data["samples"])
    head = json.dumps({name: value for name, value in data.items() if name != "samples"}, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head[:-2]},\n  "samples": [\n{rows}\n  ]\n}}\n', encoding="utf-8")


def _grow(fleets: t.Mapping[str, fleet.Fleet], count: int) -> None:
    from . import fleet, measure

    say(f"starting {count} light stand-ins for each of {len(fleets)} fleets")
    for each in fleets.values():
        each.grow(count)
    fleet.write_inventory(fleets.values(), measure.FORKS)


def _samples(wanted: plan.Scope, fleets: t.Mapping[str, fleet.Fleet], repeated: list[str]) -> t.Iterator[Sample]:
    """Each run's, as it was made. repeated: gets the reason of each that had to be run again."""
    from . import measure

    def take(step: plan.Step) -> Sample:
        used = fleets[step.contender if step.contender in fleets else core.COLLECTION]
        sample = again(step, used, repeated)
        say(_line(step, sample))
        return sample

    _grow(fleets, wanted.hosts)
    steps = plan.main_part(wanted)
    for index, step in enumerate(steps):
        if plan.undone_before(steps, index):
            fleets[step.contender].undo()
        yield take(step)
    if wanted.most > wanted.hosts:
        _grow(fleets, wanted.most)
        # What is noted about a copy's Nix daemon is of another process; and where the copy was started right after it was made,
        # its configuration is about as new as its daemon, which is restarted then. Both settled once, it stays as it is.
        measure.converge(fleets[core.COLLECTION], wanted.hosts)
    for step in plan.growth_part(wanted):
        yield take(step)


def again(step: plan.Step, used: fleet.Fleet, repeated: list[str]) -> Sample:
    """The step's sample. One of a hundred runs on hundred hosts may stumble: it is made once more, and that is told."""
    from . import measure

    try:
        return measure.run(step.contender, step.case, used, step.hosts)
    except BenchError as problem:
        say(f"once more: {problem}")
        repeated.append(str(problem))
    if step.case == core.FIRST:
        used.undo()
    elif step.contender in (core.COLLECTION, core.BASELINE):
        measure.converge(used)
    return measure.run(step.contender, step.case, used, step.hosts)


def _line(step: plan.Step, sample: Sample) -> str:
    return (
        f"{step.contender:10} {step.case:19} {step.hosts:2} hosts: {sample.seconds:6.1f} s; per host {sample.executions:.1f} "
        f"executions, {sample.processes:.0f} processes, {sample.received / 1024:.0f} KiB in; controller {sample.cpu:.1f} s"
    )


def _facts() -> dict[str, str]:
    """Where and with what."""
    from . import measure

    def first(*argv: str | os.PathLike[str]) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\n")[0]

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = first("git", "-C", core.REPO, "describe", "--always", "--dirty", "--exclude", "*")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit,
        "machine": f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}",
        "Ansible": first(core.VENV / "bin/ansible", "--version").strip("ansible []") + f", Python {platform.python_version()}",
        "community.general": _community(),
        "Nix on the hosts": "2.26",
        "forks": str(measure.FORKS),
    }


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _community() -> str:
    for path in core.VENV.glob("lib/python3*/site-packages/ansible_collections/community/general/MANIFEST.json"):
        return str(json.loads(path.read_text(encoding="utf-8"))["collection_info"]["version"])
    return "unknown"
