# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After teardown: nix-darwin's builder is back in its place, and runs."""

from __future__ import annotations

import re
import typing as t

import macs

# What a VM that runs changes by itself: the content of its disk, not owner and mode.
OWN_LIFE = re.compile(r"files: /var/lib/linux-builder/nixos\.qcow2: file (0o\d+ \d+ \d+) \d+ \w+ -> file \1 ")
AGAIN = (
    'derivation { name = "built-again"; system = "x86_64-linux"; builder = "/bin/sh"; '
    'args = [ "-c" "read -r line < /proc/version; echo \\"$line\\" > $out" ]; }'
)


def test_everything_is_as_nix_darwin_had_left_it(stand_in: macs.StandIn, kept: t.Any) -> None:
    played = macs.play("teardown")
    assert played.rc == 0, played.output[-6000:]
    before, after = kept("left"), stand_in.snapshot()
    # The port opens a little after the VM has started; the next test waits for that.
    parts = ("files", "jobs")
    lines = macs.differences({part: before[part] for part in parts}, {part: after[part] for part in parts})
    assert [line for line in lines if not OWN_LIFE.match(line)] == []


def test_it_builds_again(mac: macs.Mac) -> None:
    def build() -> str:
        done = mac.run("/nix/var/nix/profiles/default/bin/nix-build", "--no-out-link", "--max-jobs", "0", "--expr", AGAIN)
        return str(done.stdout).strip() if done.rc == 0 else ""

    path = macs.poll("a Linux build in nix-darwin's builder", build, 300)
    assert "Linux version" in mac.read(path)


def test_a_second_teardown_leaves_it_alone() -> None:
    played = macs.play("teardown")
    assert (played.rc, played.changed()) == (0, 0), played.output
