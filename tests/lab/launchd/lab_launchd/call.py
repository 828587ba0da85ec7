# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of launchctl: who asks, what was said, and the answer (at once or later)."""

from __future__ import annotations

import os
import typing as t

from lab_launchd.facts import EX_USAGE, NO_DOMAIN, NO_SERVICE, LaunchError, describe
from lab_launchd.job import Job
from lab_launchd.manager import Domain, Manager

Answer = t.Callable[[str, str, int], None]


class UsageError(Exception):
    """A malformed call: `text` goes to stderr, exit status 64."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Refused(Exception):
    """A call that ends with this message on stderr and this exit status."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.text = text
        self.number = number


class Target:
    """`system`, `gui/501/label` ... split; `label` is None for a whole domain."""

    def __init__(self, kind: str, uid: int | None, label: str | None) -> None:
        self.kind = kind
        self.uid = uid
        self.label = label

    @property
    def words(self) -> str:
        """How messages call the domain."""
        if self.kind == "gui":
            return f"user gui: {self.uid}"
        return f"uid: {self.uid}" if self.kind == "user" else self.kind


def parse_target(text: str) -> Target:
    """UsageError when it is none. Domains that the stand-in lacks parse too and are not found later."""
    kind, slash, rest = text.partition("/")
    if kind == "system":
        # `system/` is the man page's own form of the bare domain.
        if slash and "/" in rest:
            raise UsageError("Unrecognized target specifier.")
        return Target(kind, None, rest or None)
    if kind in ("gui", "user", "login", "pid", "session"):
        number, dummy, label = rest.partition("/")
        if number.isdigit() and "/" not in label:
            return Target(kind, int(number), label or None)
    raise UsageError("Unrecognized target specifier.")


class Call:
    """Everything a command needs. Commands call `answer` exactly once."""

    def __init__(self, manager: Manager, words: list[str], uid: int, cwd: str, answer: Answer) -> None:
        self.manager = manager
        self.era = manager.config.era
        self.command = words[0]
        self.words = words[1:]
        self.uid = uid
        self.cwd = cwd
        self.answer = answer

    @property
    def root(self) -> bool:
        """Whether the caller may change the system domain."""
        return self.uid == 0

    def ok(self, text: str = "") -> None:
        """Success."""
        self.answer(text, "", 0)

    def fail(self, text: str, number: int) -> None:
        """Failure with a message line (or none)."""
        self.answer("", text + "\n" if text else "", number)

    def path(self, text: str) -> str:
        """A path argument as the daemon sees it."""
        return os.path.join(self.cwd, text)

    def may_change(self, target: Target) -> bool:
        """root everything, others their own domains."""
        return self.root or (target.kind in ("gui", "user") and target.uid == self.uid)

    def session(self) -> Domain:
        """The caller's own domain, which the legacy verbs use."""
        if self.root:
            return self.manager.system
        kind = "gui" if self.uid in self.manager.config.aqua_callers else "user"
        return self.manager.domain(kind, self.uid)

    def target(self, usage: str, want_label: bool = True) -> Target:
        """The last word as a target."""
        if not self.words:
            raise UsageError(usage)
        try:
            target = parse_target(self.words[-1])
        except UsageError as error:
            raise UsageError(f"{error.text}\n{usage}") from None
        if want_label and target.label is None:
            raise UsageError(f"Unrecognized target specifier.\n{usage}")
        return target

    def find(self, target: Target, prefix: str = "") -> Job:
        """The job, or Refused with 112, 113 or 125."""
        domain = self.find_domain(target, prefix)
        job = domain.jobs.get(target.label or "")
        if job is None:
            text = f'Could not find service "{target.label}" in domain for {target.words}'
            raise Refused(prefix + text, NO_SERVICE)
        return job

    def find_domain(self, target: Target, prefix: str = "") -> Domain:
        """The domain, or Refused with 112 or 125."""
        try:
            return self.manager.domain(target.kind, target.uid)
        except LaunchError as error:
            if error.number == NO_DOMAIN:
                raise Refused(f"{prefix}Could not find domain for {target.words}", NO_DOMAIN) from None
            raise Refused(prefix + describe(error.number), error.number) from None


def run(call: Call, table: dict[str, t.Callable[[Call], None]]) -> None:
    """Look the command up and run it; every outcome becomes one answer."""
    command = table.get(call.command)
    if command is None:
        call.fail(f"Unrecognized subcommand: {call.command}", 1)
        return
    try:
        command(call)
    except UsageError as error:
        call.fail(error.text, EX_USAGE)
    except Refused as error:
        call.fail(error.text, error.number)
    except LaunchError as error:
        call.fail(describe(error.number), error.number)
