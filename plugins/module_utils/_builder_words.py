# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Nix' words for a builder that could not be realised, and what to do."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos_modules import CONFIG_NAME
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import complaint

# How Nix shows where in an expression it was: "… while ...", "at /path:3:5:", "3| text", "|   ^", a bare "error:".
_TRACE = re.compile(r"^\s*(?:…|at [«/].*:\d+:$|\d*\|(?: |$)|\(stack trace truncated|error:\s*$)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Two wordings: "a 'x' with features {} is required to build 'd', but ...", and since 2.31 a paragraph of its own.
_NEEDS_OLD = re.compile(r"a '(?P<system>[^']+)' with features \{(?P<features>[^}]*)\} is required to build '(?P<drv>[^']+)'")
_NEEDS_NEW = re.compile(
    r"Cannot build '(?P<drv>[^']+)'\.\s+Reason:\s+required system or feature not available\s+"
    r"Required system:\s+'(?P<system>[^']+)' with features \{(?P<features>[^}]*)\}"
)
_NAME = re.compile(r"^/nix/store/[0-9a-z]{32}-(.*)$")

_CONFIGURED = (
    "The running builder builds its own guest, so deploy the stock builder first (without guest-side options), let it run, "
    "and then set them."
)
_STOCK = (
    "The stock guest comes from a binary cache: use a revision of the package whose builder Hydra has built, and check that "
    "this Mac reaches the cache (substituters, proxy, ca_file)."
)
_CERTIFICATE = (
    "The certificate of the binary cache or of a proxy in between is not signed by an authority of the CA file. "
    "Name the file that has the proxy's authority: ca_file."
)
_PROXY = "Check network and proxy of this Mac (proxy, no_proxy)."
_ABSENT = ("no substituter that can", "is not valid")
_REFUSED = re.compile(r"(unable to download '[^']*': .*?)(?:; retrying in .*)?$", re.MULTILINE)
_NO_NETWORK = "you don't have Internet access"
_ELSEWHERE = "The store path is not on this Mac and no substituter has it: copy it first (nix copy)."
_HINTS = (
    ("NAR hash mismatch", "The source behind the recorded lock has changed: run once with update: true."),
    ("takes no override", "Use a package with override (darwin.linux-builder of a flake), host_key: stock and no guest options."),
    ("has no attribute", "Check what follows the # in package."),
    ("No space left", "Free disk space, for example with nix-collect-garbage."),
    ("certificate", _CERTIFICATE),
    ("SSL peer", _CERTIFICATE),
    ("response 407", "The proxy wants a user name and password, which this collection does not take; see proxy."),
    ("unable to download", _PROXY),
    ("Couldn't resolve", _PROXY),
    ("Could not resolve", _PROXY),
    *((mark, _ELSEWHERE) for mark in _ABSENT),
    (CONFIG_NAME, "Correct the NixOS module in config."),
    ("The option `", "Check the names of the options in config; the package's NixOS knows no others."),
)


class Need(t.NamedTuple):
    """A derivation that nothing at hand can build: its name, the system, and the features that it needs."""

    name: str
    system: str
    features: tuple[str, ...]

    def __str__(self) -> str:
        features = f" with {', '.join(self.features)}" if self.features else ""
        return f"{self.name} has to be built on {self.system}{features}"


def need(stderr: str) -> Need | None:
    """What Nix says it cannot build here, in the wording of any version; None when that is not its complaint."""
    text = _COLOUR.sub("", stderr)
    match = _NEEDS_OLD.search(text) or _NEEDS_NEW.search(text)
    if match is None:
        return None
    name = _NAME.match(match.group("drv"))
    features = tuple(word.strip() for word in match.group("features").split(",") if word.strip())
    return Need(name.group(1) if name else match.group("drv"), match.group("system"), features)


def words(done: Completed, guest: bool = False, where: tuple[str, int] | None = None) -> str:
    """Nix' words without its evaluation trace and, where they are known, what to do.

    guest: whether the guest is another than the stock one. where: address and port of the builder that Nix was told of.
    """
    missing = need(done.stderr)
    if missing is not None:
        return _cannot_build(missing, done.stderr, guest, where)
    lines = [line for line in _COLOUR.sub("", done.stderr).splitlines() if not _TRACE.match(line)]
    said = complaint(done._replace(stderr="\n".join(lines)))
    if any(mark in said for mark in _ABSENT):
        # Why a binary cache did not answer is a warning only; what follows from it is the error.
        refused = _REFUSED.findall(done.stderr)
        said = f"{said.rstrip('.')} ({refused[-1]})" if refused else said
        if _NO_NETWORK in done.stderr:
            said = f"{said.rstrip('.')} (this Mac has no network, so no binary cache was asked)"
    hint = next((hint for mark, hint in _HINTS if mark in said or (mark == CONFIG_NAME and mark in done.stderr)), None)
    return f"{said.rstrip('.')}. {hint or 'See the words of Nix.'}"


def _cannot_build(missing: Need, stderr: str, guest: bool, where: tuple[str, int] | None) -> str:
    text = f"{missing}, and nothing that this Mac reaches can do that. "
    if "linux" not in missing.system:
        return text + "Use a package for this Mac's system."
    if guest and where is not None and "failed to start SSH connection" in stderr:
        text += f"The builder at {where[0]} port {where[1]} does not answer. "
    if missing.features:
        text += "The features that a builder offers stand in linux_builder_supported_features. "
    return text + (_CONFIGURED if guest else _STOCK)
