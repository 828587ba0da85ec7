# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The guest over ssh, reached as the Nix daemon reaches it: same name, key and host key."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shlex
import tempfile
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._place import ALIAS, LOG, Place

SSH = "/usr/bin/ssh"
_URI = re.compile(r"(?:ssh|ssh-ng)://(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?([A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(\d+))?(?:[/?].*)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = re.compile(r"(\d+\.\d+(?:\.\d+)?)")
_CONNECT_SECONDS = 10


class Target(t.NamedTuple):
    """The builder as Nix knows it, and where it listens.

    uri: store URI. key: path of the private key. alias: the name that the ssh configuration of this Mac knows;
    where the URI names another host, `host_address` and `port` are used. public_host_key: base64 as in the 8th
    field of the machines file; empty where the usual known_hosts files decide. label, log, known_hosts: for messages.
    """

    uri: str
    key: str
    alias: str = ALIAS
    host_address: str = Place.host_address
    port: int = Place.port
    public_host_key: str = ""
    label: str = Place.label
    log: str = LOG
    known_hosts: str = f"{Place.working_directory}/known_hosts"

    def parts(self) -> tuple[str, str, str]:
        """(user, host, port) of the URI, empty where it names none. ConfigError for no ssh URI."""
        match = _URI.fullmatch(self.uri)
        if match is None:
            raise ConfigError(f"uri: {self.uri!r} is no ssh store. Write it like ssh-ng://builder@linux-builder.")
        return match.group(1) or "", match.group(2), match.group(3) or ""

    def known_host(self) -> str:
        """The known_hosts line that Nix makes of the 8th field; empty without one."""
        if not self.public_host_key:
            return ""
        try:
            text = base64.b64decode(self.public_host_key, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError) as exc:
            raise ConfigError(
                "public_host_key: is not the base64 form of a public key line. ssh_host_key returns it as public_key_base64."
            ) from exc
        return f"{self.parts()[1]} {text.strip()}\n"


class Facts(t.NamedTuple):
    """The guest: its boot id, its kernel's architecture, the version of its Nix (empty where it did not say)."""

    boot_id: str
    architecture: str
    nix_version: str


class Guest:
    """Commands in the VM, each over one authenticated connection (others count against us in its sshd)."""

    def __init__(self, target: Target, runner: Runner) -> None:
        self.target = target
        self.runner = runner
        self.user, self.host, self.port = target.parts()
        self.known_host = target.known_host()

    def argv(self, known_hosts: str | None) -> list[str]:
        """The ssh command line without the command."""
        target = self.target
        argv = [
            SSH,
            "-o",
            "BatchMode=yes",
            "-o",
            f"ConnectTimeout={_CONNECT_SECONDS}",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            target.key,
        ]
        if known_hosts is not None:
            argv += ["-o", f"UserKnownHostsFile={known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        if self.host != target.alias:
            argv += ["-o", f"HostName={target.host_address}", "-o", f"HostKeyAlias={self.host}"]
            argv += ["-p", self.port or str(target.port)]
        elif self.port:
            argv += ["-p", self.port]
        return [*argv, f"{self.user}@{self.host}" if self.user else self.host, "--"]

    def run(self, command: t.Sequence[str], timeout: float = 60) -> Completed:
        """Run a command in the guest. timeout: seconds. 255 is ssh's own failure."""
        return self._shell(" ".join(shlex.quote(word) for word in command), timeout)

    def _shell(self, script: str, timeout: float = 60) -> Completed:
        with self._known_hosts() as path:
            return self.runner.run([*self.argv(path), script], timeout=timeout)

    @contextlib.contextmanager
    def _known_hosts(self) -> t.Iterator[str | None]:
        if not self.known_host:
            yield None
            return
        descriptor, path = tempfile.mkstemp(prefix="nixmac-known-hosts-")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(self.known_host)
            yield path
        finally:
            os.unlink(path)

    def facts(self, leftovers: t.Sequence[str] = ()) -> Facts:
        """What the guest tells of itself, over one connection that also deletes `leftovers` from its store.

        StateError with the likely fix when it does not tell.
        """
        script = "cat /proc/sys/kernel/random/boot_id; uname -m; nix-store --version | head -n 1"
        done = self._shell("; ".join([script, *_deletions(leftovers)]))
        answer = [*done.stdout.split("\n"), "", "", ""]
        if not _UUID.fullmatch(answer[0].strip()):
            # Not at the top of the file: a Mac would compile it in each run in which the guest answers.
            from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import last_words, likely_fix

            raise StateError(
                f"{self.target.uri}: the guest does not tell its boot id over ssh: {last_words(done)} "
                f"{likely_fix(done.stderr, self.target, '')}"
            )
        version = _VERSION.search(answer[2])
        return Facts(answer[0].strip(), answer[1].strip(), version.group(1) if version else "")

    def probe(self) -> Completed:
        """Whether ssh gets in and finds Nix: exit status 0, 127 without Nix, 255 and ssh's words if it does not get in."""
        return self.run(["nix-store", "--version"])

    def delete(self, paths: t.Sequence[str]) -> None:
        """Delete store paths in the guest. What stays is left to its garbage collection."""
        self._shell("; ".join(_deletions(paths)))


def _deletions(paths: t.Sequence[str]) -> list[str]:
    """One command each: nix-store stops at the first path that it does not have."""
    return [f"nix-store --delete {shlex.quote(path)} >/dev/null 2>&1" for path in paths]
