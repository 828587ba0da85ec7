# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The rules of the links on the Mac's side up to ssh: each looks at the facts and names a cause, or none."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _daemon_state, _files, _mac
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_layout as _conf
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import processes
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Finding
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac import Mac, plist_path, read_plist
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import names_in, text_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines import same_uri
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_file import pieces
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import EMPTY_CONF_DIR, complaint
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import decode

SOCKETS = ("/nix/var/nix/daemon-socket/socket", "/var/run/nix-daemon.socket")
DAEMON_RECORD = "/var/db/nixmac.linux_builder/daemon.json"
_LEAST_FREE_MIB = 512
# Nix quotes the line that it cannot read, and such a line may be a token for some server.
_QUOTED_LINE = re.compile(r"(configuration line ).*?( in ['\"])")
_SSH_CONFIGS = "/etc/ssh/ssh_config.d"


def macos(mac: Mac) -> Finding | None:
    """Is it a Mac, and new enough?"""
    version = mac.machine.version
    if not version:
        return Finding("not_macos", f"{_mac.SYSTEM_VERSION} names no version")
    if _mac.version_key(version) < _mac.version_key(mac.question.minimum_macos):
        return Finding("too_old", f"macOS {version}, needed is {mac.question.minimum_macos}")
    return None


def virtualization(mac: Mac) -> Finding | None:
    """Does the kernel offer a hypervisor?"""
    return Finding("off", "kern.hv_support is 0") if mac.machine.virtualization is False else None


def nix(mac: Mac) -> Finding | None:
    """Is there a Nix that starts?"""
    if mac.nix is None:
        return Finding("missing", "no nix in /nix/var/nix/profiles/default/bin")
    try:
        mac.nix.version()
    except CommandError as exc:
        return Finding("broken", exc.message)
    return None


def nix_conf(mac: Mac) -> Finding | None:
    """Does Nix read its configuration?"""
    if mac.shown.rc == 0:
        return None
    if isinstance(mac.stream, LinuxBuilderError):
        return Finding("malformed", mac.stream.message)
    return Finding("broken", _QUOTED_LINE.sub(r"\1'…'\2", complaint(mac.shown))[-600:])


def nix_daemon(mac: Mac) -> Finding | None:
    """Does the daemon answer, and if not, why?"""
    if mac.nix is None:  # the link before this one said so
        return None
    values = daemon_values(mac)
    label = mac.daemon_label
    try:
        ping = mac.nix.store_ping("daemon", timeout=10)
    except CommandError as exc:
        return _why_no_daemon(mac, exc.message) if "timeout" in exc.details else _reraise(exc)
    if not ping.ok:
        return _why_no_daemon(mac, ping.error)
    if label is not None and mac.disabled.get(label, False):
        return Finding("disabled_later", f"launchctl print-disabled system: {label} is disabled", values)
    return None


def _reraise(exc: CommandError) -> t.NoReturn:
    raise exc


def daemon_values(mac: Mac) -> dict[str, str]:
    """Words for the fixes that concern the daemon."""
    label = mac.daemon_label or "org.nixos.nix-daemon"
    return {"daemon_label": label, "daemon_plist": plist_path(label)}


def _why_no_daemon(mac: Mac, words: str) -> Finding:
    values = daemon_values(mac)
    label = mac.daemon_label
    if label is None:
        return Finding("no_plist", words, values)
    plist = read_plist(label)
    if plist.problem:
        return Finding("plist_invalid", plist.words, values)
    service = mac.daemon_service
    if service is None:
        disabled = mac.disabled.get(label, False)
        return Finding("disabled" if disabled else "not_loaded", f"launchd does not know system/{label}", values)
    if not service.running and service.last_exit_code:
        return Finding("crash_loop", f"{service.state}, last exit code {service.last_exit_code}", values)
    if not any(os.path.exists(path) for path in SOCKETS):
        return Finding("no_socket", f"{SOCKETS[0]} is missing", values)
    return Finding("no_answer", words, values)


def mac_disk(mac: Mac) -> Finding | None:
    """Is there space?"""
    for path in ("/nix/store", mac.question.working_directory):
        free = _mac.free_disk_mib(path)
        if free is not None and free < _LEAST_FREE_MIB:
            return Finding("full", f"{path}: {free} MiB free")
    return None


def setup(mac: Mac) -> Finding | None:
    """Is there anything of a builder?"""
    question = mac.question
    signs = (
        question.working_directory + "/builder.json",
        plist_path(mac.label),
        question.key,
        f"{_SSH_CONFIGS}/100-linux-builder.conf",
        f"{_SSH_CONFIGS}/100-nixmac-linux-builder.conf",
    )
    if any(os.path.lexists(path) for path in signs) or mac.entry is not None or mac.machines.problems:
        return None
    return Finding("none", f"no entry for {question.uri}, no {question.key}, no launchd job")


# How the daemon finds the builder


def builders(mac: Mac) -> Finding | None:
    """Does the effective setting lead to the entry's file, and can all of it be read?"""
    if mac.machines.problems:
        where, what = mac.machines.problems[0]
        return Finding("malformed", f"{where}: {what}")
    if mac.entry is not None:
        return None
    path = f"{_conf.CONF_DIR}/machines"
    if os.path.realpath(path) in mac.machines.files or not _names_uri(path, mac.question.uri):
        return None
    setting = mac.settings.get("builders")
    value = str(setting.value) if setting is not None else ""
    return Finding("not_reached", f"builders = {_shortened(value)}{_set_at(mac, 'builders')}, and the entry is in {path}")


def _names_uri(path: str, uri: str) -> bool:
    words = [piece.split() for line in decode(text_of(path) or b"").split("\n") for piece in pieces(line)]
    return any(word and same_uri(word[0], uri) for word in words)


def _shortened(value: str) -> str:
    return "(empty)" if not value else value if len(value) <= 120 else value[:120] + "…"


def _set_at(mac: Mac, name: str) -> str:
    """Where the line stands that makes a setting what it is."""
    if isinstance(mac.stream, LinuxBuilderError):
        return ""
    live = mac.stream.live(name)
    return f" at {live[-1].where}" if live else ""


def entry(mac: Mac) -> Finding | None:
    """Does the entry offer what is asked for?"""
    question, found = mac.question, mac.entry
    if found is None:
        others = [machine.uri for machine in mac.machines.found if any(s.endswith("-linux") for s in machine.systems)]
        return Finding("missing", f"no entry for {question.uri}" + (f"; there is {', '.join(others[:3])}" if others else ""))
    if found.max_jobs == 0:
        return Finding("no_jobs", f"{found.where}: max jobs is 0")
    for code, wanted, offered in (
        ("system", question.systems, found.systems),
        ("feature", question.features, found.features),
    ):
        lacking = [word for word in wanted or () if word not in offered]
        if lacking:
            return Finding(code, f"{found.where}: offers {', '.join(offered) or 'none'}, asked is {', '.join(lacking)}")
    return None


def daemon_config(mac: Mac) -> Finding | None:
    """Has the running daemon read what is on disk?"""
    service = mac.daemon_service
    if mac.nix is None or service is None or service.pid is None or mac.daemon_label is None:
        return None
    record = _daemon_state.parse_record(_files.read(DAEMON_RECORD).content)
    bare = mac.nix.settings(EMPTY_CONF_DIR) if record is not None else {}
    mine = processes(mac.runner).get(service.pid)
    facts = _daemon_state.Facts(
        label=mac.daemon_label,
        pid=service.pid,
        started=mine.started if mine else None,
        settings=_daemon_state.digests(mac.settings, bare),
        files={path: _daemon_state.changed_at(path) for path in _daemon_state.read_files("/etc/nix/nix.conf")},
        record=record,
    )
    decision = _daemon_state.decide(facts)
    return Finding("stale", decision.reason, daemon_values(mac)) if decision.required else None


def trusted_users(mac: Mac) -> Finding | None:
    """Are the users trusted that shall be?"""
    setting = mac.settings.get("trusted-users")
    effective = list(setting.value) if setting is not None and isinstance(setting.value, list) else []
    lacking = [user for user in mac.question.trusted_users if user not in effective and "*" not in effective]
    if not lacking:
        return None
    return Finding("missing", f"{', '.join(lacking)}; trusted-users = {' '.join(effective)}{_set_at(mac, 'trusted-users')}")


def alias(mac: Mac) -> Finding | None:
    """Where does root's ssh go for the builder's name?"""
    question = mac.question
    if not question.uses_alias:
        return None
    host = question.host[1]
    values = {"host": host}
    done = mac.ssh_config
    if done.rc != 0:
        return Finding("config", done.words[-400:], values)
    config = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in done.stdout.splitlines()[::-1]}
    if config.get("hostname", host) == host and "." not in host:
        return _unknown(host)
    return _misled(mac, config, host, values)


def _misled(mac: Mac, config: t.Mapping[str, str], host: str, values: dict[str, str]) -> Finding | None:
    question = mac.question
    address, port = config["hostname"], config.get("port", "22")
    loopback = ("127.0.0.1", "localhost", "::1")
    if address != question.host_address and not (address in loopback and question.host_address in loopback):
        return Finding("address", f"ssh -G {host}: hostname {address}, the VM is at {question.host_address}", values)
    if port != str(question.port):
        return Finding("port", f"ssh -G {host}: port {port}, the VM is at {question.port}", values)
    looked_up = config.get("hostkeyalias", "none")
    if mac.entry is not None and mac.entry.host_key and looked_up != host and (address, port) != (host, "22"):
        return Finding("host_key_alias", f"ssh -G {host}: hostkeyalias {looked_up}, Nix writes the key for {host}", values)
    return None


def _unknown(host: str) -> Finding:
    pattern = re.compile(rf"^\s*host\s+(\S+\s+)*{re.escape(host)}(\s|$)", re.IGNORECASE | re.MULTILINE)
    for name in names_in(_SSH_CONFIGS):
        path = f"{_SSH_CONFIGS}/{name}"
        if pattern.search(decode(text_of(path) or b"")):
            return Finding("not_included", f"{path} names {host}, and ssh -G {host} does not know it", {"host": host})
    return Finding("missing", f"ssh -G {host}: hostname {host}", {"host": host})
