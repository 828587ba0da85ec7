# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Teardown of Macs in whatever state. The tests of this file build on one another, in their order."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import macs
import pytest

MANIFEST = "/var/db/nixmac.linux_builder"
ROLE = str(Path(__file__).parents[1] / "role.yml")
ROLES = ("preflight", "adopt", "credentials", "trusted_users", "builder", "delegation", "verify")
# In the places that the roles use, made by somebody after a teardown.
STRANGERS = (macs.KEY, f"{macs.KEY}.pub", macs.SSH_ALIAS, f"{macs.WORKING_DIRECTORY}/nixos.qcow2", macs.LOG, macs.PLIST)


@pytest.fixture(scope="module", name="before")
def fixture_before(stand_in: macs.StandIn) -> dict[str, t.Any]:
    """The Mac with what its user has on it, before the first run."""
    return stand_in.snapshot()


def run(name: str, *arguments: str) -> macs.Played:
    played = macs.play(name, *arguments)
    assert played.rc == 0, played.output
    return played


def same(before: dict[str, t.Any], stand_in: macs.StandIn) -> None:
    differences = macs.differences(before, stand_in.snapshot())
    assert not differences, "\n".join(differences)


def test_what_was_there_comes_back_byte_for_byte(before: dict[str, t.Any], stand_in: macs.StandIn) -> None:
    run("site")
    converged = stand_in.snapshot()
    told = run("teardown", "--check", "--diff")
    assert told.says(macs.SSH_ALIAS), told.output
    lines = macs.differences({"files": converged["files"]}, {"files": stand_in.snapshot()["files"]})
    # The VM runs meanwhile.
    assert [line for line in lines if "/nixos.qcow2: " not in line and f"{macs.LOG}: " not in line] == []
    done = run("teardown", "--diff")
    assert told.changed() == done.changed() > 0
    same(before, stand_in)


def test_a_second_teardown_takes_nothing_that_others_made(
    before: dict[str, t.Any], mac: macs.Mac, stand_in: macs.StandIn
) -> None:
    """The very places of the builder, but other things in them."""
    paths = [path for path in STRANGERS if path not in before["files"]]
    assert len(paths) == 4
    for path in paths:
        mac.out("/bin/mkdir", "-p", path.rpartition("/")[0])
        mac.out("/bin/sh", "-c", f"echo somebody > {path}")
    strangers = stand_in.snapshot()
    assert run("teardown").changed() == 0
    same(strangers, stand_in)
    for path in paths:
        mac.out("/bin/rm", path)
    mac.out("/bin/rmdir", macs.WORKING_DIRECTORY)
    same(before, stand_in)


def test_each_role_alone_can_be_asked_what_it_would_do(before: dict[str, t.Any], stand_in: macs.StandIn) -> None:
    for role in ROLES:
        run(ROLE, f"--extra-vars=role={role}", "--check", "--diff")
    same(before, stand_in)


def test_part_by_part(before: dict[str, t.Any], mac: macs.Mac, stand_in: macs.StandIn) -> None:
    """Each role alone, and each tag of the teardown alone; what belongs to no such part stays meanwhile."""
    for role in ROLES:
        run(ROLE, f"--extra-vars=role={role}")
    run("teardown", "--tags=delegation")
    assert "me@big" in mac.read(macs.MACHINES)
    assert not mac.exists(macs.SSH_ALIAS)
    assert mac.exists(macs.PLIST)
    run("teardown", "--tags=builder")
    assert not mac.exists(macs.WORKING_DIRECTORY)
    assert mac.exists(f"{MANIFEST}/manifest.json")
    run("teardown", "--tags=credentials")
    same(before, stand_in)


def test_half_of_it_is_gone_or_broken_or_changed(before: dict[str, t.Any], mac: macs.Mac, stand_in: macs.StandIn) -> None:
    """And the disk is kept at first, which a later teardown without that wish still knows to be the builder's."""
    keep = "--extra-vars=linux_builder_keep_data=true"
    run("site")
    mac.out("/bin/launchctl", "bootout", f"system/{macs.LABEL}")
    macs.poll("the job is gone", lambda: mac.run("/bin/launchctl", "print", f"system/{macs.LABEL}").rc != 0, 120)
    mac.out("/bin/rm", "-r", f"{macs.WORKING_DIRECTORY}/keys", f"{macs.WORKING_DIRECTORY}/run-builder", macs.PLIST)
    mac.shell(f"echo broken > {macs.WORKING_DIRECTORY}/builder.json; echo '# mine' >> {macs.SSH_ALIAS}")
    done = run("teardown", keep)
    # Somebody changed the alias, so it stays, and the play says so.
    assert done.says(f"{macs.SSH_ALIAS} stays: changed by somebody else"), done.output
    assert mac.read(macs.SSH_ALIAS).endswith("# mine")
    assert "nixos.qcow2" in mac.out("/bin/ls", macs.WORKING_DIRECTORY).split()
    assert run("teardown", keep).changed() == 0
    mac.out("/bin/rm", macs.SSH_ALIAS)
    run("teardown")
    same(before, stand_in)


def test_a_mac_of_an_older_version_has_no_manifest(before: dict[str, t.Any], mac: macs.Mac, stand_in: macs.StandIn) -> None:
    run("site")
    mac.out("/bin/rm", "-r", f"{MANIFEST}/manifest.json", f"{MANIFEST}/originals")
    run("teardown")
    # That version did not know what was there before: the key pair and the entry under the builder's name are lost.
    lost = {macs.KEY, f"{macs.KEY}.pub", macs.MACHINES}
    lines = macs.differences(before, stand_in.snapshot())
    assert {re.sub(r"^files: (?:gone: |new: )?(\S+?):? .*", r"\1", line) for line in lines} == lost
    assert run("teardown").changed() == 0
