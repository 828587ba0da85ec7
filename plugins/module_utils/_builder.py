# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the module builder_vm does, from its options to its result."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_apply,
    _builder_change,
    _builder_change_plan,
    _builder_look,
    _builder_ready,
    _builder_start,
    _newsyslog,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_tools import Tools
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import read_image
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current, Plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation, read_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec, layout_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_turn import Turn
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress


def execute(params: dict[str, t.Any], check_mode: bool, progress: Progress = SILENT) -> Outcome:
    """Bring the builder to the state that was asked for. Raises the collection's errors."""
    _builder_look.require_root()
    runner = Runner()
    if params["state"] in ("present", "staged", "running") and not check_mode:
        layout = layout_from(params)
        Manifest().claim_tree("builder", layout.working_directory, (layout.profile, layout.log_path, _newsyslog.path(layout)))
    states = {
        "present": _present,
        "running": _running,
        "staged": _staged,
        "ready": _ready,
        "started": _started,
        "stopped": _stopped,
        "absent": _absent,
    }
    outcome = states[params["state"]](params, runner, check_mode, progress)
    directory = layout_from(params).working_directory
    if params["state"] in ("present", "running"):
        _builder_look.hold_out(outcome, directory, True, runner, check_mode)
    elif params["state"] == "absent" and directory not in outcome.result["removed"]:
        # It stays for what is not the builder's, or for the disk that was to be kept.
        _builder_look.hold_out(outcome, directory, False, runner, check_mode)
    return outcome


def _running(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    spec = _builder_look.read_spec(params, runner)
    changer = _builder_change.Changer(spec, Tools(runner=runner), progress)
    report = changer.run(check_mode)
    change, current, ready = report.change, report.current, report.ready
    result = _result(spec, change.files, current, report.realised, check_mode)
    result.update(
        built=changer.deployment.session.built,
        ready=ready is not None,
        boot_id=ready.boot_id if ready else None,
        seconds=ready.seconds if ready else None,
        phases=list(change.phases if check_mode and change.changed else report.taken),
        restarted=_builder_change_plan.STOP in change.phases,
        why=list(change.why),
        rolled_back=False,
    )
    return Outcome(
        changed=change.changed,
        result=result,
        before=change.before,
        after=change.after,
        header=spec.layout.working_directory,
        warnings=report.warnings,
    )


def _started(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    return _builder_start.execute(params, Tools(runner=runner), check_mode, progress)


def _stopped(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    layout = layout_from(params)
    waits = {"drain_timeout": params["drain_timeout"], "stop_timeout": params["stop_timeout"]}
    turn = _turn(params, check_mode, progress)
    change = {"uri": params["uri"], "force": params["force"], "progress": progress}
    stopped = _builder_change.stop(layout, Tools(runner=runner), turn, **change, **waits)
    return Outcome(
        changed=stopped,
        before="VM: loaded\n" if stopped else "",
        after="VM: not loaded\n" if stopped else "",
        header=layout.label,
        warnings=[] if turn is None else turn.warnings,
    )


def _turn(params: t.Mapping[str, t.Any], check_mode: bool, progress: Progress) -> Turn | None:
    """For what others' work is not to be mixed up with; None in check mode."""
    if check_mode:
        return None
    return Turn(layout_from(params), wait=float(params["drain_timeout"]), force=bool(params["force"]), progress=progress)


def _present(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    spec = _builder_look.read_spec(params, runner)
    deployment = _builder_apply.Deployment(spec, runner, progress=progress)
    plan, current, realised = deployment.run(check_mode)
    return Outcome(
        changed=plan.changed,
        result={
            **_result(spec, plan, current, realised, check_mode),
            "built": deployment.session.built,
            "ready": False,
        },
        before=plan.before,
        after=plan.after,
        header=spec.layout.working_directory,
        warnings=_disk_warnings(spec, current),
    )


def _result(spec: Spec, plan: Plan, current: Current, realised: Realised | None, check_mode: bool) -> dict[str, t.Any]:
    """What V(present) and V(running) both return."""
    generation = current.generation if check_mode else read_generation(spec.layout.profile)
    return {
        "store_path": plan.store_path,
        "generation": generation.number,
        "package": realised.locked if realised else None,
        "runner": spec.layout.runner,
        "definition": plan.definition,
        "cores": spec.cores,
        "memory_mib": spec.memory_mib,
        "disk_mib": _disk_mib(spec) or spec.disk_mib,
    }


def _disk_mib(spec: Spec) -> int | None:
    """What the disk has now, which a change may have given it."""
    image = read_image(spec.layout.disk)
    return image.size_mib if image else None


def _disk_warnings(spec: Spec, current: Current) -> list[str]:
    if not (spec.disk_mib and current.disk_mib) or spec.disk_mib == current.disk_mib:
        return []
    return [
        f"{spec.layout.disk}: has {current.disk_mib} MiB, not the {spec.disk_mib} of disk_mib; an existing data disk is not "
        "resized by state: present. Use state: running for that."
    ]


def _staged(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    spec = _builder_look.read_spec(params, runner)
    deployment = _builder_apply.Deployment(spec, runner, progress=progress)
    staged = deployment.stage(check_mode)
    return Outcome(
        changed=staged.root,
        result={
            "store_path": staged.store_path,
            "built": deployment.session.built,
            "pinned": staged.before,
            "pin_changes": staged.before is not None and staged.before != staged.after,
            "previous": staged.previous,
        },
        before="",
        after=f"root of {staged.store_path or 'what will be realised'}\n" if staged.root else "",
        header=spec.layout.staged,
    )


def _ready(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    layout = layout_from(params)
    record = read_record(layout)
    generation = read_generation(layout.profile)
    result: dict[str, t.Any] = {
        "store_path": generation.store_path,
        "generation": generation.number,
        "package": record.get("locked"),
        "ready": False,
    }
    if check_mode:
        return Outcome(changed=False, result=result)
    if not record:
        raise StateError(
            f"{layout.record}: is missing, so there is no builder to wait for. Run builder_vm with state: present first."
        )
    progress.phase("ready")
    guest = Guest(layout, params["host_address"], params["port"], params["client_key"])
    ready = _builder_ready.wait_until_ready(guest, runner, params["timeout"])
    return Outcome(changed=False, result=dict(result, ready=True, boot_id=ready.boot_id, seconds=ready.seconds))


def _absent(params: dict[str, t.Any], runner: Runner, check_mode: bool, progress: Progress) -> Outcome:
    turn = _turn(params, check_mode, progress)
    removal = _builder_apply.remove(params, runner, None if turn is None else turn.taken())
    layout = layout_from(params)
    warnings = [] if turn is None else turn.warnings
    if removal.foreign:
        warnings.append(
            f"{layout.working_directory}: stays, because it holds what is not the builder's: {', '.join(removal.foreign)}."
        )
    return Outcome(
        changed=removal.changed,
        result={"removed": sorted((*removal.paths, *removal.trees, *removal.empty_directories))},
        before=removal.before,
        after="",
        header=layout.working_directory,
        warnings=warnings,
    )
