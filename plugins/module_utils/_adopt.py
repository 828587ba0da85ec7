# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""builder_adopt: find a builder that others set up, take it over, or give its entries back.

What was found is written to the manifest first; from then on each step looks for itself whether it is done, so that a run
that was killed is completed by the next one.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_plan, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_apply import Adoption
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import Seeker
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Carry out one task of builder_adopt. Raises the collection's errors."""
    if os.geteuid() != 0:
        raise StateError("builder_adopt: needs root, because VM, disk and keys are root's. Set become: true.")
    if params["state"] == "absent":
        return _give_back(check_mode)
    options = _adopt_plan.options_from(params)
    manifest, runner = Manifest(), Runner()
    seeker = Seeker(runner, options.label, options.working_directory)
    plan = _adopt_plan.make_plan(options, seeker, manifest)
    if plan is None:
        return Outcome(False, {"found": [], "actions": []}, "", "")
    if not check_mode:
        Adoption(options, plan, manifest, runner, seeker).run()
    result = {"found": [dataclasses.asdict(plan.found)], "actions": plan.actions}
    before, after = f"{plan.found.words}\n", "".join(f"{action}\n" for action in plan.actions)
    return Outcome(True, result, before, after, options.working_directory, list(plan.warnings))


def _give_back(check_mode: bool) -> Outcome:
    """state=absent: the entries that were taken out stand in their files again."""
    edits = _adopt_plan.entries_to_give_back()
    for edit in [] if check_mode else edits:
        _files.write(edit.snapshot.path, edit.content, _files.Ownership(), expected=edit.snapshot, keep_acl=True)
    actions = [f"put the old builder's entry back into {edit.snapshot.path}" for edit in edits]
    text = "".join(f"{action}\n" for action in actions)
    return Outcome(bool(edits), {"found": [], "actions": actions}, "", text, _adopt_plan.NIX_CONF)
