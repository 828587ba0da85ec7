# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Where the builder's files lie on this Mac, and how its ssh is spoken to."""

from __future__ import annotations

import os
import typing as t

ALIAS = "linux-builder"  # HostKeyAlias of every ssh connection that runner and module make
USER = "builder"  # the only account of the guest that takes our key
PUBLIC_KEY_NAME = "builder_ed25519.pub"  # the name under which the guest's sshd looks for it
DISK_NAME = "nixos.qcow2"


class Layout(t.NamedTuple):
    """The builder's places on this Mac; every path is absolute."""

    working_directory: str
    profile: str
    log_path: str
    label: str

    def path(self, *names: str) -> str:
        """A path below the working directory."""
        return os.path.join(self.working_directory, *names)

    @property
    def record(self) -> str:
        """What was asked for and realised, as JSON."""
        return self.path("builder.json")

    @property
    def runner(self) -> str:
        """The script that launchd runs."""
        return self.path("run-builder")

    @property
    def known_hosts(self) -> str:
        """The pinned host key of the guest."""
        return self.path("known_hosts")

    @property
    def keys(self) -> str:
        """The directory that the guest sees as /var/keys."""
        return self.path("keys")

    @property
    def staged(self) -> str:
        """Root of a VM that is built but not yet the profile's."""
        return self.path("next")

    @property
    def previous(self) -> str:
        """Root of the VM that served before the last change; beside the profile, where no Nix has to register it."""
        return self.profile + "-previous"

    @property
    def journal(self) -> str:
        """What a change that is under way has to finish or to undo, as JSON."""
        return self.path("change.json")

    @property
    def disk(self) -> str:
        """The guest's data disk."""
        return self.path(DISK_NAME)

    @property
    def state_directory(self) -> str:
        """Who runs: claims of runners, the VM's process id."""
        return self.path("run")

    @property
    def runner_pid(self) -> str:
        """The runner's process id, for newsyslog(8)."""
        return os.path.join(self.state_directory, "runner.pid")

    @property
    def temporary(self) -> str:
        """TMPDIR of the VM; emptied at each start."""
        return self.path("tmp")

    @property
    def nix_home(self) -> str:
        """HOME of the Nix commands, so that root's own home gets no cache of ours."""
        return self.path("nix-home")

    @property
    def directories(self) -> tuple[tuple[str, int], ...]:
        """Directories and their modes, parents first."""
        return (
            (self.working_directory, 0o755),
            (self.keys, 0o755),
            (self.state_directory, 0o755),
            (self.temporary, 0o700),
        )


def connect_address(host_address: str) -> str:
    """An address to connect to for one to listen on: 0.0.0.0 stands for every address of the Mac."""
    return "127.0.0.1" if host_address == "0.0.0.0" else host_address


SSH = "/usr/bin/ssh"


def ssh_options(known_hosts: str, client_key: str, connect_timeout: int) -> list[str]:
    """Options of every ssh connection to the guest: nobody's configuration, only the pinned key, never a prompt."""
    return [
        "-F",
        "/dev/null",
        "-o",
        f"UserKnownHostsFile={known_hosts}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"HostKeyAlias={ALIAS}",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={connect_timeout}",
        "-o",
        "ServerAliveInterval=5",
        "-o",
        "ServerAliveCountMax=2",
        "-i",
        client_key,
    ]
