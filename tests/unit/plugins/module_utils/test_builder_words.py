# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_words import Need, need, words
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
OLD = (
    f"error: a 'aarch64-linux' with features {{}} is required to build '/nix/store/{HASH}-boot.json.drv', "
    "but I am a 'aarch64-darwin' with features {apple-virt, benchmark, big-parallel, nixos-test}"
)
# Nix 2.31 and later, as its source prints it to a terminal and to a pipe.
NEW = (
    f"error: Cannot build '\x1b[35;1m/nix/store/{HASH}-boot.json.drv\x1b[0m'.\n"
    "       Reason: \x1b[31;1mrequired system or feature not available\x1b[0m\n"
    "       Required system: 'aarch64-linux' with features {kvm, big-parallel}\n"
    "       Current system: 'aarch64-darwin' with features {benchmark}\n"
    f"error: Cannot build '/nix/store/{HASH}-nixos-system.drv'.\n       Reason: 1 dependency failed.\n"
)
PLAIN = re.sub("\x1b\\[[0-9;]*m", "", NEW)


def failed(stderr: str) -> Completed:
    return Completed(("nix",), 1, "", stderr)


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (OLD, Need("boot.json.drv", "aarch64-linux", ())),
        (NEW, Need("boot.json.drv", "aarch64-linux", ("kvm", "big-parallel"))),
        (PLAIN, Need("boot.json.drv", "aarch64-linux", ("kvm", "big-parallel"))),
        ("error: builder for '/nix/store/x.drv' failed", None),
        (f"error: Cannot build '/nix/store/{HASH}-a.drv'.\n Reason: 1 dependency failed.", None),
    ],
)
def test_the_derivation_and_the_system_it_needs_are_read_from_both_wordings(stderr: str, expected: Need | None) -> None:
    assert need(stderr) == expected


@pytest.mark.parametrize("stderr", [OLD, NEW])
def test_the_message_names_derivation_and_system_and_says_what_to_do(stderr: str) -> None:
    stock = words(failed(stderr))
    assert "boot.json.drv has to be built on aarch64-linux" in stock
    assert "whose builder Hydra has built" in stock
    configured = words(failed(stderr), True, ("127.0.0.1", 31022))
    assert "deploy the stock builder first" in configured
    assert "does not answer" not in configured
    refused = "cannot build on 'ssh-ng://builder@linux-builder': error: failed to start SSH connection to 'linux-builder'\n"
    assert "The builder at 127.0.0.1 port 31022 does not answer." in words(failed(refused + stderr), True, ("127.0.0.1", 31022))
    assert ("with kvm, big-parallel" in configured) == ("linux_builder_supported_features" in configured) == (stderr == NEW)


@pytest.mark.parametrize(
    ("stderr", "hint"),
    [
        ("error: unable to download 'https://c.example/x': SSL peer certificate or SSH remote key was not OK (60)", "ca_file"),
        ("error: unable to download 'https://c.example/x': HTTP error 407 (response 407)", "user name and password"),
        ("error: unable to download 'https://c.example/x': Couldn't connect to server (7)", "network and proxy"),
        (
            "error: syntax error, unexpected end of file\n       at /nix/store/y-linux-builder-config.nix:1:2:\n",
            "module in config",
        ),
        ("error: The option `services.nope' does not exist. Definition values:", "names of the options in config"),
        ("error: something else", "See the words of Nix"),
    ],
)
def test_known_words_come_with_what_to_do(stderr: str, hint: str) -> None:
    assert hint in words(failed(stderr))


def test_why_a_cache_did_not_answer_is_told_where_its_path_is_missing() -> None:
    missing = "error: path '/nix/store/x-vm' is required, but there is no substituter that can build it"
    assert words(failed(missing)).endswith("copy it first (nix copy).")
    one = "unable to download 'https://c.example/nix-cache-info': {0}"
    tries = f"warning: error: {one}; retrying in 271 ms\nwarning: {one}\n"
    said = words(failed(tries.format("SSL peer certificate or SSH remote key was not OK (60)") + missing))
    assert (
        "(unable to download 'https://c.example/nix-cache-info': SSL peer certificate or SSH remote key was not OK (60))" in said
    )
    assert "ca_file" in said
    assert "proxy" in words(failed(tries.format("Could not resolve hostname (6)") + missing))
    offline = "warning: you don't have Internet access; disabling some network-dependent features\n"
    assert "this Mac has no network" in words(failed(offline + missing))


def test_what_is_for_another_mac_has_nothing_to_do_with_the_builder() -> None:
    said = words(failed(OLD.replace("aarch64-linux", "x86_64-darwin")), True, ("127.0.0.1", 31022))
    assert said.endswith("Use a package for this Mac's system.")
