# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Which phases bring a Mac from the builder that it has to the one that was asked for. Pure."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _newsyslog
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import ROLL_BACK, Journal, Origin
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current, Plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import decode, readable, same

# In the order in which they are taken. Before them comes `fetch` or `build`, which changes nothing but a root.
DRAIN, STOP, DISK, SWITCH, START, READY, PROVE = "drain", "stop", "disk", "switch", "start", "ready", "prove"
PHASES = (DRAIN, STOP, DISK, SWITCH, START, READY, PROVE)
HARMLESS = ("fetch", "build", DRAIN)  # a run that was killed in one of these has changed nothing yet


class Found(t.NamedTuple):
    """The builder as it was found. service: None when launchd has no such job. misowned: launchd would refuse the plist.

    journal: of a run that did not end and had begun to change something. parents: directories that it made.
    service_path: resolved path of the file that the loaded job came from, where that is not the plist.
    """

    current: Current
    service: Service | None
    plist: _files.Snapshot
    misowned: bool = False
    journal: Journal | None = None
    parents: tuple[str, ...] = ()
    service_path: str | None = None


class Change(t.NamedTuple):
    """What to do. phases: those to take, in order; only `ready` where all is as it was asked for.

    why: the reasons for a restart of the VM, in words; empty when it keeps running. before, after: for --diff.
    deferrable: whether nothing but what the VM does by itself (its clock) asks for the restart.
    """

    files: Plan
    phases: tuple[str, ...]
    why: tuple[str, ...]
    before: str
    after: str
    deferrable: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything but a look is needed."""
        return any(phase not in (READY, PROVE) for phase in self.phases)


def request_key(spec: Spec) -> str:
    """Digest of what was asked for, to tell a second try of the same from something else."""
    asked = [spec.package, spec.update, spec.overrides, spec.host_options, spec.host_key]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def origin_of(found: Found, layout: Layout) -> Origin:
    """The builder to go back to: the one before the first of the runs that did not end, else the present one."""
    if found.journal is not None:
        return found.journal.origin
    files = (layout.runner, layout.known_hosts, layout.record, _newsyslog.path(layout))
    return Origin(
        store_path=found.current.generation.store_path if found.current.generation.valid else None,
        generation=found.current.generation.number,
        files={path: found.current.files[path].content for path in files},
        plist=found.plist.content,
        loaded=found.service is not None,
    )


def to_be_undone(found: Found, spec: Spec) -> bool:
    """Whether a run of this very request found it bad and was killed on the way back."""
    journal = found.journal
    return journal is not None and journal.phase == ROLL_BACK and journal.request == request_key(spec)


def can_go_back(origin: Origin, spec: Spec, change: Change) -> bool:
    """Whether there is a builder to go back to, another than the one that was asked for.

    Not where it was stopped and the host key is to be another: then the Nix daemon may already take the new key only,
    and the old VM must not run.
    """
    layout = spec.layout
    return may_run_again(origin, spec) and (
        origin.store_path != change.files.store_path
        or origin.files.get(layout.runner) != change.files.runner.encode()
        or origin.files.get(layout.known_hosts) != spec.known_hosts_line.encode()
        or not same(definition_in(origin.plist), change.files.definition)
    )


def may_run_again(origin: Origin, spec: Spec) -> bool:
    """Whether there was a builder before, and nothing speaks against starting it again."""
    if origin.store_path is None or definition_in(origin.plist) is None:
        return False
    return origin.loaded or origin.files.get(spec.layout.known_hosts) == spec.known_hosts_line.encode()


def nobody_serves(found: Found, spec: Spec) -> bool:
    """Whether a run that did not end has left no VM that serves, and there is one to put back."""
    back = found.journal is not None and found.journal.phase == ROLL_BACK  # a VM on the way back has not answered yet
    runs = found.service is not None and found.service.running and not back
    return not runs and found.journal is not None and may_run_again(found.journal.origin, spec)


def definition_in(plist: bytes | None) -> dict[str, t.Any] | None:
    """The launchd job in a property list; None without one, or when it is damaged."""
    try:
        return None if plist is None else decode("plist", plist)
    except FileError:
        return None


def make_change(spec: Spec, found: Found, files: Plan, origin: Origin, disk: str = "", reasons: t.Sequence[str] = ()) -> Change:
    """Decide. disk: what the disk step would do, in words, empty for nothing. reasons: further ones for a restart."""
    written = definition_in(found.plist.content)
    same_job = written is not None and same(written, files.definition)
    why = (*_reasons(found, files, same_job), *([f"disk: {disk}"] if disk else []), *reasons)
    loaded = found.service is not None
    resumed = found.journal is not None  # what had changed before it was killed cannot be seen any more
    stop = bool(why) and loaded
    wanted = {
        DRAIN: stop and found.service is not None and not found.service.stopping,
        STOP: stop,
        DISK: bool(disk),
        SWITCH: files.changed,
        START: stop or not loaded or not same_job or found.misowned or (found.service is not None and not found.service.running),
        READY: True,
        PROVE: spec.prove and files.store_path is not None and _unproven(spec, files, origin, bool(disk) or resumed),
    }
    phases = tuple(phase for phase in PHASES if wanted[phase])
    before, after = files.before, files.after
    if not same_job:
        before += f"launchd job {found.plist.path}: {'absent' if written is None else ''}\n{readable(written, [])}"
        after += f"launchd job {found.plist.path}:\n{readable(files.definition, [])}"
    if any(phase not in (READY, PROVE) for phase in phases):
        before += f"VM: {found.service.state or 'loaded' if found.service is not None else 'not loaded'}\n"
        after += f"VM: {'restarted (' + '; '.join(why) + ')' if stop else 'running'}\n"
        after += f"disk {spec.layout.disk}: {disk}\n" if disk and not stop else ""
    return Change(files, phases, why, before, after, deferrable=DRAIN in phases and why == tuple(reasons))


def _unproven(spec: Spec, files: Plan, origin: Origin, unsettled: bool) -> bool:
    """Whether a build has to show that the builder serves. unsettled: by a new disk, or by a run that did not end.

    A disk from before goes for good after the proof, so that one is due for a new disk too. A first builder proves itself here
    only where nothing else does it right after: there is nothing to go back to.
    """
    if unsettled or origin.store_path == files.store_path:
        return unsettled
    return may_run_again(origin, spec) or not spec.verified_next


def _reasons(found: Found, files: Plan, same_job: bool) -> list[str]:
    """Why the loaded job has to be replaced."""
    if found.service is None:
        return []
    reasons = []
    if files.switch:
        reasons.append("another store path")
    if not same_job:
        reasons.append("another launchd job" if files.switch else "other host-side options")
    if found.service_path is not None:
        reasons.append(f"loaded from {found.service_path}")
    if found.service.stopping:
        reasons.append("it was being stopped")
    return reasons
