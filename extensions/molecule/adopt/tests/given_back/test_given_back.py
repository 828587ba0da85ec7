# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After teardown: the builder that was set up by hand is back, with its disk, and runs."""

from __future__ import annotations

import re
import typing as t

import macs

# What a VM that runs changes by itself: the content of its disk, not owner and mode.
OWN_LIFE = re.compile(r"files: /Users/admin/linux-builder/nixos\.qcow2: file (0o\d+ \d+ \d+) \d+ \w+ -> file \1 ")


def test_everything_is_as_the_user_had_made_it(stand_in: macs.StandIn, kept: t.Any) -> None:
    before, after = kept("by_hand"), stand_in.snapshot()
    # The port opens a little after the VM has started; the next test waits for that.
    parts = ("files", "jobs")
    lines = macs.differences({part: before[part] for part in parts}, {part: after[part] for part in parts})
    assert [line for line in lines if not OWN_LIFE.match(line)] == []


def test_it_builds_again_as_it_did_by_hand(mac: macs.Mac) -> None:
    expression = (
        'derivation { name = "built-again"; system = "x86_64-linux"; builder = "/bin/sh"; '
        'args = [ "-c" "read -r line < /proc/version; echo \\"$line\\" > $out" ]; }'
    )

    def build() -> str:
        argv = ("/nix/var/nix/profiles/default/bin/nix-build", "--no-out-link", "--max-jobs", "0", "--expr", expression)
        done = mac.run(*argv)
        return str(done.stdout).strip() if done.rc == 0 else ""

    path = macs.poll("a Linux build in the builder of before", build, 300)
    assert "Linux version" in mac.read(path)


def test_what_was_built_in_between_is_still_on_its_disk(mac: macs.Mac) -> None:
    path = mac.read("/Users/admin/built-before")
    done = mac.run(
        "/usr/bin/ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-i", macs.KEY, "-p", str(macs.PORT), "builder@127.0.0.1", f"nix-store --check-validity {path}",
    )  # fmt: skip
    assert done.rc == 0, done.stderr


def test_a_second_teardown_leaves_it_alone() -> None:
    played = macs.play("teardown")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
