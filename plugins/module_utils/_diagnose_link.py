# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The shapes of the diagnosis: a link, the ways in which it breaks, and what was found of it."""

from __future__ import annotations

import dataclasses
import typing as t

SITE = "ansible-playbook nixmac.linux_builder.site"


class Cause(t.NamedTuple):
    """One way in which a link breaks. weak: builds are made all the same, but not well, or not for long."""

    code: str
    says: str
    fix: str
    weak: bool = False


class Link(t.NamedTuple):
    """One link. needs: links without which this one cannot be looked at."""

    name: str
    checks: str
    needs: tuple[str, ...]
    causes: tuple[Cause, ...]

    def cause(self, code: str) -> Cause:
        """The cause with this code; KeyError for one that the table lacks."""
        for cause in self.causes:
            if cause.code == code:
                return cause
        raise KeyError(f"{self.name}.{code}")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A broken link: which of its causes, the evidence for a reader, and the words that its fix is filled in with."""

    code: str
    evidence: str
    values: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


class Result(t.NamedTuple):
    """What was found of one link. state: ok | weak | broken | not_checked. seconds: that looking took."""

    link: Link
    state: str
    cause: Cause | None = None
    evidence: str = ""
    fix: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, t.Any]:
        """For a module's result."""
        return {
            "name": self.link.name,
            "checks": self.link.checks,
            "state": self.state,
            "cause": self.cause.code if self.cause else None,
            "says": self.cause.says if self.cause else "",
            "evidence": self.evidence,
            "fix": self.fix,
            "seconds": round(self.seconds, 2),
        }

    @property
    def sentence(self) -> str:
        """The link, what is wrong with it, the evidence and the fix, for the message of an error."""
        says = self.cause.says if self.cause else ""
        evidence = f" ({self.evidence.rstrip('.')})" if self.evidence else ""
        return f"{self.link.name}: {says.rstrip('.')}{evidence}. {self.fix}"
