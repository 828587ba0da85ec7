# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_machine against real Nix: the build hook itself says which machines it sees."""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _machines_apply
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.tests.real.nix_under_test import nix_under_test
from ansible_collections.nixmac.linux_builder.tests.unit.fixtures.nixconf.record import KEY, MACHINES, machines, stage_machines

NIX = nix_under_test()
OPTIONS = {
    "uri": "ssh-ng://builder@linux-builder",
    "systems": ["our-os"],
    "ssh_key": "/etc/nix/builder_ed25519",
    "max_jobs": 4,
    "supported_features": ["benchmark", "big-parallel"],
    "public_host_key": KEY,
    "state": "present",
}


@pytest.fixture(name="etc")
def fixture_etc() -> t.Iterator[Path]:
    """A directory that stands for /etc/nix."""
    with tempfile.TemporaryDirectory(prefix="etc-") as name:
        yield Path(name).resolve()


def run(etc: Path, **options: t.Any) -> t.Any:
    host = _machines_apply.Host(NIX, str(etc))
    path = str(etc / ("nix.conf" if options.get("inline") else "machines"))
    return _machines_apply.run({**OPTIONS, "path": path, **options}, False, host)


@pytest.mark.parametrize("label", sorted(MACHINES))
def test_entry_is_seen_where_reached_says_so_and_no_other_is_lost(etc: Path, label: str) -> None:
    stage_machines(MACHINES[label], str(etc))
    before = machines(NIX.path, str(etc))
    content = (etc / "machines").read_bytes() if (etc / "machines").exists() else None
    try:
        done = run(etc)
    except ConfigError as exc:
        assert f"{etc}/machines:" in exc.message
        assert "error" in before or label in ("semicolon in a comment", "indented other file")
        return
    after = machines(NIX.path, str(etc))
    assert "error" not in after
    assert ("our-os" in after["systems"]) == done.result["reached"]
    # An entry that is ours by its URI was replaced.
    assert [name for name in before["systems"] if name not in after["systems"]] == (["one-os"] if label == "our own line" else [])
    if label != "our own line":
        run(etc, state="absent")
        assert ((etc / "machines").read_bytes() if (etc / "machines").exists() else None) == content


@pytest.mark.parametrize("label", sorted(label for label, files in MACHINES.items() if "builders" in files))
def test_value_that_is_said_to_reach_does_and_keeps_the_machines(etc: Path, label: str) -> None:
    stage_machines(MACHINES[label], str(etc))
    before = machines(NIX.path, str(etc))["systems"]
    value = run(etc).result["builders_reaching"]
    (etc / "nix.conf").write_text(f"builders = {value}\n")
    after = machines(NIX.path, str(etc))["systems"]
    assert "our-os" in after
    # Where a blank made a machine named `@file`, that one goes; it never built anything.
    assert set(before) - {"x86_64-linux"} <= set(after)
    assert run(etc).result["reached"]


@pytest.mark.parametrize("value", ["", "ssh-ng://i two-os", "ssh-ng://i two-os ; ssh-ng://j three-os"])
def test_inline_entry_is_seen_beside_the_others(etc: Path, value: str) -> None:
    conf = f"# mine\nbuilders = {value}\n".encode()
    (etc / "nix.conf").write_bytes(conf)
    before = machines(NIX.path, str(etc))["systems"]
    run(etc, inline=True)
    assert machines(NIX.path, str(etc))["systems"] == sorted([*before, "our-os"])
    assert not run(etc, inline=True).changed
    run(etc, inline=True, state="absent")
    assert (etc / "nix.conf").read_bytes() == conf
