# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Examples as they stand in README, guides, roles and modules, on a Mac that has the builder.

What is changed of an example, or not run, is named below with the reason; tests/docs reads those too.
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

import macs
import pytest
import yaml

sys.path.insert(0, str(macs.ROOT / "tests" / "docs"))
import examples

EVERYTHING = examples.everything()
COMMANDS = [command for example in EVERYTHING if examples.kind(example) == "commands" for command in examples.commands(example)]

# Playbooks that would take the builder away, or install something: only looked at, by check mode.
CHECKED = {"teardown", "bootstrap"}
NOT_RUN = {
    "rotate_keys": "the scenario `rotate` does it, and all that can go wrong with it",
    # the scenario `fleet` publishes, into a store of files and over http
    "publish_image": "no bucket here",
    # its installed tree is only there where somebody copied it; the scenarios `scale` and `pull` run all of it
    "site.yml": "docs/examples/fleet has scenarios of its own",
    "schedule.yml": "docs/examples/fleet has scenarios of its own",
}


def playbook_of(command: examples.Command) -> str:
    return command.words[1].removeprefix("nixmac.linux_builder.")


def options_of(command: examples.Command) -> list[str]:
    """Without the inventory, the password and the names of Macs, which are this run's."""
    found: list[str] = []
    words = iter(command.words[2:])
    for word in words:
        if word in ("-i", "--limit"):
            next(words)
        elif word != "-K" and "linux_builder_publisher" not in word:
            found.append(word)
    return found


PLAYED = {(playbook_of(command), *options_of(command)): command for command in COMMANDS if command.words[0] == "ansible-playbook"}


def test_what_is_not_run_is_there_to_be_run() -> None:
    assert set(NOT_RUN) <= {playbook for playbook, *_options in PLAYED}


@pytest.mark.parametrize("line", [line for line in PLAYED if line[0] not in NOT_RUN], ids=" ".join)
def test_playbooks(line: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    playbook, *options = line
    # Where a setting is another one, the change is only shown.
    if (playbook in CHECKED or "linux_builder_memory_mib=8192" in options) and "--check" not in options:
        options.append("--check")
    # A report of Macs elsewhere: there is no such server.
    if any("reports.example.com" in option for option in options):
        options = [re.sub(r"https://reports\.example\.com/macs/", str(tmp_path), option) for option in options]
    played = macs.play(playbook, *options)
    assert played.rc == 0, played.output
    if playbook == "export_nix_darwin":
        assert (tmp_path / f"linux-builder-{macs.NAME}.nix").exists()
    if playbook == "site" and "--check" not in options and "--list-tags" not in options:
        assert played.changed() == 0, played.output


@pytest.mark.parametrize(
    ("source", "said"),
    [("clt", "no Command Line Tools offered by softwareupdate. Install"), ("nix", "See that this Mac has Nix and reaches")],
)
def test_bootstrap_says_what_to_do_where_it_cannot(source: str, said: str) -> None:
    """A stand-in has no softwareupdate, and no nixpkgs in reach."""
    played = macs.play("bootstrap", "-e", f"linux_builder_bootstrap={source}")
    assert played.rc == 2
    assert said in " ".join(played.output.split())


# --- playbooks and tasks of guides, roles and modules -------------------------------------------------------------------

PLAYS = [example for example in EVERYTHING if examples.kind(example) in ("playbook", "tasks")]
# Name of a page or module -> why its tasks are not run, or only in check mode.
CHECK_ONLY = {
    "trusted_users": "there is no alice",
    "adopt": "nothing is there to adopt",
    "teardown": "the others need the builder",
    "builder_adopt": "nothing is there to adopt",
    "builder_manifest": "a teardown knows the example's file then",
    "builder_vm": "other cores, stopped, absent",
    "launchd_service": "programs of the example's",
    "coming-from-community-general-launchd": "a program of the example's",
    "nix_conf": "trusted users",
    "nix_delegation": "another entry",
    "nix_machine": "another key",
    "ssh_host_key": "another key",
}
FOREIGN = "community.general"
# The base64 form of a whole public key line: that of nixpkgs' image.
PUBLIC_KEY = (
    "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUpCV2N4Yi9CbGFxdDFhdU90RStGOFFVV3JVb3RpQzVxQkorVXVFV2RWQ2Igcm9vdEBuaXhvcwo="
)
# What an example takes from elsewhere.
GIVEN = {"agent_token": "some token", "nix_conf": {"changed": False}, "host_key": {"public_key_base64": PUBLIC_KEY}}


def subject(example: examples.Example) -> str:
    """The role or module whose example it is, or the guide's name."""
    return example.page.parent.name if example.page.name == "README.md" else example.page.stem


def runnable(example: examples.Example) -> bool:
    # A bucket, a file server and another collection are not here.
    return not any(words in example.text for words in (FOREIGN, "s3://", "import_playbook"))


@pytest.mark.parametrize("example", [example for example in PLAYS if runnable(example)], ids=lambda example: example.name)
def test_tasks(example: examples.Example, mac: macs.Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is written on the controller is written there.
    monkeypatch.chdir(tmp_path)
    data: list[dict[str, t.Any]] = yaml.safe_load(example.text)
    kind = examples.kind(example)
    plays = data if kind == "playbook" else [{"name": "Try it", "hosts": "macs", "gather_facts": False, "tasks": data}]
    system = mac.guest_system()
    for play in plays:
        play["vars"] = {**GIVEN, "vault_builder_host_key": private_key(tmp_path), **play.get("vars", {})}
        if kind == "tasks":
            play["become"] = True
    text = yaml.safe_dump(plays).replace("aarch64-linux", system)
    # A builder of another name, an hour in the future: the Mac has one, and no alice.
    text = re.sub(r"\bgroups\.macs\b", "ansible_play_hosts_all", text).replace("user: alice", "user: admin")
    text = text.replace("/srv/linux-builder-reports", str(tmp_path))
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "ssh_alias.conf.j2").write_text("Host linux-builder\n")
    (tmp_path / "play.yml").write_text(text)
    check = ["--check"] if subject(example) in CHECK_ONLY else []
    played = macs.play(str(tmp_path / "play.yml"), "--limit", macs.NAME, "--diff", *check)
    assert played.rc == 0, played.output


def private_key(directory: Path) -> str:
    """A host key, as somebody's vault would hold it."""
    import subprocess

    path = directory / "key"
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=60)
    return path.read_text()


# --- commands for the Mac itself ----------------------------------------------------------------------------------------

ON_THE_MAC = [
    command
    for command in COMMANDS
    if command.words[0] in ("sudo", "tail", "ls", "nix", "nix-build", "nix-store", "cat", "umask", "awk")
]
# Part of a command -> why it is not run.
ELSEWHERE = {
    "nixpkgs#": "no nixpkgs here",
    "/nix/store/...": "a name to fill in",
    "launchctl bootout": "run below, with what follows it",
    "launchctl bootstrap": "run below",
}


@pytest.mark.parametrize(
    "command",
    [command for command in ON_THE_MAC if not any(part in command.text for part in ELSEWHERE)],
    ids=lambda command: command.name,
)
def test_commands_on_the_mac(command: examples.Command, mac: macs.Mac) -> None:
    text = command.text.replace("aarch64-linux", mac.guest_system()).replace("tail -f", "tail -n 1")
    # Nobody is there to answer ssh's question about the guest's key.
    text = text.replace("ssh linux-builder", "ssh -o StrictHostKeyChecking=accept-new linux-builder")
    # As root, so that sudo asks nothing. `result` lies where the build before it was asked for.
    mac.shell(f"cd /var/root && {text}")


def test_the_first_build_of_the_quick_start_says_linux(mac: macs.Mac) -> None:
    (text,) = {command.text for command in COMMANDS if command.words[0] == "nix-build"}
    said = mac.shell(f"cd /tmp && {text.replace('aarch64-linux', mac.guest_system())} && cat result")
    assert said.splitlines()[-1].startswith("Linux version ")


def test_stop_and_start_by_hand(mac: macs.Mac, launchd: macs.Launchd) -> None:
    out, back = [command.text for command in ON_THE_MAC if re.search(r"launchctl boot(out|strap) ", command.text)]
    mac.shell(out)
    macs.poll("the job is gone", lambda: launchd.job(macs.LABEL) is None, 120)
    mac.shell(back)
    macs.poll("the guest answers", mac.guest_boot_id, 600)
