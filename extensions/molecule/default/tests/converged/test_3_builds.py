# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds for Linux from the converged Mac."""

from __future__ import annotations

import time
import uuid

import macs

SCRIPT = r"read -r v < /proc/version; read -r b < /proc/sys/kernel/random/boot_id; echo \"$v\" > $out; echo \"$b\" >> $out"
DERIVATION = """derivation {
  name = "proof-%s";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [ "-c" "%s" ];
  allowSubstitutes = false;
}"""


def test_an_ordinary_user_builds_for_linux(mac: macs.Mac) -> None:
    """`nix-build` of somebody who is no trusted user, proven by what only the guest can have written."""
    path = mac.out(
        "/usr/bin/sudo", "-H", "-u", "alice", "/usr/bin/env", "PATH=/nix/var/nix/profiles/default/bin:/usr/bin:/bin",
        "nix-build", "--no-out-link", "-E", DERIVATION % (uuid.uuid4(), SCRIPT),
    ).splitlines()[-1]  # fmt: skip
    version, boot_id = mac.read(path).splitlines()
    assert version == str(mac.guest("cat", "/proc/version").stdout).strip()
    assert boot_id == mac.guest_boot_id()
    assert boot_id != mac.read("/proc/sys/kernel/random/boot_id")


def test_the_verify_playbook_proves_it_and_changes_nothing() -> None:
    started = time.monotonic()
    played = macs.play("verify")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
    assert played.says("x86_64-linux built in"), played.output
    assert played.says("Linux version"), played.output
    assert time.monotonic() - started < 120
