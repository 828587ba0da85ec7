# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The rules of the links that are the builder's own on the Mac: key, files, port, launchd job, process, locks."""

from __future__ import annotations

import os
import re
import stat

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_causes, _daemon_busy, _sshkey
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation, read_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Finding
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac import Mac, plist_path, read_plist
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import text_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError

LSOF = "/usr/sbin/lsof"
_LINES = 3  # of the log, in the evidence
_CRASHES = 2  # starts after which a job that is down again counts as one that cannot stay up
_NIX_NAMES = ("nix", "nix-daemon", "nix-build", "nix-store", "determinate-nixd", "build-remote")


def key(mac: Mac) -> Finding | None:
    """Can the daemon use the key?"""
    path = mac.key
    values = {"key": path}
    try:
        status = os.lstat(path)
    except OSError as exc:
        return Finding("missing", f"{path}: {exc.strerror}", values)
    status = os.stat(path) if stat.S_ISLNK(status.st_mode) and os.path.exists(path) else status
    if not stat.S_ISREG(status.st_mode):
        return Finding("no_file", path, values)
    if status.st_uid != 0:
        return Finding("owner", f"{path}: uid {status.st_uid}", values)
    if status.st_mode & 0o077:
        return Finding("mode", f"{path}: mode {stat.S_IMODE(status.st_mode):04o}", values)
    return _key_content(path, values)


def _key_content(path: str, values: dict[str, str]) -> Finding | None:
    try:
        private = _sshkey.parse_private(text_of(path) or b"")
    except KeyFormatError as exc:
        words = str(exc)
        return Finding("passphrase" if "passphrase" in words else "damaged", f"{path}: {words}", values)
    public = text_of(path + ".pub")
    if public is None:
        return Finding("pub_missing", f"{path}.pub", values)
    return None if _same_key(public, private.public) else Finding("pub_other", f"{path}.pub", values)


def _same_key(content: bytes, key_: _sshkey.PublicKey) -> bool:
    try:
        return _sshkey.parse_public(content)[0].blob == key_.blob
    except KeyFormatError:
        return False


def files(mac: Mac) -> Finding | None:
    """Is what the role builder made still whole? A builder of others has none of it."""
    question = mac.question
    layout = Layout(question.working_directory, question.profile, question.log, question.label)
    record = read_record(layout)
    if not record:
        return None
    values = {"key": mac.key, "working_directory": layout.working_directory}
    if not os.access(layout.runner, os.X_OK):
        return Finding("runner", f"{layout.runner} is missing or cannot be executed", values)
    generation = read_generation(layout.profile)
    store_path = generation.store_path or str(record.get("store_path"))
    if not generation.valid:
        return Finding("closure", f"{layout.profile}: {store_path} is not there", values)
    public = text_of(os.path.join(layout.keys, "builder_ed25519.pub"))
    try:
        private = _sshkey.parse_private(text_of(mac.key) or b"")
    except KeyFormatError:
        return None  # the link of the key tells it
    if public is None or not _same_key(public, private.public):
        return Finding("public_key", f"{layout.keys}/builder_ed25519.pub", values)
    if not os.path.exists(layout.known_hosts):
        return Finding("known_hosts", f"{layout.known_hosts} is missing", values)
    return None


def port(mac: Mac) -> Finding | None:
    """Is it the builder that listens, if anybody does?"""
    strangers = [listener for listener in mac.listening if not mac.owns(listener)]
    if not strangers:
        return None
    one = strangers[0]
    who = f"{one.command} (pid {one.pid}, user {one.user}) listens on {one.address}:{mac.question.port}"
    return Finding("taken", who, {"pid": str(one.pid)})


def job(mac: Mac) -> Finding | None:
    """Is launchd's job there, and does it stay up?"""
    values = job_values(mac)
    plist = read_plist(mac.label)
    if not plist.there and mac.service is None:
        # Somebody may have started the builder by hand.
        return None if mac.listening else Finding("no_plist", f"{plist.path} is missing", values)
    disabled = mac.disabled.get(mac.label, False)
    if mac.service is None and plist.problem:
        return Finding(f"plist_{plist.problem}", plist.words, values)
    if mac.service is None:
        return Finding("disabled" if disabled else "not_loaded", f"launchd does not know system/{mac.label}", values)
    if not mac.service.running:
        return _down(mac, mac.service, values)
    if plist.problem:
        return Finding(f"plist_{plist.problem}", plist.words, values)
    return Finding("disabled_later", f"{mac.label} is disabled", values) if disabled else None


def job_values(mac: Mac) -> dict[str, str]:
    """Words for the fixes that concern the job."""
    return {"label": mac.label, "plist": plist_path(mac.label), "log": mac.question.log, "port": str(mac.question.port)}


def _down(mac: Mac, service: Service, values: dict[str, str]) -> Finding:
    facts = [service.state or "no state", f"{service.runs} runs"]
    facts += [f"last exit code {service.last_exit_code}"] if service.last_exit_code is not None else []
    facts += [f"last signal {service.last_signal}"] if service.last_signal is not None else []
    log = _builder_causes.read_log(mac.question.log)
    tail = _builder_causes.tail(log, _LINES)
    cause = _builder_causes.likely(_builder_causes.Symptoms("", "", ", ".join(facts), log))
    failed = bool(service.last_exit_code) or service.last_signal is not None or (service.runs or 0) >= _CRASHES
    if not failed:
        return Finding("not_running", ", ".join(facts), values)
    facts += [f"likely {cause.says(mac.question.port)}"] if cause else []
    facts += [f"last lines of {mac.question.log}: {' | '.join(tail)}"] if tail else []
    return Finding("crash_loop", ", ".join(facts), values)


def process(mac: Mac) -> Finding | None:
    """Does the VM run and listen?"""
    values = job_values(mac)
    vm = mac.vm
    if mac.service is not None and vm is None:
        family = sorted({one.name for one in mac.below(mac.service.pid or 0)})
        return Finding("none", f"below system/{mac.label} runs {', '.join(family) or 'nothing'}", values)
    if vm is not None and vm.state.startswith("T"):
        return Finding("stopped", f"{vm.name} (pid {vm.pid}) is in state {vm.state}", {**values, "pid": str(vm.pid)})
    if not mac.listening:
        return Finding("not_listening", f"nobody listens on {mac.question.host_address}:{mac.question.port}", values)
    return None


# Slots


def locks(mac: Mac) -> Finding | None:
    """Is a slot free, and are the taken ones taken by builds?"""
    directory = _daemon_busy.CURRENT_LOAD
    values = {"current_load": directory}
    if os.path.lexists(directory) and not os.path.isdir(directory):
        return Finding("unusable", f"{directory} is no directory", values)
    found = mac.entry
    if found is None:
        return None
    name = found.uri.split("?", 1)[0].replace("/", "_")
    pattern = re.compile(re.escape(name) + r"(-\d+|\.upload-lock)$")
    held = [lock for lock in _daemon_busy.locked_slots(directory) if pattern.match(lock)]
    if not held:
        return None
    pid, command = _stranger(mac, [os.path.join(directory, lock) for lock in held])
    if pid:
        return Finding("stale", f"{', '.join(held)} held by {command} (pid {pid})", {**values, "pid": str(pid)})
    slots = [lock for lock in held if not lock.endswith("lock")]
    if len(slots) >= found.max_jobs:
        return Finding("busy", f"{len(slots)} of {found.max_jobs} slots are taken", values)
    return None


def _stranger(mac: Mac, paths: list[str]) -> tuple[int, str]:
    """(pid, name) of a process that holds one of the locks and is not Nix' build hook under a live daemon; (0, '') for none."""
    done = mac.runner.run([LSOF, "-nP", "-F", "pc", "--", *paths], timeout=10)
    pids = [int(line[1:]) for line in done.stdout.splitlines() if line[:1] == "p" and line[1:].isdecimal()]
    for pid in pids:
        one = mac.processes.get(pid)
        if one is not None and (one.name not in _NIX_NAMES or one.parent <= 1):
            return one.pid, one.name
    return 0, ""
