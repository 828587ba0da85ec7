# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the module nix_daemon does, from its options to its result."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import RESTART_TIMEOUT, Daemon, Options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._lock import WAIT
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Bring the daemon to its configuration."""
    options = Options(
        label=params["label"],
        drain_timeout=params["drain_timeout"],
        force=params["force"],
        record=params["record"],
        pending=params["pending"],
        forget=params["state"] == "forgotten",
    )
    report = Daemon(options).run(check_mode)
    decision = report.decision
    restart = report.restarted or (check_mode and decision.required)
    warnings = []
    if report.deferred:
        warnings.append(
            f"{report.label}: not restarted, because builds are running: {', '.join(report.running)}. "
            "It still uses its old configuration. Run again later, or with force: true."
        )
    return Outcome(
        changed=restart or report.forgotten,
        result={
            "label": report.label,
            "required": decision.required,
            "restarted": report.restarted,
            "deferred": report.deferred,
            "reason": decision.reason,
            "running": report.running,
        },
        before=f"{report.label}: {decision.reason}\n" if restart else "",
        after=f"{report.label}: restarted\n" if restart else "",
        header=f"launchd job {report.label}",
        warnings=warnings,
    )


def lock(params: dict[str, t.Any]) -> tuple[str, float]:
    """Only one run restarts the daemon; the next finds it restarted."""
    return "/nix/var/nix", float(params["drain_timeout"]) + RESTART_TIMEOUT + WAIT
