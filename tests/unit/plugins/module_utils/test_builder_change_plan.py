# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which phases follow from what was found, line by line."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_change_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import Found, make_change
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import Journal, Origin
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current, Plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import Generation
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import encode

LAYOUT = Layout("/wd/lb", "/profiles/lb", "/log", "org.example.builder")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"
SPEC = Spec(LAYOUT, "path:/x#a", False, "127.0.0.1", 31022, False, 2, 3072, None, "/key", KEY, "/ca", 60)
OLD, NEW = "/nix/store/old", "/nix/store/new"
JOB: dict[str, t.Any] = {"Label": "org.example.builder", "ExitTimeOut": 80}
PLIST = encode(JOB)
RUNNING = Service("system/x", state="running")
WAITING = Service("system/x", state="spawn scheduled")
STOPPING = Service("system/x", state="SIGTERMed")
ORIGIN = Origin(OLD, 1, {LAYOUT.runner: b"runner", LAYOUT.known_hosts: SPEC.known_hosts_line.encode()}, PLIST, True)


def files(store_path: str | None = OLD, *, switch: bool = False, job: dict[str, t.Any] | None = None, more: bool = False) -> Plan:
    """What `_builder_plan` finds. more: another file differs."""
    change = planning._files.Snapshot("/x", None, None)
    changes = (planning_file(change),) if more else ()
    return Plan(store_path, switch, (), (), changes, "runner", job or JOB, "", "")


def planning_file(snapshot: _files.Snapshot) -> t.Any:
    return t.cast(t.Any, dataclasses.make_dataclass("FileChange", ["before"])(snapshot))


def found(service: Service | None = RUNNING, plist: bytes | None = PLIST, **more: t.Any) -> Found:
    current = Current({}, Generation(1, OLD, True), {}, {}, b"key", True, None, ())
    return Found(current, service, _files.Snapshot("/plist", plist, None), **more)


OTHER_JOB = {**JOB, "ExitTimeOut": 99}
UPGRADE = files(NEW, switch=True, job=OTHER_JOB)


@pytest.mark.parametrize(
    ("state", "plan", "disk", "phases"),
    [
        pytest.param(found(), files(), "", "ready", id="nothing to do"),
        pytest.param(found(), files(more=True), "", "switch ready", id="a file that no process has read"),
        pytest.param(found(), files(job=OTHER_JOB), "", "drain stop start ready", id="host-side options"),
        pytest.param(found(), UPGRADE, "", "drain stop switch start ready prove", id="upgrade"),
        pytest.param(found(), UPGRADE, "grown", "drain stop disk switch start ready prove", id="upgrade and disk"),
        pytest.param(found(), files(), "grown", "drain stop disk start ready prove", id="disk"),
        pytest.param(found(None, None), UPGRADE, "", "switch start ready prove", id="first deployment"),
        pytest.param(found(None), files(), "", "start ready", id="stopped"),
        pytest.param(found(None), files(), "grown", "disk start ready prove", id="stopped, and the disk"),
        pytest.param(found(WAITING), files(), "", "start ready", id="crash loop"),
        pytest.param(found(WAITING), UPGRADE, "", "drain stop switch start ready prove", id="upgrade out of a crash loop"),
        pytest.param(found(STOPPING), files(), "", "stop start ready", id="on its way out"),
        pytest.param(found(STOPPING), UPGRADE, "", "stop switch start ready prove", id="on its way out, and upgrade"),
        pytest.param(found(plist=b"no plist"), files(), "", "drain stop start ready", id="damaged property list"),
        pytest.param(found(misowned=True), files(), "", "start ready", id="property list of somebody else"),
        pytest.param(found(service_path="/other"), files(), "", "drain stop start ready", id="loaded from elsewhere"),
        pytest.param(found(), files(None, switch=True), "", "drain stop switch start ready", id="check mode, not realised"),
    ],
)
def test_phases(state: Found, plan: Plan, disk: str, phases: str) -> None:
    origin = ORIGIN if state.plist.content else Origin()
    assert " ".join(make_change(SPEC, state, plan, origin, disk).phases) == phases


def test_nothing_to_do_shows_no_difference() -> None:
    change = make_change(SPEC, found(), files(), ORIGIN)
    assert (change.changed, change.before, change.after, change.why) == (False, "", "", ())


def test_without_prove_no_build_is_asked_for() -> None:
    assert "prove" not in make_change(SPEC._replace(prove=False), found(), UPGRADE, ORIGIN).phases


STOPPED = dataclasses.replace(ORIGIN, loaded=False)


@pytest.mark.parametrize(
    ("origin", "disk", "journal", "proved"),
    [
        pytest.param(Origin(), "", False, False, id="a first builder"),
        pytest.param(Origin(), "made anew", False, True, id="a first builder, and a disk from before"),
        pytest.param(Origin(), "", True, True, id="a first builder whose run was killed"),
        pytest.param(ORIGIN, "", False, True, id="one to go back to"),
        pytest.param(STOPPED, "", False, True, id="one to go back to, which does not run"),
        pytest.param(dataclasses.replace(ORIGIN, plist=None), "", False, False, id="none that could run"),
    ],
)
def test_a_proof_that_follows_stands_for_that_of_a_first_builder_alone(
    origin: Origin, disk: str, journal: bool, proved: bool
) -> None:
    state = found(None, None, journal=Journal("ready", "x", origin) if journal else None)
    followed = make_change(SPEC._replace(verified_next=True), state, UPGRADE, origin, disk)
    assert ("prove" in followed.phases) is proved
    assert "prove" in make_change(SPEC, state, UPGRADE, origin, disk).phases


def test_a_run_that_was_killed_before_the_proof_proves_it() -> None:
    """The profile is switched, the job runs; only what served before tells that it is another."""
    state = found(journal=Journal("ready", "x", ORIGIN))
    assert make_change(SPEC, state, files(NEW), ORIGIN).phases == ("ready", "prove")


def test_the_origin_is_that_of_the_first_run_that_did_not_end() -> None:
    earlier = Origin("/nix/store/older", 7)
    assert planning.origin_of(found(journal=Journal("start", "x", earlier)), LAYOUT) == earlier


@pytest.mark.parametrize(
    ("origin", "plan", "possible"),
    [
        pytest.param(ORIGIN, UPGRADE, True, id="upgrade"),
        pytest.param(ORIGIN, files(job=OTHER_JOB), True, id="host-side options"),
        pytest.param(ORIGIN, files(), False, id="nothing else to go back to"),
        pytest.param(Origin(), UPGRADE, False, id="first deployment"),
        pytest.param(dataclasses.replace(ORIGIN, plist=None), UPGRADE, False, id="no job"),
        pytest.param(dataclasses.replace(ORIGIN, plist=b"damaged"), UPGRADE, False, id="damaged job"),
        pytest.param(dataclasses.replace(ORIGIN, loaded=False), UPGRADE, True, id="stopped, same host key"),
        pytest.param(
            dataclasses.replace(ORIGIN, loaded=False, files={LAYOUT.known_hosts: b"other"}), UPGRADE, False, id="another host key"
        ),
        pytest.param(
            dataclasses.replace(ORIGIN, files={LAYOUT.known_hosts: b"other"}), UPGRADE, True, id="another host key, served"
        ),
    ],
)
def test_where_one_can_go_back(origin: Origin, plan: Plan, possible: bool) -> None:
    change = make_change(SPEC, found(), plan, origin)
    assert planning.can_go_back(origin, SPEC, change) is possible


def test_only_a_second_try_of_the_same_is_undone_first() -> None:
    journal = Journal("roll back", planning.request_key(SPEC), ORIGIN)
    assert planning.to_be_undone(found(journal=journal), SPEC)
    assert not planning.to_be_undone(found(journal=journal), SPEC._replace(cores=4))
    assert not planning.to_be_undone(found(journal=journal._replace(phase="start")), SPEC)
    assert not planning.to_be_undone(found(), SPEC)


@pytest.mark.parametrize(("phase", "nobody"), [("start", False), ("roll back", True)])
def test_a_vm_on_the_way_back_does_not_serve_yet(phase: str, nobody: bool) -> None:
    journal = Journal(phase, "another request", ORIGIN)
    there = found(journal=journal)
    assert there.service is not None
    assert there.service.running
    assert planning.nobody_serves(there, SPEC) is nobody
