# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds up the closing lines of all pytest runs in a directory of logs, and the stages that ran no pytest.

Prints what the failed stages say of their reasons, for those who are shown the end of the output only, and
"N passed, N failed, N skipped" alone on the last line; exit status 1 if anything failed or nothing ran.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

_CLOSING = re.compile(r"^=*\s*(?P<counts>\d+ \w+(?:, \d+ \w+)*) in [\d.]+s(?: \([\d:]+\))?\s*=*$")
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REASON = re.compile(r"^(?:E  |FAILED |ERROR|lab: |fatal: |\[ERROR\]|stderr:|msg:|Error: )|\"(?:msg|stderr)\": |: error: ")
_REASONS = 12
_WIDTH = 600
_KIND = {"passed": "passed", "xfailed": "passed", "skipped": "skipped"}


def count(text: str) -> dict[str, int]:
    """The tests that the pytest runs in one log closed with, by passed, failed, skipped."""
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for line in _COLOUR.sub("", text).splitlines():
        closing = _CLOSING.match(line.strip())
        for number, word in _COUNT.findall(closing["counts"]) if closing else ():
            total[_KIND.get(word, "failed")] += int(number)
    return total


def reasons(text: str) -> list[str]:
    """The last lines of a log that name a reason, shortened."""
    lines = (line.strip() for line in _COLOUR.sub("", text).splitlines())
    return [line[:_WIDTH] for line in lines if _REASON.search(line)][-_REASONS:]


def main(arguments: list[str]) -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("logs", type=Path)
    parser.add_argument("--stages-passed", type=int, default=0)
    parser.add_argument("--failed", type=Path, action="append", default=[], help="log of a stage that failed")
    options = parser.parse_args(arguments)
    totals = [count(path.read_text(errors="replace")) for path in sorted(options.logs.glob("*.log"))]
    # A stage counts as one test of its own: lint and sanity have no pytest to count, and a stage can fail around its tests.
    passed = sum(total["passed"] for total in totals) + options.stages_passed
    failed = sum(total["failed"] for total in totals) + len(options.failed)
    for log in options.failed:
        print("\n".join([f"{log.stem}:", *(f"    {line}" for line in reasons(log.read_text(errors="replace")))]))
    print(f"{passed} passed, {failed} failed, {sum(total['skipped'] for total in totals)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
