# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A launchctl that plays a written script, and a clock that only moves when somebody waits."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_wait import Clock

PROGRAM = "/fake/launchctl"
Step = tuple[str, int, str, str]  # arguments joined by blanks, exit status, stdout, stderr


class ScriptRunner(Runner):
    """Each call must be the next of the script; `done` must be true in the end."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps = list(steps)
        self.calls: list[str] = []

    def run(self, argv: t.Sequence[str], **kwargs: t.Any) -> Completed:
        self.started += 1
        assert argv[0] == PROGRAM
        call = " ".join(argv[1:])
        self.calls.append(call)
        assert self.steps, f"one call too many: {call}; before it: {self.calls[:-1]}"
        expected, rc, out, err = self.steps.pop(0)
        assert call == expected, f"after {self.calls[:-1]}"
        return Completed(tuple(argv), rc, out, err)

    @property
    def done(self) -> bool:
        return not self.steps


class StillClock(Clock):
    """Seconds pass only in `sleep`."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.time += seconds


LABEL = "org.example.web"
TARGET = f"system/{LABEL}"


def shown(
    state: str,
    *,
    pid: int | None = None,
    runs: int = 1,
    last: str = "last exit code = (never exited)",
    path: str = "",
    throttle: int = 10,
    exit_timeout: int = 5,
    properties: str = "keepalive",
    target: str = TARGET,
) -> Step:
    """`print` of a loaded job."""
    lines = [f"{target} = {{", f"\tactive count = {int(pid is not None)}"]
    lines += [f"\tpath = {path}"] if path else []
    lines += [
        "\ttype = LaunchDaemon",
        f"\tstate = {state}",
        "",
        "\tprogram = /usr/local/bin/web",
        "\targuments = {",
        "\t\tx",
        "\t}",
    ]
    lines += ["", "\tdomain = system", f"\tminimum runtime = {throttle}", f"\texit timeout = {exit_timeout}", f"\truns = {runs}"]
    lines += [f"\tpid = {pid}"] if pid else []
    lines += [f"\t{last}", f"\tproperties = {properties}", "}", ""]
    return (f"print {target}", 0, "\n".join(lines), "")


def running(pid: int = 100, **more: t.Any) -> Step:
    """`print` of a running job."""
    return shown("running", pid=pid, **more)


def gone(target: str = TARGET) -> Step:
    """`print` of an unknown label."""
    words = f'Bad request.\nCould not find service "{target}" in domain for system\n'
    return (f"print {target}", 113, "", words)


def overrides(era: int = 15, domain: str = "system", **labels: bool) -> Step:
    """`print-disabled`; labels with `_` for `.`, true for disabled; the words of the era."""
    named = {label.replace("_", "."): disabled for label, disabled in labels.items()}
    if era >= 13:
        rows = "".join(f'\t\t"{label}" => {"disabled" if off else "enabled"}\n' for label, off in named.items())
        return (f"print-disabled {domain}", 0, f"\n\tdisabled services = {{\n{rows}\t}}\n", "")
    rows = "".join(f'\t"{label}" => {str(off).lower()}\n' for label, off in named.items())
    return (f"print-disabled {domain}", 0, f"disabled services = {{\n{rows}}}\n", "")


def step(arguments: str, rc: int = 0, err: str = "") -> Step:
    """Any other call."""
    return (arguments, rc, "", err)
