# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Every reason why a Mac cannot have the builder, each with its fix. Pure: works on the dict of `_info.read`."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _vz
from ansible_collections.nixmac.linux_builder.plugins.module_utils._mac import version_key

Info = t.Mapping[str, t.Any]

NEW_DISK_MIB = 20480  # what nixpkgs' image gives a new disk
_OR_ADOPT = " Or set linux_builder_adopt: true, to take it over with its disk and its keys."


class Wanted(t.NamedTuple):
    """What shall be set up. minimum_macos: version. disk_mib: size of the VM's disk, None: that of the one it has. reserve_mib:
    to stay free.

    host_key: V(stock) or V(per_mac). hypervisor: what concerns vz.
    """

    minimum_macos: str = "13.0"
    disk_mib: int | None = None
    reserve_mib: int = 4096
    host_key: str = "stock"
    hypervisor: _vz.Wish = _vz.Wish(None, False)


class Problem(t.NamedTuple):
    """A reason that stops a host (or a warning that does not): a fixed code and a message that names the fix.

    adoption_solves: whether it is gone once the builder that is there has been adopted.
    """

    code: str
    message: str
    adoption_solves: bool = False

    def as_dict(self) -> dict[str, t.Any]:
        """For a module's result."""
        return self._asdict()


def problems(info: Info, wanted: Wanted) -> list[Problem]:
    """All reasons, the most basic ones first; empty when the Mac can have the builder."""
    found: list[Problem] = []
    for rule in _RULES:
        found.extend(rule(info, wanted))
    return found


def warnings(info: Info) -> list[str]:
    """What does not stop the host but will disappoint."""
    found = []
    if info["virtualization"] is False:
        found.append(
            "This Mac offers no hypervisor (kern.hv_support is 0, as inside most virtual machines): QEMU emulates the "
            "processor instead, and every build takes many times longer. Use a Mac that is no virtual machine, or one "
            "with nested virtualization."
        )
    for builder in info["adoptable"]:
        if builder["pid"] is not None and builder["port"] != info["port"]["number"]:
            found.append(
                f"A builder of others runs in {builder['directory']} on port {builder['port']} (process {builder['pid']}) and "
                "would stay beside this one. Set linux_builder_adopt: true, to take it over with its disk and its keys."
            )
    for name, key in (("launchd", "builder"), ("launchd", "daemon"), ("lsof", "port")):
        if info[key].get("error"):
            found.append(f"{name} could not be asked: {info[key]['error']}")
    return found


def _rights(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    if not info["root"]:
        yield Problem("not_root", "Not run as root: not everything can be seen. Run the task with become: true.")


def _macos(info: Info, wanted: Wanted) -> t.Iterator[Problem]:
    version = info["macos"]["version"]
    if not version:
        yield Problem(
            "not_macos",
            "This host is no Mac: /System/Library/CoreServices/SystemVersion.plist names no version. "
            "Take it out of the inventory group.",
        )
    elif version_key(version) < version_key(wanted.minimum_macos):
        yield Problem(
            "macos_too_old",
            f"macOS {version} is older than {wanted.minimum_macos}, which the QEMU of this pin needs. Update macOS, or set "
            "linux_builder_package to an older nixpkgs revision (QEMU before 9.2 runs on 12.4) and "
            "linux_builder_minimum_macos to what that one needs.",
        )


def _architecture(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    if not info["system"]:
        yield Problem(
            "architecture_unsupported",
            f"Architecture {info['architecture']}: there is a builder for arm64 and x86_64 only. Leave this host out.",
        )


def _hypervisor(info: Info, wanted: Wanted) -> t.Iterator[Problem]:
    for code, message in _vz.problems(info, wanted.hypervisor):
        yield Problem(code, message)


def _nix(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    nix = info["nix"]
    if nix["path"] is None:
        yield Problem(
            "nix_missing",
            "Nix is not installed: no nix in /nix/var/nix/profiles/default/bin nor elsewhere. "
            "Install Nix for several users (multi-user) first.",
        )
    elif nix["error"]:
        yield Problem(
            "nix_broken",
            f"Nix does not work: {nix['error']} Repair what it names; `{nix['path']} show-config` must succeed as root.",
        )


def _conf(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    conf = info["nix_conf"]
    if not conf["writable"]:
        yield Problem(
            "nix_conf_managed",
            f"{conf['reason']} (https://nix-darwin.github.io/nix-darwin/manual/). This collection does not edit it.",
        )


def _daemon(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    daemon = info["daemon"]
    if info["nix"]["path"] is None or daemon["loaded"] or daemon.get("error"):
        return
    if daemon["label"] is None:
        yield Problem(
            "nix_daemon_missing",
            "There is no Nix daemon in /Library/LaunchDaemons, so this Nix is a single-user one. "
            "Install Nix for several users (multi-user).",
        )
    else:
        label = daemon["label"]
        yield Problem(
            "nix_daemon_not_loaded",
            f"The Nix daemon {label} is not loaded. Load it: sudo launchctl enable system/{label}; "
            f"sudo launchctl bootstrap system /Library/LaunchDaemons/{label}.plist",
        )


def _directory(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    directory = info["builder"]["working_directory"]
    if directory["kind"] not in ("directory", "absent"):
        yield Problem(
            "working_directory_no_directory",
            f"{directory['path']}: is no directory but {directory['kind']}. Move it away, or set "
            "linux_builder_working_directory to another path.",
        )


def _disk(info: Info, wanted: Wanted) -> t.Iterator[Problem]:
    free = info["free_disk_mib"]
    size = wanted.disk_mib
    if size is None:
        size = info["builder"]["disk_mib"] or NEW_DISK_MIB
    missing = max(0, size - info["builder"]["disk_used_mib"])
    adopted = max((builder["disk_used_mib"] for builder in info["adoptable"]), default=0)
    if free is not None and free < missing + wanted.reserve_mib:
        yield Problem(
            "disk_too_small",
            f"{info['builder']['working_directory']['path']}: {free} MiB free, but the builder's disk may still grow by "
            f"{missing} MiB and {wanted.reserve_mib} MiB shall stay free. Free some space, or lower linux_builder_disk_mib.",
            adoption_solves=free >= max(0, size - adopted) + wanted.reserve_mib,
        )


def _other_builder(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    for other in info["other_builders"]:
        if other["loaded"]:
            adoptable = any(builder["label"] == other["label"] for builder in info["adoptable"])
            yield Problem(
                "other_builder",
                f"The Linux builder {other['label']} of {other['owner']} is loaded. Turn it off there, "
                f"or: sudo launchctl bootout system/{other['label']}; sudo launchctl disable system/{other['label']}"
                + (_OR_ADOPT if adoptable else ""),
                adoption_solves=adoptable,
            )


def _address(info: Info, wanted: Wanted) -> t.Iterator[Problem]:
    address = str(info["port"]["address"])
    if wanted.host_key == "stock" and not address.startswith("127."):
        yield Problem(
            "address_needs_own_key",
            f"linux_builder_host_address: {address} can be reached from other machines, and the stock host key is published, so "
            "whoever answers there could pass for the builder. Use 127.0.0.1, or set linux_builder_host_key: per_mac.",
        )


def _port(info: Info, _wanted: Wanted) -> t.Iterator[Problem]:
    port = info["port"]
    if not port["listening"] or port["ours"]:
        return
    adoptable = any(builder["pid"] == port["pid"] for builder in info["adoptable"])
    who = f"{port['command']} (pid {port['pid']}, user {port['user']})"
    if port["number"] == 22:
        fix = (
            "On a Mac that is reached over SSH that is Remote Login. Leave linux_builder_port at 31022 "
            "(linux_builder_form: alias), or turn Remote Login off."
        )
    elif str(port["command"]).startswith(("qemu-sys", "vzvm")):
        fix = "It looks like a builder that was started by hand. Stop it (in it: shutdown now), then run again."
    else:
        fix = f"Stop it (sudo kill {port['pid']}), or set linux_builder_port to a free port."
    message = f"Port {port['number']} on {port['address']} is taken by {who}. {fix}{_OR_ADOPT if adoptable else ''}"
    yield Problem("port_taken", message, adoption_solves=adoptable)


_RULES = (
    _rights,
    _macos,
    _architecture,
    _hypervisor,
    _nix,
    _conf,
    _daemon,
    _directory,
    _disk,
    _other_builder,
    _address,
    _port,
)
