# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The diagnosis: link by link from the Mac to a Linux build, which one is broken, and what to do.

It reads only, is bounded in time, shows no secret, and starts few programs: one ssh session asks the guest everything.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_guest as _guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_mac as _host
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_vm as _vm
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Finding, Link, Result
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac import Mac
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import BoundedRunner, OutOfTime, Question
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table import LINKS
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError

Rule = t.Callable[[Mac], t.Optional[Finding]]

RULES: dict[str, Rule] = {
    "macos": _host.macos,
    "virtualization": _host.virtualization,
    "nix": _host.nix,
    "nix_conf": _host.nix_conf,
    "nix_daemon": _host.nix_daemon,
    "mac_disk": _host.mac_disk,
    "setup": _host.setup,
    "builders": _host.builders,
    "entry": _host.entry,
    "daemon_config": _host.daemon_config,
    "trusted_users": _host.trusted_users,
    "key": _vm.key,
    "files": _vm.files,
    "alias": _host.alias,
    "port": _vm.port,
    "job": _vm.job,
    "process": _vm.process,
    "ssh": _guest.ssh,
    "host_key": _guest.host_key,
    "login": _guest.login,
    "guest_nix": _guest.guest_nix,
    "guest_trust": _guest.guest_trust,
    "guest_disk": _guest.guest_disk,
    "guest_memory": _guest.guest_memory,
    "clock": _guest.clock,
    "guest_ca": _guest.guest_ca,
    "guest_dns": _guest.guest_dns,
    "offers": _guest.offers,
    "locks": _vm.locks,
}


def run(question: Question, runner: BoundedRunner | None = None) -> list[Result]:
    """Look at every link, in order. Raises ConfigError for a URI that is no ssh store, and nothing else."""
    _uri = question.host
    mac = Mac(question, runner or BoundedRunner(question.budget))
    results: dict[str, Result] = {}
    for link in LINKS:
        results[link.name] = _look(link, mac, results)
    return list(results.values())


def _look(link: Link, mac: Mac, before: t.Mapping[str, Result]) -> Result:
    missing = [name for name in link.needs if before[name].state not in ("ok", "weak") and _cuts(before[name], link)]
    if missing:
        return Result(link, "not_checked", evidence=f"needs {missing[0]}")
    began = time.monotonic()
    try:
        finding = RULES[link.name](mac)
    except OutOfTime:
        return Result(link, "not_checked", evidence="no time left")
    except (LinuxBuilderError, OSError) as exc:
        return Result(link, "not_checked", evidence=f"cannot be looked at: {exc}", seconds=time.monotonic() - began)
    seconds = time.monotonic() - began
    if finding is None:
        return Result(link, "ok", seconds=seconds)
    cause = link.cause(finding.code)
    values = {"nix": mac.nix.path if mac.nix else "nix", **finding.values}
    fix = cause.fix.format_map(_Words(values))
    return Result(link, "weak" if cause.weak else "broken", cause, " ".join(finding.evidence.split()), fix, seconds)


# (broken link, cause) -> later links that can be looked at all the same, though they need it.
_OPEN: dict[tuple[str, str], frozenset[str]] = {
    ("entry", "feature"): frozenset(("host_key", "offers", "locks")),
    ("entry", "system"): frozenset(("host_key", "locks")),
    ("entry", "no_jobs"): frozenset(("host_key", "offers")),
    ("files", "runner"): frozenset(("login",)),
    ("files", "closure"): frozenset(("login",)),
    ("files", "known_hosts"): frozenset(("login",)),
}


def _cuts(result: Result, link: Link) -> bool:
    """Whether a broken link keeps a later one from being looked at."""
    return result.cause is None or link.name not in _OPEN.get((result.link.name, result.cause.code), ())


class _Words(dict[str, str]):
    """Words for a fix; one that was not found stays as it stands in the table."""

    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


def first_broken(results: t.Sequence[Result]) -> Result | None:
    """The link to begin with; None when none is broken."""
    return next((result for result in results if result.state == "broken"), None)


def culprit(results: t.Sequence[Result]) -> Result | None:
    """What most likely kept a build from being made: the first broken link, or else the first weak one."""
    return first_broken(results) or next((result for result in results if result.state == "weak"), None)
