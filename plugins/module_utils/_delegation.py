# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""All that makes the Nix daemon delegate, in one execution: machines entry, ssh alias, settings, and the daemon's restart.

Each step is the one of the module that has it alone (nix_machine, builder_manifest, nix_conf, nix_daemon), under its lock. An
execution costs the controller a process and the Mac an interpreter, more than all that these steps do.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _daemon_apply,
    _lock,
    _machines_apply,
    _manifest,
    _manifest_apply,
    _nixconf,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import RECORD
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome

# Of nix_machine, which takes them under the same names.
_ENTRY = ("uri", "systems", "ssh_key", "max_jobs", "speed_factor", "supported_features", "mandatory_features", "public_host_key")

Params = t.Mapping[str, t.Any]


def execute(params: Params, check_mode: bool) -> Outcome:
    """Carry out all steps. The first that fails ends it; the next run finds done what was done."""
    steps: dict[str, Outcome] = {}
    machine = {
        **{name: params[name] for name in _ENTRY},
        "owner": _machines_apply.DEFAULT_OWNER,
        "state": "present",
        "manifest": True,
    }
    with _held(_nixconf.lock({}), check_mode):
        steps["machines"] = _machines_apply.run(machine, check_mode)
    alias = {"state": "present", "path": _manifest.ALIAS, "content": params["ssh_alias"], "part": "delegation"}
    steps["ssh_alias"] = _manifest_apply.execute(alias, check_mode)
    conf = _conf(params, steps["machines"].result)
    with _held(_nixconf.lock(conf), check_mode):
        steps["nix_conf"] = _nixconf.run(conf, check_mode)
    daemon = {name: params[name] for name in ("drain_timeout", "force")}
    daemon.update(label=None, record=RECORD, state="current", pending=params["pending"] or steps["nix_conf"].changed)
    with _held(_daemon_apply.lock(daemon), check_mode):
        steps["nix_daemon"] = _daemon_apply.execute(daemon, check_mode)
    return _together(steps)


def _held(lock: tuple[str, float], check_mode: bool) -> t.ContextManager[None]:
    return contextlib.nullcontext() if check_mode else _lock.held(*lock)


def _conf(params: Params, entry: Params) -> dict[str, t.Any]:
    """Options of nix_conf. A `builders` line of ours is there only where what others wrote does not reach the machines file."""
    settings, absent = dict(params["settings"]), list(params["absent"])
    if entry["builders_needed"]:
        settings["builders"] = entry["builders_reaching"]
    else:
        absent.append("builders")
    return {
        "path": params["nix_conf_path"],
        "owner": _machines_apply.DEFAULT_OWNER,
        "settings": settings,
        "absent": absent,
        "validate": True,
    }


def _together(steps: t.Mapping[str, Outcome]) -> Outcome:
    """One outcome: the differences of the steps that changed something, each under the name of what it changed."""
    changed = [name for name, done in steps.items() if done.changed]
    texts = [
        "".join(f"# {steps[name].header or name}\n{(getattr(steps[name], side) or '').rstrip()}\n" for name in changed)
        for side in ("before", "after")
    ]
    daemon = steps["nix_daemon"].result
    return Outcome(
        changed=bool(changed),
        result={
            "changes": changed,
            "entry": steps["machines"].result["entry"],
            "path": steps["nix_conf"].result["path"],
            **{name: daemon[name] for name in ("required", "restarted", "deferred", "reason", "running")},
        },
        before=texts[0],
        after=texts[1],
        header="delegation",
        warnings=[warning for done in steps.values() for warning in done.warnings],
    )
