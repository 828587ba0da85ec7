# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The launchctl command of macOS 13 and later: one method per verb, exit codes by name."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import (
    Service,
    parse_disabled,
    parse_print,
)

LAUNCHCTL = "/bin/launchctl"
CALL_TIMEOUT = 30.0  # seconds for one launchctl process; it answers in milliseconds unless launchd hangs

# Exit statuses that a decision hangs on. Below 107 they are errno.
NOT_PERMITTED = 1
NO_SUCH_PROCESS = 3
INPUT_OUTPUT = 5  # from macOS 14 on one answer to five different troubles: never decide from it alone
IN_PROGRESS = 36  # bootout: takes longer
ALREADY = 37  # bootstrap: already loaded; kickstart: already running
USAGE = 64
NO_DOMAIN = 112
NO_SERVICE = 113
DISABLED = 119
NOT_IN_DOMAIN = 125
PROTECTED = 150

EXIT_NAMES: dict[int, str] = {
    1: "Operation not permitted",
    3: "No such process",
    5: "Input/output error",
    36: "Operation now in progress",
    37: "Operation already in progress",
    64: "usage",
    107: "malformed bundle",
    108: "invalid path",
    109: "invalid property list",
    110: "invalid or missing service identifier",
    111: "invalid or missing Program/ProgramArguments",
    112: "could not find specified domain",
    113: "could not find specified service",
    114: "no such user",
    115: "no such group",
    119: "service is disabled",
    122: "path had bad ownership/permissions",
    124: "domain is tearing down",
    125: "domain does not support specified action",
    134: "service cannot load in requested session",
    150: "not permitted while System Integrity Protection is engaged",
    155: "quarantined",
    159: "unknown error, or refused by the sandbox",
    161: "refused by Background Task Management",
}


class DomainMissing(CommandError):
    """The domain does not exist: nobody with that uid is logged in at the screen."""


class Launchctl:
    """Runs launchctl. Reading methods return what was found; writing ones the finished process to judge.

    A target is `<domain>/<label>`, a domain `system`, `gui/<uid>` or `user/<uid>`.
    """

    def __init__(self, runner: Runner, program: str = LAUNCHCTL) -> None:
        self.runner = runner
        self.program = program

    def _run(self, *arguments: str) -> Completed:
        return self.runner.run([self.program, *arguments], timeout=CALL_TIMEOUT)

    def print_service(self, target: str) -> Service | None:
        """The loaded job, None when launchd does not know the label.

        Raises DomainMissing (112, 125), CommandError for everything else that is not an answer.
        """
        done = self._run("print", target)
        if done.rc == 0:
            return parse_print(target, done.stdout)
        if done.rc == NO_SERVICE:
            return None
        if done.rc in (NO_DOMAIN, NOT_IN_DOMAIN):
            raise DomainMissing(f"{target}: launchd has no such domain now: {done.words}", rc=done.rc)
        raise self.error(done)

    def print_disabled(self, domain: str) -> dict[str, bool]:
        """The override database of the domain: label -> True for disabled; a label not in it has no override."""
        done = self._run("print-disabled", domain)
        if done.rc in (NO_DOMAIN, NOT_IN_DOMAIN):
            raise DomainMissing(f"{domain}: launchd has no such domain now: {done.words}", rc=done.rc)
        return parse_disabled(self.checked(done).stdout)

    def bootstrap(self, domain: str, path: str) -> Completed:
        """Load the job of a property list. 0 says nothing about its process; 5 says nothing at all."""
        return self._run("bootstrap", domain, path)

    def bootout(self, target: str) -> Completed:
        """Unload the job. Returns before its process is dead: poll `print_service` until None."""
        return self._run("bootout", target)

    def enable(self, target: str) -> Completed:
        """Note in the override database that the job may be loaded. Starts nothing."""
        return self.checked(self._run("enable", target))

    def disable(self, target: str) -> Completed:
        """Note in the override database that the job may not be loaded. Stops nothing."""
        return self.checked(self._run("disable", target))

    def kickstart(self, target: str, *, kill: bool = False) -> Completed:
        """Start the job's process now; `kill` ends a running one first. The property list is not read again."""
        return self._run("kickstart", *(["-k"] if kill else []), target)

    def kill(self, signal: str, target: str) -> Completed:
        """Send a signal (`SIGTERM`, `TERM` or a number) to the job's process; 3 when it has none."""
        return self._run("kill", signal, target)

    def checked(self, done: Completed, accept: t.Container[int] = (0,)) -> Completed:
        """The process if its exit status is among `accept`, else CommandError."""
        if done.rc not in accept:
            raise self.error(done)
        return done

    @staticmethod
    def error(done: Completed) -> CommandError:
        """A CommandError that says what was run, what launchctl said, and what to do about it."""
        call = " ".join(("launchctl",) + done.argv[1:])
        return CommandError(f"{call}: exit {explain(done)}. {_advice(done.rc)}", rc=done.rc)


def explain(done: Completed) -> str:
    """`5 (Input/output error): <launchctl's own words>` for a message."""
    name = EXIT_NAMES.get(done.rc)
    text = str(done.rc) if name is None else f"{done.rc} ({name})"
    words = " / ".join(filter(None, (line.strip() for line in done.words.split("\n"))))
    return f"{text}: {words}" if words else text


def _advice(rc: int) -> str:
    if rc == PROTECTED:
        return "macOS protects its own services; choose another label."
    if rc == NOT_PERMITTED:
        return "Run as root (become: true); macOS' own services cannot be changed even so."
    if rc == USAGE:
        return "Check the label and the domain."
    return "See `launchctl print` on the host and /var/log/com.apple.xpc.launchd/launchd.log."
