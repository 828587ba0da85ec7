# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container engine: podman with settings and storage of the lab's own, or docker as it is."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import typing as t

from . import core

STORAGE = core.CACHE / "storage"
NETWORKS = core.CACHE / "networks"
# Short, because sockets live below it.
_MARK = core.digest([], str(core.CACHE))
RUNROOT = f"/run/nixmac-lab-{_MARK[:8]}"
# A network of the lab's own: two podman storages (this one and the machine's) would give out the same addresses.
NETWORK = f"nixmac-{_MARK[:6]}"
SUBNET = f"10.213.{int(_MARK[:2], 16)}.0/24"


def _ulimit(kind: int, wanted: int) -> str:
    """Return soft:hard for a container that stays below this machine's own hard limit (podman's default may not)."""
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return f"{value}:{value}"


def _podman_env() -> dict[str, str]:
    """Write the lab's podman settings and return the environment that makes podman use them and nothing else."""
    core.CACHE.mkdir(parents=True, exist_ok=True)
    limits = [f"nofile={_ulimit(resource.RLIMIT_NOFILE, 65536)}", f"nproc={_ulimit(resource.RLIMIT_NPROC, 32768)}"]
    runtime = "runc" if shutil.which("runc") or shutil.which("runc", path="/usr/sbin:/usr/local/sbin") else "crun"
    settings = core.CACHE / "containers.conf"
    text = (
        f'[containers]\ndefault_ulimits = {json.dumps(limits)}\nlog_driver = "k8s-file"\nlog_size_max = 10485760\n'
        f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        # State of this storage alone: the machine's own podman and other checkouts have theirs elsewhere.
        f'tmp_dir = "{RUNROOT}/libpod"\nlock_type = "file"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = {json.dumps(str(NETWORKS))}\n'
    )
    storage = core.CACHE / "storage.conf"
    storage_text = f'[storage]\ndriver = "overlay"\ngraphroot = {json.dumps(str(STORAGE))}\nrunroot = "{RUNROOT}"\n'
    # Where the state lies must not change under a storage in use: the settings are written once for each.
    if not (STORAGE.exists() and settings.exists() and storage.exists()):
        settings.write_text(text, encoding="utf-8")
        storage.write_text(storage_text, encoding="utf-8")
    return {"CONTAINERS_CONF": os.fspath(settings), "CONTAINERS_STORAGE_CONF": os.fspath(storage)}


def environment() -> dict[str, str]:
    """Return what must be in the environment of an engine command."""
    return _podman_env() if core.ENGINE == "podman" else {}


def call(*argv: str, **options: t.Any) -> subprocess.CompletedProcess[str]:
    """Run an engine command (see `core.run` for the options)."""
    return core.run([core.need(core.ENGINE), *argv], env=environment(), **options)


def output(*argv: str) -> str | None:
    """Return an engine command's output, or None if it failed."""
    done = call(*argv, check=False, capture=True)
    return done.stdout.strip() if done.returncode == 0 else None


def network() -> str:
    """Return the name of the lab's network, made if need be."""
    if output("network", "inspect", NETWORK) is None:
        if core.ENGINE == "podman":
            _write_network()
        else:
            call("network", "create", NETWORK, capture=True)
    return NETWORK


def _write_network() -> None:
    """Define the network in podman's own file format: older podman cannot name the bridge on its command line."""
    NETWORKS.mkdir(parents=True, exist_ok=True)
    settings = {
        "name": NETWORK,
        "id": (_MARK * 4)[:64],
        "driver": "bridge",
        "network_interface": NETWORK,
        "created": "2026-01-01T00:00:00Z",
        "subnets": [{"subnet": SUBNET, "gateway": SUBNET.replace(".0/24", ".1")}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }
    core.write_json(NETWORKS / f"{NETWORK}.json", settings)


def image_exists(name: str) -> bool:
    """Say whether the engine has the image."""
    return output("image", "inspect", "--format", "{{.Id}}", name) is not None


def state(container: str) -> str | None:
    """Return `running`, `exited`, `created`, ... or None if there is no such container."""
    return output("container", "inspect", "--format", "{{.State.Status}}", container)


def destroy_storage() -> None:
    """Remove the lab's network and, for podman, the whole storage.

    Not by `podman system reset`, which also takes state that other storages of the machine share.
    """
    if shutil.which(core.ENGINE):
        if core.ENGINE == "podman" and STORAGE.exists():
            call("rm", "--all", "--force", check=False, capture=True)
        call("network", "rm", NETWORK, check=False, capture=True)
    if core.ENGINE != "podman":
        return
    for path in (os.fspath(STORAGE), RUNROOT):
        subprocess.run(["umount", "--quiet", os.path.join(path, "overlay")], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(path, ignore_errors=True)
