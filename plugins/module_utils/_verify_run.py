# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the module builder_verify does, from its options to its result: verify, note it down, and diagnose a failure."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_run, _machines_effective, _verified, _verify
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import text_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_effective import Machine
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target

_NOTHING: dict[str, t.Any] = {"verified": False, "boot_id": "", "versions": {}, "builds": [], "recorded": False}


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Build and prove; nothing in check mode, when there may be no builder yet."""
    if check_mode:
        return Outcome(changed=False, result=dict(_NOTHING))
    runner = Runner()
    try:
        entry = _entry(params, runner)
        target = _target(params, entry)
        systems = params["systems"] or [s for s in (entry.systems if entry else ()) if s.endswith("-linux")]
        features = params["features"] if params["features"] is not None else list(entry.features if entry else ())
        found = _verify.verify(
            target,
            _wanted(systems, target),
            params["timeout"],
            params["boot_timeout"],
            runner,
            features=features,
            mandatory=entry.mandatory if entry else params["mandatory_features"] or (),
            user=params["user"],
        )
    except ConfigError:
        raise
    except LinuxBuilderError as exc:
        raise _diagnose_run.explained(exc, params, params["diagnose"]) from exc
    recorded, words = _record(params, found, features)
    result = {
        "verified": True,
        "boot_id": found.boot_id,
        "versions": dict(found.versions),
        "builds": [proof.as_dict() for proof in found.builds],
        "recorded": recorded,
    }
    return Outcome(changed=False, result=result, warnings=[*found.warnings, *words])


def _target(params: t.Mapping[str, t.Any], entry: Machine | None) -> Target:
    """The builder; held to the host key that was asked for, or else to the one that Nix was told."""
    return Target(
        uri=params["uri"],
        key=params["key"],
        alias=params["alias"],
        host_address=params["host_address"],
        port=params["port"],
        public_host_key=params["public_host_key"] or (entry.host_key if entry else ""),
        label=params["label"],
        log=params["log_path"],
        known_hosts=os.path.join(params["working_directory"], "known_hosts"),
    )


def _wanted(systems: t.Sequence[str], target: Target) -> t.Sequence[str]:
    if not systems:
        raise StateError(f"{target.uri}: no entry of the machines file offers a Linux system for it, so nothing was built.")
    return systems


def _entry(params: t.Mapping[str, t.Any], runner: Runner) -> Machine | None:
    """The builder's entry in the effective configuration, where the options leave something to it."""
    if params["systems"] and params["features"] is not None and params["public_host_key"]:
        return None
    setting = find_nix(runner).settings().get("builders")
    machines = _machines_effective.read(str(setting.value) if setting else "@/etc/nix/machines", text_of)
    return machines.of(params["uri"])


def _record(params: t.Mapping[str, t.Any], found: _verify.Verified, features: t.Sequence[str]) -> tuple[bool, list[str]]:
    """(whether the record was written, a warning if it could not be)."""
    layout = layout_of(params)
    record = _verified.Record(
        time=time.time(),
        seconds={proof.system: proof.seconds for proof in reversed(found.builds) if proof.user == "root"},
        store_path=read_generation(layout.profile).store_path,
        versions=found.versions,
        features=tuple(features),
        boot_id=found.boot_id,
    )
    try:
        return _verified.write(layout, record), []
    except LinuxBuilderError as exc:
        return False, [f"The verification passed but could not be noted down: {exc.message}"]


def layout_of(params: t.Mapping[str, t.Any]) -> Layout:
    """The builder's places that the options name."""
    return Layout(os.path.normpath(params["working_directory"]), params["profile"], params["log_path"], params["label"])
