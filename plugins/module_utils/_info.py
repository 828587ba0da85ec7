# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What a Mac is, read once and with few processes; works without Nix and without a builder.

Processes: sysctl, nix --version, nix show-config, launchctl print (daemon), launchctl print (builder), lsof.
A ps comes on top only where a listener's parent is not the builder's job, a launchctl print where the
property list of another collection's builder is found.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _adopt_find,
    _builder_answer,
    _info_guest,
    _mac,
    _verified,
    _vz,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import DAEMONS, Seeker, resumed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_image import MIB, read_image
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import DISK_NAME
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout as BuilderLayout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import living
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_nix import Layout, read_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_port import Listener, family, listeners
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import DIRECTORY as MANIFESTS
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import Place

OTHER_BUILDERS = _adopt_find.OTHER_BUILDERS


@dataclasses.dataclass(frozen=True)
class Question(Place):
    """Where to look. adopt_directory: where a builder of others is that could be adopted; empty to look everywhere.

    key: the client's, where the builder itself is to be asked, which tells whose the port is; empty where it is not.
    """

    machines: str = "/etc/nix/machines"
    adopt_directory: str = ""
    key: str = ""


class Host:
    """The Mac: programs through `runner`, files below `root` (another root only in tests)."""

    def __init__(self, runner: Runner | None = None, root: str = "/") -> None:
        self.runner = runner or Runner()
        self.root = root
        self.launchctl = Launchctl(self.runner)

    def path(self, absolute: str) -> str:
        """Where the file `absolute` of the Mac lies."""
        return absolute if self.root == "/" else os.path.join(self.root, absolute.lstrip("/"))

    def service(self, label: str) -> tuple[Service | None, str]:
        """(the loaded system job or None, launchctl's words if it could not say)."""
        try:
            return self.launchctl.print_service(f"system/{label}"), ""
        except CommandError as exc:
            return None, exc.message


def read(question: Question, host: Host | None = None) -> dict[str, t.Any]:
    """The `info` dict of builder_info. Reads only; raises no LinuxBuilderError for a Mac that lacks something."""
    host = host or Host()
    mac = _mac.read(host.runner, host.root)
    nix = read_nix(host.runner, Layout.of(host.root))
    job, job_error = host.service(question.label)
    return {
        "root": os.geteuid() == 0,
        "macos": {"version": mac.version, "build": mac.build},
        "architecture": mac.architecture,
        "system": mac.linux_system,
        "cores": mac.cores,
        "memory_mib": mac.memory_mib,
        "free_disk_mib": _mac.free_disk_mib(host.path(question.working_directory)),
        "virtualization": mac.virtualization,
        "chip": mac.chip,
        "rosetta": os.path.exists(host.path(_vz.ROSETTA)),
        "nix": nix.facts,
        "nix_conf": nix.conf,
        "daemon": _daemon(host, nix.daemon_label),
        "port": _port(question, host, job),
        "builder": _builder(question, host, job, job_error),
        "other_builders": _others(host, question),
        "adoptable": _adoptable(host, question),
    }


def ask_guest(question: Question, host: Host, info: dict[str, t.Any], client_key: str, timeout: float) -> None:
    """Put what the guest says into `info["builder"]["guest"]`; null where no builder is known on this Mac."""
    layout = BuilderLayout(question.working_directory, question.profile, "", question.label)
    entries = (_text(host.path(question.machines), 1024 * 1024), str((info["nix"].get("settings") or {}).get("builders", "")))
    way = _info_guest.find_way(layout, question.host_address, question.port, client_key, entries)
    if way is not None:
        info["builder"]["guest"] = _info_guest.ask(way, host.runner, timeout)


def defaults(info: t.Mapping[str, t.Any], wish: _vz.Wish | None = None) -> dict[str, t.Any]:
    """What the roles use where the user names nothing; `max_jobs` is the builder's cores."""
    wish = wish or _vz.Wish(None, False)
    cores = _mac.default_cores(int(info["cores"]))
    return {
        "system": info["system"] or "",
        "systems": _vz.systems(wish.package or "", info["system"]),
        "features": list(_vz.FEATURES) if wish.vz and wish.nested else [],
        "cores": cores,
        "memory_mib": _mac.default_memory_mib(int(info["memory_mib"])),
        "max_jobs": cores,
    }


def _daemon(host: Host, label: str | None) -> dict[str, t.Any]:
    if label is None:
        return {"label": None, "loaded": False, "pid": None, "state": None}
    noted = living(label) if host.root == "/" else None
    if noted is not None:
        return {"label": label, "loaded": True, "pid": noted.pid, "state": "running"}
    service, error = host.service(label)
    facts: dict[str, t.Any] = {"label": label, "loaded": service is not None, "pid": None, "state": None}
    if service is not None:
        facts.update(pid=service.pid, state=service.state)
    if error:
        facts["error"] = error
    return facts


def _builder(question: Question, host: Host, job: Service | None, error: str) -> dict[str, t.Any]:
    generation, store_path = _profile(host, question.profile)
    directory = host.path(question.working_directory)
    facts: dict[str, t.Any] = {
        "label": question.label,
        "loaded": job is not None,
        "state": job.state if job else None,
        "pid": job.pid if job else None,
        "runs": job.runs if job else None,
        "restarts": max(0, job.runs - 1) if job and job.runs is not None else None,
        "last_exit_code": job.last_exit_code if job else None,
        "store_path": store_path,
        "generation": generation,
        "working_directory": {"path": question.working_directory, "kind": _kind(directory)},
        **_disk(os.path.join(directory, DISK_NAME)),
        **_record(directory),
        "verified": _verified.read(dataclasses.replace(question, working_directory=directory)),
        "guest": None,
        "public_host_key": _public_host_key(directory),
        "rotation": _text(os.path.join(directory, "rotation"), 200).strip() or None,
        "registered": _registered(host.path(question.machines), question.uri),
    }
    if error:
        facts["error"] = error
    return facts


def _profile(host: Host, profile: str) -> tuple[int | None, str | None]:
    """(generation, store path) of a Nix profile, which is a link to `<name>-<generation>-link`, a link to the store."""
    try:
        link = os.readlink(host.path(profile))
        generation = link.rsplit("-", 2)[1] if link.endswith("-link") else ""
        target = os.readlink(os.path.join(os.path.dirname(host.path(profile)), link))
    except (OSError, IndexError):
        return None, None
    return (int(generation) if generation.isdecimal() else None), target


def _kind(path: str) -> str:
    """`directory`, `absent`, or what else lies there. A link counts as what it leads to."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "dangling link" if os.path.islink(path) else "absent"
    except OSError as exc:
        return f"unreadable ({exc.strerror})"
    return "directory" if stat.S_ISDIR(mode) else "file"


def _disk(path: str) -> dict[str, t.Any]:
    """disk_used_mib: what the data disk takes up on the Mac, 0 when there is none. disk_mib: what the guest sees, or None."""
    try:
        image = read_image(path)
    except FileError:
        image = None
    return {
        "disk_used_mib": image.allocated // MIB if image else 0,
        "disk_mib": image.size_mib if image else None,
    }


def _record(directory: str) -> dict[str, t.Any]:
    """What the builder in `directory` was made from: host_key (stock, per_mac), pin (locked), requested; None: there is none."""
    try:
        record = json.loads(_text(os.path.join(directory, "builder.json"), 1024 * 1024))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return {"host_key": None, "pin": None, "requested": None}
    overrides = record.get("overrides")
    return {
        "host_key": str(overrides.get("host_key", "stock")) if isinstance(overrides, dict) else None,
        "pin": record.get("locked"),
        "requested": record.get("requested"),
    }


def _public_host_key(directory: str) -> str | None:
    """The Mac's own host key of the guest, as field 8 of a machines entry wants it."""
    line = _text(os.path.join(directory, "keys", "ssh_host_ed25519_key.pub"), 65536)
    return base64.b64encode(line.encode()).decode() if line.strip() else None


def _text(path: str, limit: int) -> str:
    """Up to `limit` characters of a file, '' when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(limit)
    except OSError:
        return ""


def _registered(path: str, uri: str) -> bool:
    """Whether the machines file has an entry for `uri`."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(1024 * 1024)
    except OSError:
        return False
    entries = (entry.split() for line in text.splitlines() for entry in line.split("#", 1)[0].split(";"))
    return any(fields and fields[0] == uri for fields in entries)


def _others(host: Host, question: Question) -> list[dict[str, t.Any]]:
    """Builders of other tools whose property list is there, with their state."""
    found = []
    for label, owner in OTHER_BUILDERS.items():
        if label == question.label or not os.path.lexists(host.path(f"{DAEMONS}/{label}.plist")):
            continue
        service, _error = host.service(label)
        facts = {"label": label, "owner": owner, "loaded": service is not None, "pid": service.pid if service else None}
        found.append(facts)
    return found


def _adoptable(host: Host, question: Question) -> list[dict[str, t.Any]]:
    """Builders of others that builder_adopt could take over; with an adoption that was interrupted, that one."""
    seeker = Seeker(host.runner, question.label, question.working_directory, host.root)
    adoption = Manifest(host.path(MANIFESTS)).read().adoption
    if adoption and not adoption["done"]:
        found = [resumed(adoption, seeker.machines())]
    else:
        found = seeker.find(question.adopt_directory)
    used = (0 if builder.disk is None else _disk(host.path(builder.disk))["disk_used_mib"] for builder in found)
    return [{**dataclasses.asdict(builder), "disk_used_mib": mib} for builder, mib in zip(found, used)]


def _is_known(question: Question, host: Host) -> bool:
    """Whether the guest that answers on the port, with the pinned host key, is in the very boot that was verified last."""
    verified = _verified.read(dataclasses.replace(question, working_directory=host.path(question.working_directory)))
    boot_id = verified.get("boot_id") if verified else None
    if not (boot_id and question.key):
        return False
    layout = BuilderLayout(question.working_directory, question.profile, "", question.label)
    guest = _builder_answer.Guest(layout, question.host_address, question.port, question.key)
    return bool(_builder_answer.ask(guest, host.runner, _builder_answer.LOOK_SECONDS).boot_id == boot_id)


def _port(question: Question, host: Host, job: Service | None) -> dict[str, t.Any]:
    """Who listens where the builder shall listen; `ours` only if all of them belong to the builder's job."""
    if job is not None and job.pid and _is_known(question, host):
        known = {"number": question.port, "address": question.host_address, "listening": True, "pid": job.pid}
        return {**known, "command": None, "user": None, "ours": True}
    found, error = listeners(host.runner, question.port)
    rivals = [listener for listener in found if listener.collides(question.host_address)]
    mine = family(host.runner, rivals, job.pid if job else None)
    strangers = [listener for listener in rivals if listener.pid not in mine]
    shown = strangers or rivals
    first: Listener | None = shown[0] if shown else None
    facts: dict[str, t.Any] = {
        "number": question.port,
        "address": question.host_address,
        "listening": bool(rivals),
        "pid": first.pid if first else None,
        "command": first.command if first else None,
        "user": first.user if first else None,
        "ours": bool(rivals) and not strangers,
    }
    if error:
        facts["error"] = error
    return facts
