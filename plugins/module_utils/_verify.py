# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Proof that Linux derivations of this Mac are built in the builder's VM.

A derivation that never existed before is built through the Nix daemon, as any user's would be. Its output holds
the kernel's version and boot id of the machine that ran it; the boot id has to be the one the builder tells over
ssh. Nothing weaker counts: an existing output or a substitute builds nothing, and any Linux has a Linux kernel.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import secrets
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import (
    SSH_WORKS,
    booting,
    last_words,
    likely_fix,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Guest, Target

BOOT_ID = "/proc/sys/kernel/random/boot_id"
# Through the daemon, as for every other user; root would otherwise open the store itself. And with the configuration
# of the host alone: sudo on macOS keeps HOME, and with it somebody's own nix.conf.
_DAEMON = {"NIX_REMOTE": "daemon", "NIX_USER_CONF_FILES": ""}
_SYSTEM = re.compile(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+")
_FEATURE = re.compile(r"[A-Za-z0-9_.-]+")
_STORE_PATH = re.compile(r"/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+")
_DERIVATION = re.compile(r"/nix/store/[0-9a-z]{32}-linux-builder-proof-[0-9a-f]{16}\.drv")
# Nix swallows what ssh says when the daemon starts it.
_UNREACHED = re.compile(r"failed to start SSH connection|cannot open connection|cannot build on")
_BUILT_ON = re.compile(r"building '([^']+\.drv)' on '([^']+)'")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OUTPUT_LIMIT = 64 * 1024
_ATTEMPTS = 4  # builds, each after the VM answered; more would not help
_POLL = 1.0  # seconds between two looks at a VM that boots

# Only what the shell itself can do: Nix' sandbox shell on NixOS has no cat and no uname.
_SCRIPT = (
    'read -r kernel < /proc/version; read -r boot < /proc/sys/kernel/random/boot_id; echo "$kernel" > $out; echo "$boot" >> $out'
)


@dataclasses.dataclass(frozen=True)
class Proof:
    """One build. seconds: of the whole build. kernel: its /proc/version. builder: the store URI that Nix named, or empty."""

    system: str
    seconds: float
    store_path: str
    derivation: str
    kernel: str
    boot_id: str
    builder: str

    def as_dict(self) -> dict[str, t.Any]:
        """For a module's result."""
        return {
            "system": self.system,
            "seconds": round(self.seconds, 3),
            "store_path": self.store_path,
            "kernel": self.kernel,
            "boot_id": self.boot_id,
            "builder": self.builder,
        }


@dataclasses.dataclass(frozen=True)
class Verified:
    """What a verification found: the builds, the guest's boot id, and warnings."""

    builds: list[Proof]
    boot_id: str
    warnings: list[str]


def expression(system: str, name: str, features: t.Sequence[str] = ()) -> str:
    """The Nix expression of the derivation; it needs no nixpkgs and works in every Nix since 2.0.

    system: Nix system. name: of the store path, new for each build. features: requiredSystemFeatures.
    Raises ConfigError for a system or feature that is none.
    """
    if not _SYSTEM.fullmatch(system):
        raise ConfigError(f"systems: {system!r} is no Nix system. Write it like aarch64-linux.")
    for feature in features:
        if not _FEATURE.fullmatch(feature):
            raise ConfigError(f"{feature!r} is no system feature. Write it like big-parallel.")
    script = _SCRIPT.replace("\\", "\\\\").replace('"', '\\"')
    wanted = " ".join(f'"{feature}"' for feature in features)
    # Without allowSubstitutes = false both ends would ask their caches first: seconds, offline many.
    return (
        f'derivation {{ name = "{name}"; system = "{system}"; builder = "/bin/sh"; args = [ "-c" "{script}" ]; '
        f"allowSubstitutes = false; requiredSystemFeatures = [ {wanted} ]; }}"
    )


def verify(
    target: Target, systems: t.Sequence[str], timeout: float, boot_timeout: float = 0, runner: Runner | None = None
) -> Verified:
    """Build once for each of `systems` and prove where.

    timeout: seconds for each build. boot_timeout: seconds that a VM which does not answer may take to do so.

    Raises ConfigError for malformed options, CommandError where Nix is missing, StateError with the likely fix
    where nothing was built or it was built elsewhere. Store paths are deleted on both sides.
    """
    if not systems:
        raise ConfigError("systems: nothing to build for. Name at least one, for example aarch64-linux.")
    runner = runner or Runner()
    guest = Guest(target, runner)
    builder = Builder(runner, guest, timeout, boot_timeout)
    expressions = [(system, expression(system, f"linux-builder-proof-{secrets.token_hex(8)}")) for system in systems]
    builds: list[Proof] = []
    warnings: list[str] = []
    try:
        for system, text in expressions:
            builds.append(builder.build(system, text))
        boot_id = guest.boot_id()
        own = own_boot_id()
        for proof in builds:
            judge(proof, boot_id, own, target.uri)
    finally:
        if builds:
            warnings = clean_up(builds, builder, guest)
    return Verified(builds, boot_id, warnings)


class Builder:
    """The Mac's own nix-build and nix-store."""

    def __init__(self, runner: Runner, guest: Guest, timeout: float, boot_timeout: float) -> None:
        self.runner = runner
        self.guest = guest
        self.timeout = timeout
        self.boot_timeout = boot_timeout
        # nix-build rather than `nix build`: the same in every Nix, without experimental features.
        self.directory = os.path.dirname(find_nix(runner).path)

    def build(self, system: str, text: str) -> Proof:
        """Build the expression `text` on some builder, never on this Mac, and read what it wrote.

        While the VM boots (launchd has just started it anew) the build is tried again.
        """
        deadline = time.monotonic() + self.boot_timeout
        for attempt in itertools.count(1):
            begin = time.monotonic()
            done = self._attempt(system, text)
            seconds = time.monotonic() - begin
            path = done.stdout.strip().rpartition("\n")[2]
            if done.rc == 0 and _STORE_PATH.fullmatch(path):
                return self._proof(system, seconds, path, done.stderr)
            seen = self.guest.probe() if _UNREACHED.search(done.stderr) else None
            seen = self._wait(seen, deadline)
            if seen is None or seen.rc != 0 or attempt >= _ATTEMPTS or time.monotonic() >= deadline:
                raise self._failed(system, done, seen)
        raise RuntimeError("not reached")

    def _attempt(self, system: str, text: str) -> Completed:
        argv = [os.path.join(self.directory, "nix-build"), "--no-out-link", "--max-jobs", "0"]
        argv += ["--option", "substitute", "false", "--option", "builders-use-substitutes", "false", "-E", text]
        try:
            return self.runner.run(argv, timeout=self.timeout, env=_DAEMON)
        except CommandError as exc:
            if "timeout" not in exc.details:
                raise
            # What Nix had said is lost with it, but the same expression makes the same derivation.
            self.delete(_DERIVATION.findall(self._nix("nix-instantiate", "-E", text).stdout))
            raise StateError(
                f"{self.guest.target.uri}: no {system} build within {self.timeout:g} s. The builder may be busy with other "
                f"builds, starting, or hanging. Look at {self.guest.target.log} and at the locks in "
                "/nix/var/nix/current-load, or raise the timeout.",
                system=system,
            ) from exc

    def _proof(self, system: str, seconds: float, path: str, stderr: str) -> Proof:
        found = _BUILT_ON.search(stderr)
        derivation, builder = found.groups() if found else ("", "")
        try:
            kernel, boot_id = parse_output(path)
        except StateError:
            self.delete([path, *([derivation] if derivation else [])])
            raise
        return Proof(system, seconds, path, derivation, kernel, boot_id, builder)

    def _wait(self, seen: Completed | None, deadline: float) -> Completed | None:
        """The last answer of the VM: the first that is no sign of booting, or the one at the deadline."""
        if seen is not None and seen.rc == 0:
            time.sleep(_POLL)  # sshd is up, the VM's Nix daemon may come a moment later
        while seen is not None and seen.rc != 0 and booting(seen.stderr) and time.monotonic() < deadline:
            time.sleep(_POLL)
            seen = self.guest.probe()
        return seen

    def _failed(self, system: str, done: Completed, seen: Completed | None) -> StateError:
        """The error for a build that did not happen; `seen`: what ssh says where Nix did not get through."""
        self.delete(_DERIVATION.findall(done.stderr)[:1])
        target = self.guest.target
        said = f"Nix says: {last_words(done)}"
        advice = likely_fix(done.stderr, target, system)
        if seen is not None:
            said += f" ssh says: {last_words(seen)}" if seen.rc != 0 else ""
            advice = likely_fix(seen.stderr, target, system) if seen.rc != 0 else SSH_WORKS.format(key=target.key)
        return StateError(
            f"{target.uri}: nothing was built for {system}. {said} {advice}", system=system, nix_stderr=done.stderr[-4000:]
        )

    def delete(self, paths: t.Sequence[str]) -> str:
        """Delete store paths of this Mac; the words of Nix if one of them stays, because it is in use, else empty."""
        if not paths:
            return ""
        done = self._nix("nix-store", "--delete", *paths)
        return last_words(done) if done.rc != 0 else ""

    def _nix(self, program: str, *arguments: str) -> Completed:
        return self.runner.run([os.path.join(self.directory, program), *arguments], timeout=60, env=_DAEMON)


def parse_output(path: str) -> tuple[str, str]:
    """(kernel, boot id) from the output of the build. StateError if it holds anything else."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read(_OUTPUT_LIMIT).split("\n")
    except OSError as exc:
        raise StateError(f"{path}: was built but cannot be read: {exc.strerror}. Check the Nix store of this Mac.") from exc
    if len(lines) != 3 or not lines[0].startswith("Linux version ") or not _UUID.fullmatch(lines[1]):
        raise StateError(f"{path}: holds no Linux kernel and boot id, so no Linux built it. Check the builder's sandbox.")
    return lines[0], lines[1]


def judge(proof: Proof, guest: str, own: str | None, uri: str) -> None:
    """StateError unless the build ran in the guest: its boot id is the guest's, and not this host's own."""
    if proof.boot_id == own:
        raise StateError(
            f"{proof.store_path}: was built on this host itself, not on {uri}. Take {proof.system} out of extra-platforms "
            "in its nix.conf, and the host out of its own machines file.",
            builds=[proof.as_dict()],
        )
    if proof.boot_id != guest:
        raise StateError(
            f"{proof.store_path}: was built on {proof.builder or 'another machine'} (boot id {proof.boot_id}), "
            f"not on {uri} (boot id {guest}). Another builder for {proof.system} is preferred: raise linux_builder_speed_factor, "
            "or take that builder out of the machines file. If the VM was started anew just now, run again.",
            builds=[proof.as_dict()],
        )


def own_boot_id() -> str | None:
    """This host's own boot id; None on macOS, which has no such file."""
    try:
        with open(BOOT_ID, encoding="ascii") as stream:
            return stream.read(64).strip()
    except OSError:
        return None


def clean_up(builds: t.Sequence[Proof], builder: Builder, guest: Guest) -> list[str]:
    """Delete what the builds left on both sides; words for what stayed. Never raises."""
    outputs = [proof.store_path for proof in builds]
    try:
        words = builder.delete([*outputs, *(proof.derivation for proof in builds if proof.derivation)])
        guest.delete(outputs)
    except CommandError as exc:
        words = exc.message
    return [f"Some store paths of the proof stay until the next garbage collection: {words}"] if words else []
