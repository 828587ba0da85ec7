# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the builder on this Mac shall be: options checked and completed, and where each of its files lies."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_nixos_modules, _vz
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache import Cache, cache_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import GuestConfig, guest_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import (
    ALIAS,
    USER,
    Layout,
    connect_address,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

# What the guest's CA bundle is copied from, best first. Without one the guest trusts no https substituter.
CA_FILES = (
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
)

# A comma ends a file name inside QEMU's -drive, a blank one in ssh's options, where % is expanded too.
_UNSAFE = re.compile(r"[\x00-\x20\x7f,%\"'\\$`]")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


class Spec(t.NamedTuple):
    """The builder that was asked for; nothing is left to default any more but `disk_mib` (None: the image's own)."""

    layout: Layout
    package: str
    update: bool
    host_address: str
    port: int
    accept_any_address: bool
    cores: int
    memory_mib: int
    disk_mib: int | None
    client_key: str
    host_key: str  # `type base64`, without comment
    ca_file: str
    stop_timeout: int  # seconds
    log_size_kib: int = 1024  # from which size on the log is rotated
    log_count: int = 5  # rotated logs that are kept
    max_clock_skew: int = 60  # seconds; 0: the guest is never restarted for its clock
    per_mac: bool = False  # whether the guest takes its host key from the keys directory
    # How a change is carried out (_builder_change). All below has defaults, so that a part's tests name only its own.
    timeout: float = 300.0  # seconds from the start of the VM to its answer
    drain_timeout: float = 600.0  # seconds that running builds may take before the VM is stopped
    force: bool = False  # stop it under running builds
    prove: bool = True  # build once in the new guest before it is trusted
    verified_next: bool = False  # whether the play does so itself; then only where there is a way back
    keep_generations: int = 3
    uri: str = f"ssh-ng://{USER}@{ALIAS}"  # as the machines file names the builder: whose builds hold up a stop
    # The data disk (_builder_disk) and the hypervisor (_vz).
    allow_disk_recreate: bool = False  # whether a disk that cannot get its size in place may be made anew
    disk_on_upgrade: str = "keep"  # keep or recreate: what becomes of the disk under another image
    vz: bool = False  # whether the VM is Apple's Virtualization.framework's (vzvm), not QEMU's
    nested: bool = False  # vz only: the guest gets /dev/kvm
    guest: GuestConfig = GuestConfig()  # what else the guest has beyond the stock image
    cache: Cache | None = None  # the fleet's store, where the closure may come from

    @property
    def connect_address(self) -> str:
        """Where to connect to reach the guest from this Mac."""
        return connect_address(self.host_address)

    @property
    def overrides(self) -> dict[str, t.Any]:
        """What is built into the VM's start script, so that a change of it needs a new store path."""
        overrides: dict[str, t.Any] = {"host_address": self.host_address, "port": self.port, "disk_mib": self.disk_mib}
        if self.vz:  # vzvm's configuration is written by the start script; QEMU takes these on its command line
            overrides.update(cores=self.cores, memory_mib=self.memory_mib, nested=self.nested)
        # Left out where it is the stock image's, as it was before there was a choice.
        if self.per_mac:
            overrides["host_key"] = "per_mac"
        digest = _builder_nixos_modules.digest(self.guest, self.per_mac)
        return {**overrides, "guest": digest} if digest else overrides

    @property
    def host_options(self) -> dict[str, t.Any]:
        """What only the runner and the job know; a change of it needs a restart, no build."""
        return {
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "stop_timeout": self.stop_timeout,
            "ca_file": self.ca_file,
            "client_key": self.client_key,
            "label": self.layout.label,
            "log_path": self.layout.log_path,
            "profile": self.layout.profile,
        }

    @property
    def known_hosts_line(self) -> str:
        """The pinned key as ssh reads it."""
        return f"{ALIAS} {self.host_key}\n"


def layout_from(params: t.Mapping[str, t.Any]) -> Layout:
    """The places that the module's options name. ConfigError for a path that cannot be used."""
    for name in ("working_directory", "profile", "log_path"):
        _check_path(name, params[name])
    if os.path.normpath(params["working_directory"]).count("/") < 2:
        raise ConfigError(
            f"working_directory: {params['working_directory']} is a top directory of this Mac. "
            "Name a directory of its own, for example /var/lib/linux-builder."
        )
    return Layout(
        working_directory=os.path.normpath(params["working_directory"]),
        profile=os.path.normpath(params["profile"]),
        log_path=os.path.normpath(params["log_path"]),
        label=params["label"],
    )


def spec_from(params: t.Mapping[str, t.Any], *, default_cores: int, default_memory_mib: int) -> Spec:
    """Check the module's options and complete them. default_*: for options that were left out (MiB).

    ConfigError names the option and the way out.
    """
    layout = layout_from(params)
    _check_path("client_key", params["client_key"])
    if params.get("ca_file"):
        _check_path("ca_file", params["ca_file"])
    per_mac = params.get("host_key") == "per_mac"
    address = _address(params["host_address"], per_mac)
    package, guest = _package(params["package"]), guest_from(params)
    return Spec(
        layout=layout,
        package=package,
        update=bool(params["update"]),
        host_address=address,
        port=_within("port", params["port"], 1, 65535),
        accept_any_address=bool(params["accept_any_address"]),
        cores=_within("cores", params["cores"] or default_cores, 1, 1024),
        memory_mib=_within("memory_mib", params["memory_mib"] or default_memory_mib, 512, 16 * 1024 * 1024),
        disk_mib=None if not params["disk_mib"] else _within("disk_mib", params["disk_mib"], 1024, 64 * 1024 * 1024),
        client_key=os.path.normpath(params["client_key"]),
        host_key=parse_host_key(params["public_host_key"]),
        per_mac=per_mac,
        cache=cache_from(params.get("cache"), params.get("cache_public_key")),
        guest=guest.without_override() if package.startswith("/nix/store/") else guest,
        ca_file=params.get("ca_file") or next((path for path in CA_FILES if os.path.exists(path)), CA_FILES[0]),
        stop_timeout=_within("stop_timeout", params["stop_timeout"], 1, 3600),
        log_size_kib=_within("log_size_kib", params.get("log_size_kib") or 1024, 16, 1024 * 1024),
        log_count=_within("log_count", params["log_count"] if params.get("log_count") is not None else 5, 0, 100),
        max_clock_skew=_within(
            "max_clock_skew", params["max_clock_skew"] if params.get("max_clock_skew") is not None else 60, 0, 86400
        ),
        **_change_options(params),
        **_machine_options(params),
    )


def _change_options(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The fields of Spec that say how a change is carried out; those that were not given keep their defaults."""
    bounds = {"timeout": (1, 86400), "drain_timeout": (0, 86400), "keep_generations": (1, 1000)}
    numbers = {
        name: _within(name, params[name], low, high) for name, (low, high) in bounds.items() if params.get(name) is not None
    }
    others = {name: params[name] for name in ("force", "prove", "verified_next", "uri") if params.get(name) is not None}
    return {**numbers, **others}


def _machine_options(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The fields of Spec about the data disk and the hypervisor."""
    vz = _vz.is_vz(_package(params["package"]))
    nested = bool(params.get("nested_virtualization"))
    if nested and not vz:
        raise ConfigError(
            "nested_virtualization: only darwin.linux-builder-vz has it. Name that as package, or leave this option out."
        )
    return {
        "allow_disk_recreate": bool(params.get("allow_disk_recreate")),
        "disk_on_upgrade": params.get("disk_on_upgrade") or "keep",
        "vz": vz,
        "nested": nested,
    }


def parse_host_key(text: str) -> str:
    """`type base64` of a public key given as a line, or as base64 of such a line (field 8 of a machines entry).

    ConfigError when it is neither.
    """
    line = text.strip()
    if " " not in line:
        try:
            line = base64.b64decode(line, validate=True).decode("ascii").strip()
        except (binascii.Error, ValueError) as exc:
            raise _no_key() from exc
    fields = line.split()
    if len(fields) < 2 or "\n" in line or fields[0] not in _KEY_TYPES:
        raise _no_key()
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _no_key() from exc
    name = fields[0].encode()
    # The blob names its own type; an OpenSSH that finds another one ignores the line.
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name:
        raise _no_key()
    return f"{fields[0]} {fields[1]}"


def _no_key() -> ConfigError:
    return ConfigError(
        "public_host_key: is no OpenSSH public key. Give `ssh-ed25519 AAAA...`, or base64 of such a line, "
        "as ssh_host_key returns it in public_key or public_key_base64."
    )


def _check_path(name: str, value: str) -> None:
    if not os.path.isabs(value):
        raise ConfigError(f"{name}: {value!r} is not an absolute path. Write it from / on.")
    if _UNSAFE.search(value):
        raise ConfigError(
            f"{name}: {value!r} has a blank, comma, quote, % or $, which QEMU or ssh would misread. Name another path."
        )


def _package(value: str | None) -> str:
    text = (value or "").strip()
    if not text:
        raise ConfigError("package: is missing. Name a flake reference with a revision, or a store path.")
    if re.search(r"[\x00-\x20\x7f\"\\$]", text):
        raise ConfigError(f"package: {text!r} has a blank, quote, backslash or dollar sign; no flake reference has these.")
    return text


def _address(value: str, per_mac: bool) -> str:
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError as exc:
        raise ConfigError(f"host_address: {value!r} is no IPv4 address (QEMU forwards no other). Use 127.0.0.1.") from exc
    if not address.is_loopback and not per_mac:
        raise ConfigError(
            f"host_address: {value} can be reached from other machines, and the stock image's private host key is public, "
            "so whoever reaches the port could pass for the builder. Use 127.0.0.1, or host_key: per_mac."
        )
    return str(address)


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ConfigError(f"{name}: {value} is not between {low} and {high}.")
    return value
