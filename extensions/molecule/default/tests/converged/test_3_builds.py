# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds for Linux from the converged Mac."""

from __future__ import annotations

import json
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


def test_a_verification_tells_and_notes_down_what_was_proven(mac: macs.Mac) -> None:
    result = mac.module("nixmac.linux_builder.builder_verify", {"user": "alice"})
    assert result.get("verified") is True, result
    builds = [(build["user"], build["features"]) for build in result["builds"]]
    assert builds == [("root", []), ("root", ["benchmark", "big-parallel"]), ("alice", [])]
    for build in result["builds"]:
        assert (build["system"], build["architecture"]) == ("x86_64-linux", "x86_64")
        assert build["boot_id"] == result["boot_id"] == mac.guest_boot_id()
        assert build["builder"] == "ssh-ng://builder@linux-builder"
        phases = build["phases"]
        assert all(phases[phase] is not None for phase in ("connect", "copy", "build", "fetch")), phases
        assert sum(phases.values()) <= build["seconds"]
        assert not mac.exists(build["store_path"])
        assert mac.guest("test", "-e", build["store_path"]).rc != 0
    record = json.loads(mac.read(f"{macs.WORKING_DIRECTORY}/verified.json"))
    assert record["seconds"] == {"x86_64-linux": result["builds"][0]["seconds"]}
    assert record["versions"] == result["versions"]
    assert record["store_path"] == mac.out("/usr/bin/readlink", "-f", macs.PROFILE)
    assert record["boot_id"] == result["boot_id"]
