# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One build of a derivation that never existed before, through the Nix daemon, and what its output says of the builder."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pwd
import re
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_log
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_log import PHASES, BuildLog
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Guest

# Through the daemon, as for every other user; root would otherwise open the store itself. And with the configuration
# of the host alone: sudo on macOS keeps HOME, and with it somebody's own nix.conf.
_DAEMON = {"NIX_REMOTE": "daemon", "NIX_USER_CONF_FILES": ""}
_SUDO, _ENV = "/usr/bin/sudo", "/usr/bin/env"
_SYSTEM = re.compile(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+")
_FEATURE = re.compile(r"[A-Za-z0-9_.:+-]+")
_STORE_PATH = re.compile(r"/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+")
_DERIVATION = re.compile(r"/nix/store/[0-9a-z]{32}-linux-builder-proof-[0-9a-f]{16}\.drv")
# Nix swallows what ssh says when the daemon starts it.
_UNREACHED = re.compile(r"failed to start SSH connection|cannot open connection|cannot build on")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OUTPUT_LIMIT = 64 * 1024
_ATTEMPTS = 4  # builds, each after the VM answered; more would not help
_POLL = 1.0  # seconds between two looks at a VM that boots

# Only what the shell itself can do: Nix' sandbox shell on NixOS has no cat and no uname.
_SCRIPT = (
    "read -r kernel < /proc/version; read -r boot < /proc/sys/kernel/random/boot_id; "
    # Linux before 6.1 has no such file.
    "arch=unknown; { read -r arch < /proc/sys/kernel/arch; } 2> /dev/null; "
    'echo "$kernel" > $out; echo "$boot" >> $out; echo "$arch" >> $out'
)


@dataclasses.dataclass(frozen=True)
class Proof:
    """One build. seconds: of the whole build. kernel: its /proc/version. builder: the store URI that Nix named, or empty.

    architecture: of the kernel that built. features: that the derivation required. user: whose build it was.
    phases: seconds by phase, None where Nix did not tell.
    """

    system: str
    seconds: float
    store_path: str
    derivation: str
    kernel: str
    boot_id: str
    builder: str
    architecture: str = "unknown"
    features: tuple[str, ...] = ()
    user: str = "root"
    phases: t.Mapping[str, float | None] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        """For a module's result."""
        return {
            "system": self.system,
            "user": self.user,
            "features": list(self.features),
            "seconds": round(self.seconds, 3),
            "phases": {phase: self.phases.get(phase) for phase in PHASES},
            "store_path": self.store_path,
            "kernel": self.kernel,
            "architecture": self.architecture,
            "boot_id": self.boot_id,
            "builder": self.builder,
        }


class Order(t.NamedTuple):
    """A build to make: for which system, with which required features, as which user (None: root)."""

    system: str
    features: tuple[str, ...] = ()
    user: str | None = None

    def text(self, name: str) -> str:
        """The Nix expression; `name` is new for each build."""
        return expression(self.system, name, self.features)


def expression(system: str, name: str, features: t.Sequence[str] = ()) -> str:
    """The Nix expression of the derivation; it needs no nixpkgs and works in every Nix since 2.0.

    system: Nix system. name: of the store path, new for each build. features: requiredSystemFeatures.
    Raises ConfigError for a system or feature that is none.
    """
    if not _SYSTEM.fullmatch(system):
        raise ConfigError(f"systems: {system!r} is no Nix system. Write it like aarch64-linux.")
    for feature in features:
        if not _FEATURE.fullmatch(feature):
            raise ConfigError(f"features: {feature!r} is no system feature. Write it like big-parallel.")
    script = _SCRIPT.replace("\\", "\\\\").replace('"', '\\"')
    wanted = " ".join(f'"{feature}"' for feature in features)
    # Without allowSubstitutes = false both ends would ask their caches first: seconds, offline many.
    return (
        f'derivation {{ name = "{name}"; system = "{system}"; builder = "/bin/sh"; args = [ "-c" "{script}" ]; '
        f"allowSubstitutes = false; requiredSystemFeatures = [ {wanted} ]; }}"
    )


def check_user(user: str | None) -> None:
    """ConfigError unless this Mac has the user."""
    if user is None:
        return
    try:
        pwd.getpwnam(user)
    except (KeyError, ValueError) as exc:
        raise ConfigError(f"user: this host has no user {user!r}. Name one that has an account here.") from exc


class Builder:
    """The Mac's own nix-build and nix-store."""

    def __init__(self, runner: Runner, nix: Nix, guest: Guest, timeout: float, boot_timeout: float) -> None:
        self.runner = runner
        self.guest = guest
        self.timeout = timeout
        self.boot_timeout = boot_timeout
        # nix-build rather than `nix build`: the same in every Nix, without experimental features.
        self.directory = os.path.dirname(nix.path)

    def build(self, order: Order, text: str) -> Proof:
        """Build the expression `text` on some builder, never on this Mac, and read what it wrote.

        While the VM boots (launchd has just started it anew) the build is tried again.
        """
        deadline = time.monotonic() + self.boot_timeout
        for attempt in itertools.count(1):
            log = BuildLog()
            begin = time.monotonic()
            done = self._attempt(order, text, log)
            seconds = time.monotonic() - begin
            path = done.stdout.strip().rpartition("\n")[2]
            if done.rc == 0 and _STORE_PATH.fullmatch(path):
                return self._proof(order, seconds, path, text, log)
            seen = self.guest.probe() if _UNREACHED.search(done.stderr) else None
            seen = self._wait(seen, deadline)
            if seen is None or seen.rc != 0 or attempt >= _ATTEMPTS or time.monotonic() >= deadline:
                self._delete_derivation(text)
                raise self._failed(order, done, seen)
        raise RuntimeError("not reached")

    def argv(self, order: Order, text: str) -> list[str]:
        """The command line of a build."""
        argv = [os.path.join(self.directory, "nix-build"), "--no-out-link", "--max-jobs", "0", *_nix_log.OPTIONS]
        if order.user is None:
            argv += ["--option", "substitute", "false", "--option", "builders-use-substitutes", "false"]
            return [*argv, "-E", text]
        # With the user's own nix.conf, and without options that the daemon takes from trusted users only.
        environment = [f"PATH={self.directory}:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "NIX_REMOTE=daemon"]
        return [_SUDO, "-n", "-H", "-u", order.user, _ENV, *environment, *argv, "-E", text]

    def _attempt(self, order: Order, text: str, log: BuildLog) -> Completed:
        try:
            environment = _DAEMON if order.user is None else {}
            done = self.runner.stream(self.argv(order, text), log.take, timeout=self.timeout, env=environment)
            return done._replace(stderr=log.text)
        except CommandError as exc:
            if "timeout" not in exc.details:
                raise
            self._delete_derivation(text)
            raise StateError(
                f"{self.guest.target.uri}: no {order.system} build within {self.timeout:g} s. The builder may be busy with other "
                f"builds, starting, or hanging. Look at {self.guest.target.log} and at the locks in "
                "/nix/var/nix/current-load, or raise the timeout.",
                system=order.system,
            ) from exc

    def _proof(self, order: Order, seconds: float, path: str, text: str, log: BuildLog) -> Proof:
        derivation, builder = log.built
        try:
            kernel, boot_id, architecture = parse_output(path)
        except StateError:
            self.delete([path])
            self._delete_derivation(text)
            raise
        return Proof(
            system=order.system,
            seconds=seconds,
            store_path=path,
            derivation=derivation,
            kernel=kernel,
            boot_id=boot_id,
            builder=builder,
            architecture=architecture,
            features=order.features,
            user=order.user or "root",
            phases=log.phases,
        )

    def _wait(self, seen: Completed | None, deadline: float) -> Completed | None:
        """The last answer of the VM: the first that is no sign of booting, or the one at the deadline."""
        if seen is not None and seen.rc == 0:
            time.sleep(_POLL)  # sshd is up, the VM's Nix daemon may come a moment later
        # Here and below not at the top of the file: a Mac would compile it in each run in which all is well.
        from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import booting

        while seen is not None and seen.rc != 0 and booting(seen.stderr) and time.monotonic() < deadline:
            time.sleep(_POLL)
            seen = self.guest.probe()
        return seen

    def _failed(self, order: Order, done: Completed, seen: Completed | None) -> StateError:
        """The error for a build that did not happen; `seen`: what ssh says where Nix did not get through."""
        from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import (
            SSH_WORKS,
            last_words,
            likely_fix,
        )

        target = self.guest.target
        said = f"Nix says: {last_words(done)}"
        advice = likely_fix(done.stderr, target, order.system)
        if seen is not None:
            said += f" ssh says: {last_words(seen)}" if seen.rc != 0 else ""
            advice = likely_fix(seen.stderr, target, order.system) if seen.rc != 0 else SSH_WORKS.format(key=target.key)
        what = f"nothing was built for {order.system}"
        what += f" with the features {', '.join(order.features)}" if order.features else ""
        what += f" as user {order.user}" if order.user else ""
        return StateError(
            f"{target.uri}: {what}. {said} {advice}",
            system=order.system,
            features=list(order.features),
            nix_stderr=done.stderr[-4000:],
        )

    def _delete_derivation(self, text: str) -> None:
        """Of a build that came to nothing: Nix need not have named it, but the same expression makes the same derivation."""
        self.delete(_DERIVATION.findall(self._nix("nix-instantiate", "-E", text).stdout))

    def delete(self, paths: t.Sequence[str]) -> str:
        """Delete store paths of this Mac; the words of Nix if one of them stays, because it is in use, else empty."""
        if not paths:
            return ""
        done = self._nix("nix-store", "--delete", *paths)
        if done.rc == 0:
            return ""
        from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import last_words

        return last_words(done)

    def _nix(self, program: str, *arguments: str) -> Completed:
        return self.runner.run([os.path.join(self.directory, program), *arguments], timeout=60, env=_DAEMON)


def parse_output(path: str) -> tuple[str, str, str]:
    """(kernel, boot id, architecture) from the output of the build. StateError if it holds anything else."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read(_OUTPUT_LIMIT).split("\n")
    except OSError as exc:
        raise StateError(f"{path}: was built but cannot be read: {exc.strerror}. Check the Nix store of this Mac.") from exc
    if len(lines) != 4 or not lines[0].startswith("Linux version ") or not _UUID.fullmatch(lines[1]):
        raise StateError(f"{path}: holds no Linux kernel and boot id, so no Linux built it. Check the builder's sandbox.")
    return lines[0], lines[1], lines[2]
