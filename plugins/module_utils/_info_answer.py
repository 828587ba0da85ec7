# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What builder_info answers: the Mac as it was read, and what follows from it."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _audit,
    _diagnose_run,
    _info,
    _preflight,
    _ssh_master,
    _vz,
    _wanted,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import text_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


def execute(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Read the Mac and judge it; check mode is no different."""
    question = _info.Question(
        label=params["label"],
        profile=params["profile"],
        working_directory=params["working_directory"],
        host_address=params["host_address"],
        port=params["port"],
        uri=params["uri"] or f"ssh-ng://builder@{params['alias']}",
        adopt_directory=params["adopt_directory"] or "",
        key=params["client_key"] if params["wanted"] is not None else "",
    )
    before = Runner.total
    # The planners ask much of what was read already. Nothing is changed in between.
    with Runner.remembering():
        result = _look(params, question)
    if params["deep"]:
        asked = dict(params, uri=question.uri, key=params["client_key"])
        asked["systems"] = asked["systems"] or result["defaults"]["systems"]
        result.update(_diagnose_run.links(asked, params["deep_timeout"]))
    result["processes"] = Runner.total - before
    return Outcome(changed=False, result=result, warnings=_preflight.warnings(result["info"]))


def _look(params: dict[str, t.Any], question: _info.Question) -> dict[str, t.Any]:
    host = _info.Host()
    info = _info.read(question, host)
    if params["guest"]:
        _info.ask_guest(question, host, info, params["client_key"], params["guest_timeout"])
    info["builder"]["package"] = params["package"]
    wish = _vz.Wish(params["package"], params["nested_virtualization"], params["supported_features"])
    wanted = _preflight.Wanted(params["minimum_macos"], params["disk_mib"], params["reserve_mib"], params["host_key"], wish)
    exposed = _audit.exposed_keys(params["client_key"], params["working_directory"])
    result: dict[str, t.Any] = {
        "info": info,
        "defaults": _info.defaults(info, wish),
        "problems": [problem.as_dict() for problem in _preflight.problems(info, wanted)],
        "exposed_keys": [dict(key) for key in exposed],
    }
    if params["ssh_control_master"]:
        found = _ssh_master.problems(info, params["alias"], text_of)
        result["problems"] += [problem.as_dict() for problem in found]
    if params["wanted"] is not None:
        words = [str(key["message"]) for key in result["exposed_keys"]]
        made = _wanted.Wanted(params["wanted"], info, result["defaults"], words)
        drift = _wanted.drift(made, host.runner, params["first_due"])
        result.update(drift=drift, due=_wanted.due(drift))
    return result
