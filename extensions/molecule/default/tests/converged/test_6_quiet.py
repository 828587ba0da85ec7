# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What site.yml costs a Mac on which nothing is to be done, and that what is to be done is still done."""

from __future__ import annotations

import json
import re

import macs
import pytest

PROBE, PROOF = "builder_info", "builder_verify"


def site(*arguments: str) -> macs.Played:
    """A run that must succeed."""
    played = macs.play("site", "-vvv", *arguments)
    assert played.rc == 0, played.output
    return played


def quiet(*arguments: str, modules: list[str]) -> macs.Played:
    """A run of these modules alone. On a busy machine the VM may take too long to answer the look, which then sends the roles
    to wait for it; that is right, and not what is counted here, so such a run is followed by another.
    """
    for _attempt in range(3):
        played = site(*arguments)
        if played.modules() == modules or "the VM is not ready" not in played.output:
            break
    assert played.modules() == modules, played.output
    return played


def test_a_run_with_nothing_to_do_looks_once_and_proves_once() -> None:
    played = quiet(modules=[PROBE, PROOF])
    assert played.changed() == 0
    # Pipelining: no file goes to the Mac, and no facts are gathered.
    assert not re.search(r"\bPUT\b|\bsftp\b|AnsiballZ_", played.output)
    assert not played.says("ansible.builtin.setup")


def counted(*arguments: str) -> dict[str, list[str]]:
    """What a run starts on the Mac, from the first byte of its connection to the last; see tests/lab/nixmaclab/processes.py."""
    played = macs.play("site", *arguments, under=[str(macs.ROOT / "tests" / "lab" / "lab"), "processes", macs.NAME, "--"])
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
    found: dict[str, list[str]] = json.loads(played.output.splitlines()[-1])
    return found


def test_the_processes_of_a_run_with_nothing_to_do() -> None:
    """Shells, sudo, interpreters and what the modules start. The first run may still note down what the second need not ask."""
    counted()
    connection = ["python3"] * 2 + ["sh"] * 4 + ["sudo"] * 2
    for _attempt in range(3):  # as in `quiet`
        found = counted()
        if found["ansible"] == connection:
            break
    assert found["ansible"] == connection
    # The look: what Nix makes of its configuration, the job, the VM. The proof: two builds, the VM, away with what they made.
    assert found["modules"] == ["launchctl", "nix", "nix-build", "nix-build", "nix-store", "ssh", "ssh"]
    assert len(found["ansible"]) + len(found["modules"]) <= 15
    for _attempt in range(3):
        looked = counted("--skip-tags=verify")
        if len(looked["ansible"]) == len(connection) // 2:
            break
    assert looked["modules"] == ["launchctl", "nix", "ssh"]


def test_without_the_proof_it_looks_once() -> None:
    quiet("--skip-tags=verify", modules=[PROBE])
    quiet("--skip-tags=verify", "--check", "--diff", modules=[PROBE])


@pytest.mark.parametrize(
    ("damage", "needed", "changes"),
    [
        # The VM is gone, and nothing else.
        (f"launchctl bootout system/{macs.LABEL}", {"builder_vm", "nix_delegation"}, 1),
        (f"rm {macs.SSH_ALIAS}", {"nix_delegation"}, 1),
        # Changes nothing that anybody asked for, but the next change would be judged without it. Without it the daemon is started
        # anew where its configuration is about as old as it.
        ("rm /var/db/nixmac.linux_builder/daemon.json", {"nix_delegation"}, None),
    ],
)
def test_what_is_to_be_done_is_done(mac: macs.Mac, damage: str, needed: set[str], changes: int | None) -> None:
    mac.shell(damage)
    played = site("--skip-tags=verify")
    assert needed <= set(played.modules()), played.modules()
    assert changes in (None, played.changed()), played.output
    quiet("--skip-tags=verify", modules=[PROBE])


def test_files_that_teardown_would_not_know_are_claimed_again(mac: macs.Mac) -> None:
    manifest = "/var/db/nixmac.linux_builder/manifest.json"
    mac.shell(f"mv {manifest} {manifest}.kept")
    try:
        played = site("--skip-tags=verify")
        assert {"ssh_host_key", "builder_vm", "nix_delegation"} <= set(played.modules()), played.modules()
        assert played.changed() == 0, played.output
        quiet("--skip-tags=verify", modules=[PROBE])
    finally:
        # What was there before the first run is known to this one alone.
        mac.shell(f"mv {manifest}.kept {manifest}")


def test_one_changed_setting_runs_its_role_and_those_after_it() -> None:
    played = site("--skip-tags=verify", "--check", "--extra-vars=linux_builder_speed_factor=2")
    assert set(played.modules()) == {PROBE, "nix_delegation"}
    assert played.changed() == 1, played.output


def test_a_role_that_is_skipped_takes_no_other_along() -> None:
    played = site("--skip-tags=verify,trusted_users", "--check", "--extra-vars=linux_builder_speed_factor=2")
    assert set(played.modules()) == {PROBE, "nix_delegation"}
    played = site("--skip-tags=verify,delegation", "--check", "--extra-vars=linux_builder_speed_factor=2")
    assert "nix_delegation" not in played.modules()
    assert played.changed() == 0, played.output


def test_a_role_alone_never_relies_on_the_look_of_another_play() -> None:
    """The look of site.yml answers for its own variables; a role with others does its work."""
    playbook = macs.ROOT / "extensions" / "molecule" / "default" / "tests" / "other_variables.yml"
    played = macs.play(str(playbook), "--check", "-vvv")
    assert played.rc == 0, played.output
    assert played.modules() == [PROBE, "nix_delegation"]
    assert played.changed() == 1, played.output
