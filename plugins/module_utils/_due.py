# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a role does on a Mac where its plan is empty: why it may not be left out there, in words; empty where it may.

A module that changes nothing still claims its files for teardown, waits for the VM, clears away what a run that was killed
left behind, and notes down what the Nix daemon started with.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_answer, _newsyslog
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import layout_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest


def unclaimed(part: str, paths: t.Iterable[str]) -> str:
    """Files that teardown does not know as this collection's."""
    contents = Manifest().read()
    known = contents.entries if contents.there and not contents.broken else {}
    missing = [path for path in paths if path not in known]
    return f"{', '.join(missing)}: not in the manifest of the part {part}" if missing else ""


def remarks(warnings: t.Sequence[str]) -> str:
    """A module's warnings, which a run without the role would not show."""
    return "it has something to say" if warnings else ""


def builder(options: t.Mapping[str, t.Any], runner: Runner) -> str:
    """The VM that is as it was asked for: does it answer, and did all runs before this one end?"""
    layout = layout_from(options)
    if options["update"]:
        return "package_update asks for the newest revision"
    return _left_behind(layout) or _silent(layout, options, runner) or unclaimed("builder", _claimed(layout))


def _claimed(layout: Layout) -> tuple[str, ...]:
    return (layout.working_directory, layout.profile, layout.log_path, _newsyslog.path(layout))


def _left_behind(layout: Layout) -> str:
    there = [path for path in (layout.journal, layout.staged) if os.path.lexists(path)]
    return f"{there[0]}: an earlier run did not end" if there else ""


def _silent(layout: Layout, options: t.Mapping[str, t.Any], runner: Runner) -> str:
    guest = _builder_answer.Guest(layout, options["host_address"], options["port"], options["client_key"])
    answer = _builder_answer.ask(guest, runner, _builder_answer.LOOK_SECONDS)
    return "" if answer.kind == "ready" else f"the VM is not ready ({answer.kind})"


def daemon(report: Report) -> str:
    """The Nix daemon that needs no restart: does it run, and is it known what it started with?"""
    if not report.alive:
        return "the Nix daemon does not run"
    return "" if report.noted else "it is not noted what the Nix daemon started with"
