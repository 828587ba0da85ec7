# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Which Nix a Mac has, who manages its configuration, and where settings may be written."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner, find_program
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import CANDIDATES, Nix, parse_settings

DETERMINATE_LABEL = "systems.determinate.nix-daemon"
UPSTREAM_LABEL = "org.nixos.nix-daemon"
CONF_DIR = "/etc/nix"

# Settings that say how builds are delegated; shown as they are. None of them can hold a secret.
_SHOWN = ("builders", "builders-use-substitutes", "build-poll-interval", "trusted-users", "system-features", "system")


class Layout(t.NamedTuple):
    """Where the files lie that tell the kinds of installation apart (below another root only in tests)."""

    root: str = "/"

    @classmethod
    def of(cls, root: str) -> Layout:
        """The layout below `root`."""
        return cls(root)

    def path(self, absolute: str) -> str:
        """Where the file `absolute` of the Mac lies."""
        return absolute if self.root == "/" else os.path.join(self.root, absolute.lstrip("/"))

    def exists(self, absolute: str) -> bool:
        """Whether there is something at `absolute`, be it a dangling link."""
        return os.path.lexists(self.path(absolute))


class NixFacts(t.NamedTuple):
    """The parts of builder_info that concern Nix: `nix`, `nix_conf`, and the daemon's label (None: no daemon)."""

    facts: dict[str, t.Any]
    conf: dict[str, t.Any]
    daemon_label: str | None


def read_nix(runner: Runner, layout: Layout) -> NixFacts:
    """Find Nix, ask its version and its effective settings (two processes), look at the files around it."""
    conf = locate_conf(layout)
    label = daemon_label(layout)
    facts: dict[str, t.Any] = {"path": None, "version": None, "variant": None, "managed_by": conf["managed_by"], "error": ""}
    try:
        path = find_program("nix", *(layout.path(candidate) for candidate in CANDIDATES))
    except CommandError:
        return NixFacts(facts, conf, label)
    facts["path"] = path
    nix = Nix(runner, path)
    try:
        version = nix.version()
        facts.update(version=version.short, variant=version.variant, version_text=version.text)
        settings = parse_settings(nix.show(), path)
        facts["settings"] = {name: settings[name].value for name in _SHOWN if name in settings}
    except CommandError as exc:
        facts["error"] = exc.message
    return NixFacts(facts, conf, label)


def daemon_label(layout: Layout) -> str | None:
    """Label of the Nix daemon's launchd job, by the property list that is there; None without one."""
    for label in (DETERMINATE_LABEL, UPSTREAM_LABEL):
        if layout.exists(f"/Library/LaunchDaemons/{label}.plist"):
            return label
    return None


def locate_conf(layout: Layout) -> dict[str, t.Any]:
    """Where settings may be written: {path, managed_by, writable, reason}.

    managed_by: nix-darwin, determinate, nix-installer (a nix.conf that includes nix.custom.conf) or none.
    """
    conf, custom = f"{CONF_DIR}/nix.conf", f"{CONF_DIR}/nix.custom.conf"
    determinate = layout.exists("/usr/local/bin/determinate-nixd")
    if _static(layout, conf):
        return _refused(conf, "nix-darwin", "is made by nix-darwin; use its option nix.linux-builder instead")
    if _static(layout, custom):
        return _refused(custom, "nix-darwin", "is made by nix-darwin; use its options determinateNix.* instead")
    if determinate:
        return _allowed(custom, "determinate")
    if _includes(layout, conf, "nix.custom.conf"):
        return _allowed(custom, "nix-installer")
    return _allowed(conf, "none")


def _allowed(path: str, manager: str) -> dict[str, t.Any]:
    return {"path": path, "managed_by": manager, "writable": True, "reason": ""}


def _refused(path: str, manager: str, reason: str) -> dict[str, t.Any]:
    return {"path": path, "managed_by": manager, "writable": False, "reason": f"{path} {reason}"}


def _static(layout: Layout, path: str) -> bool:
    """Whether a file is a link into /etc/static or the Nix store, that is: generated, and not to be edited."""
    here = layout.path(path)
    for _step in range(16):  # as deep as links are followed; more is a loop
        try:
            target = os.readlink(here)
        except OSError:
            return False
        if target.startswith(("/etc/static/", "/private/etc/static/", "/nix/store/")):
            return True
        here = layout.path(target) if target.startswith("/") else os.path.join(os.path.dirname(here), target)
    return False


def _includes(layout: Layout, path: str, name: str) -> bool:
    """Whether the nix.conf has an include line for the file `name` beside it."""
    try:
        with open(layout.path(path), encoding="utf-8", errors="replace") as stream:
            text = stream.read(1024 * 1024)
    except OSError:
        return False
    wanted = (name, os.path.join(os.path.dirname(path), name))
    lines = (line.split("#", 1)[0].split() for line in text.split("\n"))
    return any(len(words) == 2 and words[0] in ("include", "!include") and words[1] in wanted for words in lines)
