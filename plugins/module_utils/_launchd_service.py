# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The launchd_service module: options to facts, facts to a plan, the plan carried out, the result."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Snapshot, lstat, read
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import LAUNCHCTL, DomainMissing, Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_apply import Job, apply
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_check import check_definition
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Domain, Roots, resolve_domain
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plan import (
    LOADED_STATES,
    Facts,
    Plan,
    Request,
    is_disabled,
    make_plan,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import Definition, decode, readable
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_wait import Clock, Ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest

_LABEL = re.compile(r"[^/\x00-\x1f\x7f]{1,255}")


@dataclasses.dataclass
class Host:
    """What the module works with; the tests bring their own."""

    runner: Runner = dataclasses.field(default_factory=Runner)
    clock: Clock = dataclasses.field(default_factory=Clock)
    roots: Roots = dataclasses.field(default_factory=Roots)
    launchctl: str = LAUNCHCTL


@dataclasses.dataclass
class Result:
    """What the module returns: `service` and `actions` as documented there, texts for the diff, warnings."""

    changed: bool
    service: dict[str, t.Any]
    actions: list[str]
    pending_login: bool
    before: str
    after: str
    path: str
    warnings: list[str]


def execute(params: t.Mapping[str, t.Any], check_mode: bool, host: Host | None = None) -> Result:
    """Bring one launchd job to the state in `params` (the module's options, defaults filled in).

    In check mode nothing is changed and at most two launchctl processes read. Raises LinuxBuilderError.
    """
    host = host or Host()
    domain = resolve_domain(params["domain"], host.roots)
    if check_mode:
        return _execute(params, True, host, domain)
    # Another run may be waiting for its job's readiness.
    with _lock.held(domain.directories[0], float(params["timeout"]) + _lock.WAIT, f"{domain.target}: a job"):
        return _execute(params, False, host, domain)


def _execute(params: t.Mapping[str, t.Any], check_mode: bool, host: Host, domain: Domain) -> Result:
    launchctl = Launchctl(host.runner, host.launchctl)
    ready = Ready.parse(params.get("ready_when"))
    label = _label(params, domain)
    definition, warnings = _definition(params, label, domain)
    found, session = _look(launchctl, domain, label)
    path = _locate(params, domain, label, found, definition)
    request = Request(label, domain, path, params["state"], params["enabled"], definition)
    # Somebody else's property list may be a link; a definition is only ever written over a plain file.
    snapshot = read(path if definition is not None else os.path.realpath(path))
    request, facts = _facts(launchctl, request, snapshot, found, session, warnings)
    plan = make_plan(request, facts)
    job = Job(launchctl, host.clock, request, facts, ready, float(params["timeout"]), snapshot.status, found)
    if params.get("manifest") and definition is not None and not check_mode:
        Manifest().claim("builder", {path: plan.write})
    if plan.changed and not check_mode:
        apply(job, plan)
        _look_again(job, plan)
    disabled = _disabled_after(request, facts, plan) if not check_mode else is_disabled(request, facts)
    if found is not None and disabled and not plan.changed and request.state in LOADED_STATES and request.enabled is None:
        warnings.append(f"{request.target} is loaded but disabled, so it will not come back at the next start (enabled: true).")
    hidden = params.get("no_log_environment") or []
    return Result(
        changed=plan.changed,
        service=_service(job, disabled),
        actions=plan.actions,
        pending_login=plan.pending_login,
        before=_text(request, facts, None, hidden),
        after=_text(request, facts, plan, hidden),
        path=path,
        warnings=warnings,
    )


def secrets(params: t.Mapping[str, t.Any]) -> set[str]:
    """The values of the environment variables that `no_log_environment` names."""
    definition = params.get("definition")
    environment = definition.get("EnvironmentVariables") if isinstance(definition, dict) else None
    if not isinstance(environment, dict):
        return set()
    return {str(environment[name]) for name in params.get("no_log_environment") or [] if environment.get(name)}


def _label(params: t.Mapping[str, t.Any], domain: Domain) -> str:
    """The label asked for, else the one in the property list at `path`."""
    label, path = params.get("label"), params.get("path")
    if label is None and params.get("definition"):
        label = params["definition"].get("Label")
    if label is None and path is not None:
        content = read(path).content
        if content is None:
            raise ConfigError(f"{path}: does not exist, so it cannot say which job is meant. Give the label.", path=path)
        label = decode(path, content).get("Label")
    if not isinstance(label, str) or _LABEL.fullmatch(label) is None:
        raise ConfigError(f"label: {label!r} is none. Give a text without slashes and control characters.")
    return label


def _definition(params: t.Mapping[str, t.Any], label: str, domain: Domain) -> tuple[Definition | None, list[str]]:
    given = params.get("definition")
    if given is None or params["state"] == "absent":
        return None, []
    warnings = check_definition(given, label, domain.target)
    return dict(given, Label=label), warnings


def _look(launchctl: Launchctl, domain: Domain, label: str) -> tuple[Service | None, bool]:
    """(the loaded job or None, whether the domain exists)."""
    try:
        return launchctl.print_service(domain.service(label)), True
    except DomainMissing:
        if not domain.per_user:
            raise
        return None, False


def _locate(
    params: t.Mapping[str, t.Any], domain: Domain, label: str, found: Service | None, definition: Definition | None
) -> str:
    """Path of the property list: as asked for; of the loaded job; by file name; by the Label inside; where it would go."""
    path = params.get("path")
    if path is not None:
        if not os.path.isabs(path):
            raise ConfigError(f"path: {path!r} is relative. Give an absolute path.", path=path)
        return os.path.normpath(str(path))
    default = os.path.join(domain.directories[0], f"{label}.plist")
    if definition is None and found is not None and found.path is not None and os.path.isabs(found.path):
        return found.path
    if definition is not None or lstat(default) is not None:
        return default
    for directory in domain.directories[1:]:
        path = os.path.join(directory, f"{label}.plist")
        if lstat(path) is not None:
            return path
    return _search(domain, label) or default


def _search(domain: Domain, label: str) -> str | None:
    """A property list that names the label under another file name; Apple's own directories are not searched."""
    for directory in domain.directories[:-1]:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".plist") and _label_in(path) == label:
                return path
    return None


def _label_in(path: str) -> t.Any:
    try:
        return decode(path, read(path).content or b"").get("Label")
    except FileError:
        return None


def _facts(
    launchctl: Launchctl, request: Request, snapshot: Snapshot, found: Service | None, session: bool, warnings: list[str]
) -> tuple[Request, Facts]:
    """What else is to be known; without a session an override that cannot be read is left for the next run."""
    current, broken = None, None
    if snapshot.content is not None:
        try:
            current = decode(request.path, snapshot.content)
        except FileError as exc:
            broken = exc.message
    overrides: dict[str, bool] | None = None
    if request.state != "absent" or request.enabled is not None:
        domain = request.domain
        try:
            overrides = launchctl.print_disabled(domain.target if session else domain.overrides_target)
        except LinuxBuilderError:
            if session:
                raise
            if request.enabled is not None:
                warnings.append(f"{request.target}: whether it is enabled can only be set after a login; run again then.")
                request = request._replace(enabled=None)
    elsewhere = found is not None and found.path is not None and os.path.realpath(found.path) != os.path.realpath(request.path)
    # Without a definition the file is not ours to correct.
    misowned = (
        request.definition is not None and snapshot.status is not None and request.domain.ownership.differs(snapshot.status)
    )
    return request, Facts(snapshot.content, current, broken, misowned, found, session, overrides, elsewhere)


def _look_again(job: Job, plan: Plan) -> None:
    """Know the job's state after the last step; the watch and the waits have mostly seen it already."""
    if plan.kick and not plan.watch:
        job.look()


def _disabled_after(request: Request, facts: Facts, plan: Plan) -> bool:
    if plan.override is not None:
        return not plan.override
    return False if plan.enable else is_disabled(request, facts)


def _service(job: Job, disabled: bool) -> dict[str, t.Any]:
    service, request = job.service, job.request
    seen = service or Service(request.target)
    return {
        "label": request.label,
        "domain": request.domain.target,
        "path": seen.path or (request.path if lstat(request.path) is not None else None),
        "type": seen.type,
        "loaded": service is not None,
        "enabled": None if job.facts.overrides is None else not disabled,
        "state": seen.state if service is not None else "not loaded",
        "pid": seen.pid,
        "runs": seen.runs,
        "last_exit_code": seen.last_exit_code,
        "last_signal": seen.last_signal,
        "program": seen.program,
        "run_interval": seen.run_interval,
    }


def _text(request: Request, facts: Facts, plan: Plan | None, hidden: t.Sequence[str]) -> str:
    """One side of the diff: the property list and what launchd holds; `plan` None for the side before."""
    service = facts.service
    lines = []
    if plan is None or not (plan.write or plan.remove):
        body = readable(facts.current, hidden) if facts.broken is None else f"(unreadable: {facts.broken})\n"
        present = facts.content is not None
    else:
        body, present = readable(None if plan.remove else request.definition, hidden, facts.current), not plan.remove
    lines.append(f"property list: {request.path if present else 'absent'}\n{body}")
    lines.append("launchd:\n")
    loaded = service is not None if plan is None else plan.load or (service is not None and not plan.unload)
    lines.append(f"  loaded: {str(loaded).lower()}\n")
    disabled = is_disabled(request, facts) if plan is None else _disabled_after(request, facts, plan)
    lines.append(f"  enabled: {str(not disabled).lower()}\n")
    if plan is not None and plan.changed:
        lines.append(f"  steps: {', '.join(plan.actions)}\n")
    return "".join(lines)
