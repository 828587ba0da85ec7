# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One launchd job: what was asked for, what was found, and the steps between the two. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Domain
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import Definition, encode, same

# What `started` means for a job.
CONTINUOUS = "continuous"  # a process all the time
UNTIL_SUCCESS = "until success"  # a process until it has ended with 0
ONCE = "once"  # one run at load
ON_DEMAND = "on demand"  # launchd starts it when something happens: loaded is all one can ask for

LOADED_STATES = ("started", "restarted", "loaded")
EX_CONFIG = 78  # launchd could not set the job up; only loading it anew makes it try with fresh eyes

_TRIGGERS = (
    "StartInterval",
    "StartCalendarInterval",
    "WatchPaths",
    "QueueDirectories",
    "StartOnMount",
    "Sockets",
    "LaunchEvents",
)
_CONDITIONS = ("PathState", "OtherJobEnabled", "OtherJobActive", "AfterInitialDemand", "NetworkState")


class Request(t.NamedTuple):
    """What was asked for. definition: None to manage the job as it is. enabled: None to leave the override alone."""

    label: str
    domain: Domain
    path: str
    state: str = "started"
    enabled: bool | None = None
    definition: Definition | None = None

    @property
    def target(self) -> str:
        """`<domain>/<label>`."""
        return self.domain.service(self.label)


class Facts(t.NamedTuple):
    """What was found.

    content: bytes of the property list, None without one. current: what they say, None where `broken` says why
    they cannot be read. misowned: owner or mode is not what launchd accepts. service: None when not loaded.
    session: whether the domain exists. overrides: label -> disabled; None where they could not be read.
    elsewhere: the loaded job came from another file.
    """

    content: bytes | None = None
    current: Definition | None = None
    broken: str | None = None
    misowned: bool = False
    service: Service | None = None
    session: bool = True
    overrides: dict[str, bool] | None = None
    elsewhere: bool = False


class Plan(t.NamedTuple):
    """Steps in the order in which they are taken; all False and None when everything is as asked for.

    unload: boot the old job out and wait until it is gone. write: the new property list. own: correct owner and mode.
    remove: delete the property list. enable: lift the override, without which the job cannot be loaded.
    load: bootstrap. kick: start the process of a loaded job (`kill`: end the running one first).
    override: what the override shall say in the end. watch: the process is to be watched until it holds.
    """

    unload: bool = False
    write: bytes | None = None
    own: bool = False
    remove: bool = False
    enable: bool = False
    load: bool = False
    kick: bool = False
    kill: bool = False
    override: bool | None = None
    watch: bool = False
    pending_login: bool = False

    @property
    def actions(self) -> list[str]:
        """The steps in words, for the result."""
        steps = (
            (self.unload, "bootout"),
            (self.write is not None, "write property list"),
            (self.own, "correct owner and mode"),
            (self.remove, "remove property list"),
            (self.enable, "enable"),
            (self.load, "bootstrap"),
            (self.kick, "kickstart -k" if self.kill else "kickstart"),
            (self.override is not None, "enable" if self.override else "disable"),
        )
        return [name for wanted, name in steps if wanted]

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.actions)


def kind_of(definition: Definition | None, service: Service | None = None) -> str:
    """CONTINUOUS, UNTIL_SUCCESS, ONCE or ON_DEMAND, from the property list, else from what launchd printed."""
    if definition is None:
        return _kind_from_print(service)
    keep_alive = definition.get("KeepAlive")
    if keep_alive is True:
        return CONTINUOUS
    if any(definition.get(key) for key in _TRIGGERS):
        return ON_DEMAND
    if isinstance(keep_alive, dict):
        if any(key in keep_alive for key in _CONDITIONS):
            return ON_DEMAND
        if keep_alive.get("SuccessfulExit") is True:
            return CONTINUOUS
        # Crashed alone does not start the job; SuccessfulExit implies RunAtLoad.
        if "SuccessfulExit" in keep_alive or definition.get("RunAtLoad") is True:
            return UNTIL_SUCCESS
        return ON_DEMAND
    return ONCE if definition.get("RunAtLoad") is True else ON_DEMAND


def _kind_from_print(service: Service | None) -> str:
    if service is None:
        return ON_DEMAND
    if "keepalive" in service.properties:
        return CONTINUOUS
    # Without the file nobody can say whether a run-at-load job has other triggers too.
    return ON_DEMAND


def holds(kind: str, service: Service) -> bool:
    """Whether a loaded job is as `started` asks."""
    if service.stopping:
        return False
    if kind == ON_DEMAND or service.running:
        return True
    return kind in (ONCE, UNTIL_SUCCESS) and bool(service.runs) and service.last_exit_code == 0


def definition_changed(request: Request, facts: Facts) -> bool:
    """Whether the property list on disk says something else than was asked for."""
    if request.definition is None or request.state == "absent":
        return False
    return facts.current is None or not same(facts.current, request.definition)


def make_plan(request: Request, facts: Facts) -> Plan:
    """The steps from `facts` to `request`. ConfigError or StateError where there is no way."""
    _refuse_impossible(request, facts)
    write = encode(request.definition) if request.definition is not None and definition_changed(request, facts) else None
    plan = Plan(
        write=write,
        own=write is None and request.state != "absent" and facts.misowned,
        remove=request.state == "absent" and facts.content is not None,
    )
    if not facts.session:
        pending = plan._replace(pending_login=request.state in LOADED_STATES)
        return _with_override(request, facts, pending)
    unload = facts.service is not None and _to_be_unloaded(request, facts, facts.service, write is not None)
    load = request.state in LOADED_STATES and (unload or facts.service is None)
    kill = request.state == "restarted" and not load
    kick = kill or (request.state == "started" and not load and not _held(request, facts))
    watch = request.state in ("started", "restarted") and (load or kick)
    plan = plan._replace(unload=unload, load=load, kick=kick, kill=kill, watch=watch)
    return _with_override(request, facts, plan)


def _held(request: Request, facts: Facts) -> bool:
    return facts.service is not None and holds(kind_of(request.definition or facts.current, facts.service), facts.service)


def _to_be_unloaded(request: Request, facts: Facts, service: Service, changed: bool) -> bool:
    if request.state in ("stopped", "absent") or changed:
        return True
    if facts.content is None:
        return False  # a job without a file could not be loaded again
    if request.state == "restarted" or service.stopping or facts.elsewhere:
        return True
    failed_setup = service.last_exit_code == EX_CONFIG and not service.running
    return request.state == "started" and failed_setup and not _held(request, facts)


def _with_override(request: Request, facts: Facts, plan: Plan) -> Plan:
    """Add `enable` where bootstrap would be refused, and what `enabled` asks for in the end."""
    disabled = is_disabled(request, facts)
    enable = plan.load and disabled
    override: bool | None = None
    if request.enabled is not None:
        now_disabled = disabled and not enable
        override = request.enabled if request.enabled == now_disabled else None
    return plan._replace(enable=enable, override=override)


def is_disabled(request: Request, facts: Facts) -> bool:
    """What launchd will make of the job at its next load: the override, else the property list's own default."""
    override = (facts.overrides or {}).get(request.label)
    if override is not None:
        return override
    definition = facts.current if request.definition is None or request.state == "absent" else request.definition
    return definition is not None and definition.get("Disabled") is True


def _refuse_impossible(request: Request, facts: Facts) -> None:
    service = facts.service
    if request.path.startswith("/System/") and (request.state == "absent" or request.definition is not None):
        raise ConfigError(
            f"{request.target}: {request.path} belongs to macOS and cannot be changed. "
            "Choose another label, or state: stopped with enabled: false.",
            path=request.path,
        )
    if service is not None and service.submitted_by and request.definition is not None and request.state != "absent":
        raise StateError(
            f"{request.target}: this label belongs to a job submitted by {service.submitted_by}, not loaded from a file. "
            "Choose another label, or remove that job where it was set up (Login Items, the app itself).",
        )
    if request.definition is not None or request.state not in LOADED_STATES:
        return
    if facts.broken is not None:
        raise ConfigError(f"{facts.broken} Give a definition to replace it.", path=request.path)
    if facts.content is None and service is None:
        raise ConfigError(
            f"{request.target}: is not loaded, and there is no property list {request.path}. Give a definition, or its path.",
            path=request.path,
        )
