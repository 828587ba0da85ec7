# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What `launchctl print` and `launchctl print-disabled` say, read without trust.

Apple calls neither output an interface, and arguments and environment values are printed raw: a
multi-line shell argument may hold a brace in the first column or a line that looks like a field. So no
brace is counted, only lines with exactly one tab are fields, and the fields behind the environment
block are looked for after the last `domain` line, which no argument can follow. No input raises.
"""

from __future__ import annotations

import re
import typing as t

_FIELD = re.compile(r"\t([^\t=][^=]*?) = (.*)")
_NUMBER = re.compile(r"\s*([0-9]{1,18})\b")
_SIGNAL = re.compile(r"(?:.*:\s*)?([0-9]{1,3})\s*")
_OVERRIDE = re.compile(r'\t{1,2}"(.*)" => (enabled|disabled|true|false)\s*')

# The first raw block: what precedes it was printed by launchd alone.
_RAW_BLOCKS = ("arguments", "inherited environment", "default environment", "environment")
# A service that is on its way out: the pid may still be shown, and bootstrap is refused meanwhile.
STOPPING = frozenset(("SIGTERMed", "SIGKILLed", "languishing"))
# A process exists, or is being made this very moment.
RUNNING = frozenset(("running", "spawning", "xpcproxy"))


class Service(t.NamedTuple):
    """One loaded launchd job, as `launchctl print <target>` shows it; None where nothing is shown.

    target: `<domain>/<label>` as asked for. state: launchd's own word (`running`, `not running`,
    `spawn scheduled`, `SIGTERMed`, ...), empty if none was printed. minimum_runtime, exit_timeout,
    run_interval: seconds. last_exit_code, last_signal: of the previous run, so a running job may show
    one. path: None for a job without a file; `submitted_by` then names the submitter.
    """

    target: str
    path: str | None = None
    type: str | None = None
    state: str = ""
    program: str | None = None
    pid: int | None = None
    runs: int | None = None
    last_exit_code: int | None = None
    last_signal: int | None = None
    last_exit_reason: str | None = None
    immediate_reason: str | None = None
    minimum_runtime: int | None = None
    exit_timeout: int | None = None
    run_interval: int | None = None
    submitted_by: str | None = None
    properties: frozenset[str] = frozenset()

    @property
    def domain(self) -> str:
        """`system`, `gui/<uid>` or `user/<uid>`."""
        return self.target.rpartition("/")[0]

    @property
    def label(self) -> str:
        """The job's label."""
        return self.target.rpartition("/")[2]

    @property
    def running(self) -> bool:
        """Whether a process of the job exists and is not being stopped."""
        return self.state in RUNNING

    @property
    def stopping(self) -> bool:
        """Whether launchd is waiting for the job's process to die."""
        return self.state in STOPPING


def parse_print(target: str, text: str) -> Service:
    """Read the standard output of `launchctl print <target>`; never raises, whatever the text."""
    head, tail = _fields(text)
    path = head.get("path")
    submitted = path is not None and path.startswith("(")
    return Service(
        target=target,
        path=None if submitted else path,
        type=head.get("type"),
        state=head.get("state", "").strip(),
        program=head.get("program"),
        pid=_number(tail.get("pid")),
        runs=_number(tail.get("runs")),
        last_exit_code=_number(tail.get("last exit code")),
        last_signal=_signal(tail.get("last terminating signal")),
        last_exit_reason=tail.get("last exit reason"),
        immediate_reason=tail.get("immediate reason"),
        minimum_runtime=_number(tail.get("minimum runtime")),
        exit_timeout=_number(tail.get("exit timeout")),
        run_interval=_number(tail.get("run interval")),
        submitted_by=path.strip("()") if submitted and path is not None else None,
        properties=frozenset(filter(None, (word.strip() for word in tail.get("properties", "").split("|")))),
    )


def _fields(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """(fields before the first raw block, fields from the last `domain` line on); the first of a name wins.

    Without a `domain` line (macOS 10.15, or a text that was cut) the second dict covers the whole text.
    """
    lines = text.split("\n")
    fields = [(number, match.group(1), match.group(2)) for number, match in _matches(lines)]
    raw = min((number for number, name, value in fields if name in _RAW_BLOCKS and value == "{"), default=len(lines))
    start = max((number for number, name, _value in fields if name == "domain"), default=0)
    head: dict[str, str] = {}
    tail: dict[str, str] = {}
    for number, name, value in fields:
        if number < raw:
            head.setdefault(name, value)
        if number >= start:
            tail.setdefault(name, value)
    return head, tail


def _matches(lines: list[str]) -> t.Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(lines):
        match = _FIELD.fullmatch(line)
        if match is not None:
            yield number, match


def _number(text: str | None) -> int | None:
    """The number a value begins with (`3600 seconds`, `78: EX_CONFIG`); None for `(never exited)`."""
    match = _NUMBER.match(text or "")
    return None if match is None else int(match.group(1))


def _signal(text: str | None) -> int | None:
    """15 for `Terminated: 15`."""
    match = _SIGNAL.fullmatch(text or "")
    return None if match is None else int(match.group(1))


def parse_disabled(text: str) -> dict[str, bool]:
    """Read `launchctl print-disabled <domain>`: label -> True where the override says disabled.

    macOS 13 and later print `disabled` and `enabled`; 12 and older `true` and `false`, true meaning
    disabled. Labels without an override are not listed. Never raises.
    """
    overrides: dict[str, bool] = {}
    for line in text.split("\n"):
        # Newer systems append login items, whose values are other words; the header ends the section.
        if "login item associations" in line and line.rstrip().endswith("{"):
            break
        match = _OVERRIDE.fullmatch(line)
        if match is not None:
            overrides[match.group(1)] = match.group(2) in ("disabled", "true")
    return overrides
