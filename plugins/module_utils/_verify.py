# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Proof that Linux derivations of this Mac are built in the builder's VM.

Derivations that never existed before are built through the Nix daemon, as any user's would be. Their outputs hold
the kernel's version and boot id of the machine that ran them; the boot id has to be the one the builder tells over
ssh. Nothing weaker counts: an existing output or a substitute builds nothing, and any Linux has a Linux kernel.
"""

from __future__ import annotations

import dataclasses
import secrets
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_build import Builder, Order, Proof, check_user
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Facts, Guest, Target

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclasses.dataclass(frozen=True)
class Verified:
    """What a verification found: the builds, the guest's boot id, warnings, versions of Nix, and features by system."""

    builds: list[Proof]
    boot_id: str
    warnings: list[str]
    versions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def orders(
    systems: t.Sequence[str], features: t.Sequence[str], mandatory: t.Sequence[str], user: str | None
) -> list[tuple[str, Order]]:
    """The builds of one verification, each with the name of its derivation.

    For each system one that asks for nothing but the mandatory features, without which the builder takes none, one
    that asks for all features at once, and one as `user`.
    """
    least = tuple(dict.fromkeys(mandatory))
    most = tuple(dict.fromkeys((*least, *features)))
    wanted = []
    for system in systems:
        wanted.append(Order(system, least))
        if most != least:
            wanted.append(Order(system, most))
        if user is not None:
            wanted.append(Order(system, least, user))
    return [(f"linux-builder-proof-{secrets.token_hex(8)}", order) for order in wanted]


def verify(
    target: Target,
    systems: t.Sequence[str],
    timeout: float,
    boot_timeout: float = 0,
    runner: Runner | None = None,
    *,
    features: t.Sequence[str] = (),
    mandatory: t.Sequence[str] = (),
    user: str | None = None,
) -> Verified:
    """Build for each of `systems`, as root and as `user`, also what requires `features`, and prove where.

    timeout: seconds for each build. boot_timeout: seconds that a VM which does not answer may take to do so.

    Raises ConfigError for malformed options, CommandError where Nix is missing, StateError with the likely fix
    where nothing was built or it was built elsewhere. Store paths are deleted on both sides.
    """
    if not systems:
        raise ConfigError("systems: nothing to build for. Name at least one, for example aarch64-linux.")
    check_user(user)
    runner = runner or Runner()
    guest = Guest(target, runner)
    nix = find_nix(runner)
    builder = Builder(runner, nix, guest, timeout, boot_timeout)
    texts = [(order, order.text(name)) for name, order in orders(systems, features, mandatory, user)]
    builds: list[Proof] = []
    warnings: list[str] = []
    cleaned = False
    try:
        for order, text in texts:
            builds.append(_build(builder, order, text, mandatory))
        facts = guest.facts(leftovers(builds))
        cleaned = True
        own = own_boot_id()
        for proof in builds:
            judge(proof, facts, own, target.uri)
    finally:
        if builds:
            warnings = clean_up(builds, builder, None if cleaned else guest)
    return Verified(builds, facts.boot_id, warnings, {"mac": nix.version().short, "guest": facts.nix_version})


def _build(builder: Builder, order: Order, text: str, mandatory: t.Sequence[str]) -> Proof:
    try:
        return builder.build(order, text)
    except StateError as exc:
        refused = [] if order.user else [feature for feature in order.features if feature not in mandatory]
        if not refused:
            raise
        # Everything was built without these features, so it is one of them.
        raise StateError(
            f"{exc.message} Without {', '.join(refused)} the build was made. Where the VM has no such feature, take it out of "
            "linux_builder_supported_features (with nix-darwin: nix.linux-builder.supportedFeatures).",
            **exc.details,
        ) from exc


def judge(proof: Proof, guest: Facts, own: str | None, uri: str) -> None:
    """StateError unless the build ran in the guest: its boot id is the guest's, and not this host's own."""
    if proof.boot_id == own:
        raise StateError(
            f"{proof.store_path}: was built on this host itself, not on {uri}. Take {proof.system} out of extra-platforms "
            "in its nix.conf, and the host out of its own machines file.",
            builds=[proof.as_dict()],
        )
    if proof.boot_id != guest.boot_id:
        raise StateError(
            f"{proof.store_path}: was built on {proof.builder or 'another machine'} (boot id {proof.boot_id}), "
            f"not on {uri} (boot id {guest.boot_id}). Another builder for {proof.system} is preferred: raise "
            "linux_builder_speed_factor, or take that builder out of the machines file. If the VM was started anew just now, "
            "run again.",
            builds=[proof.as_dict()],
        )
    if proof.architecture not in ("unknown", guest.architecture):
        raise StateError(
            f"{proof.store_path}: says it was built on {proof.architecture}, but {uri} is {guest.architecture}. Run again; if "
            "it says so again, the output was not made by the build.",
            builds=[proof.as_dict()],
        )


def own_boot_id() -> str | None:
    """This host's own boot id; None on macOS, which has no such file."""
    try:
        with open(BOOT_ID, encoding="ascii") as stream:
            return stream.read(64).strip()
    except OSError:
        return None


def leftovers(builds: t.Sequence[Proof]) -> list[str]:
    """Store paths that the builds made."""
    return [*(proof.store_path for proof in builds), *(proof.derivation for proof in builds if proof.derivation)]


def clean_up(builds: t.Sequence[Proof], builder: Builder, guest: Guest | None) -> list[str]:
    """Delete what the builds left here, and in `guest` where that was not done; words for what stayed. Never raises."""
    try:
        words = builder.delete(leftovers(builds))
        if guest is not None:
            guest.delete(leftovers(builds))
    except CommandError as exc:
        words = exc.message
    return [f"Some store paths of the proof stay until the next garbage collection: {words}"] if words else []
