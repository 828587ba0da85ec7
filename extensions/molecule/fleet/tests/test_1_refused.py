# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cache that cannot be trusted or reached is said to be so, before anything changes."""

from __future__ import annotations

import typing as t

import fleet
import macs
import pytest

TRY = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: Stage a builder that is not there yet
      nixmac.linux_builder.builder_vm:
        state: staged
        package: "{{ linux_builder_package }}"
        public_host_key: "{{ linux_builder_public_host_key }}"
        disk_mib: "{{ size }}"
        cache: "{{ linux_builder_cache }}"
        cache_public_key: "{{ linux_builder_cache_public_key | default(omit, true) }}"
"""


@pytest.fixture(scope="module")
def staged(published: macs.Played, tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., macs.Played]:
    """Try to realise a VM that no store has, on the first Mac; arguments: variables."""
    assert published.rc == 0
    playbook = tmp_path_factory.mktemp("refused") / "try.yml"
    playbook.write_text(TRY)

    def run(**variables: str) -> macs.Played:
        return fleet.play(str(playbook), fleet.FIRST, *(f"--extra-vars={name}={value}" for name, value in variables.items()))

    return run


def test_without_a_key(staged: t.Callable[..., macs.Played], cache: fleet.Cache) -> None:
    played = staged(linux_builder_cache=cache.url, linux_builder_cache_public_key="", size="4001")
    assert played.rc != 0
    assert played.says("cache_public_key: is missing")


def test_unreachable(staged: t.Callable[..., macs.Played], cache: fleet.Cache) -> None:
    played = staged(linux_builder_cache="http://127.0.0.1:9", linux_builder_cache_public_key=cache.public_key, size="4002")
    assert played.rc != 0
    assert played.says("cache: http://127.0.0.1:9 cannot be used")


def test_a_key_of_another_fleet(published: macs.Played, cache: fleet.Cache, second: macs.StandIn) -> None:
    """The second Mac has nothing yet of what it shall take here."""
    pair = f"{fleet.NIX} key generate-secret --key-name fleet-1 | {fleet.NIX} key convert-secret-to-public"
    options = [
        *fleet.CONFIGURED,
        f"--extra-vars=linux_builder_cache={cache.url}",
        f"--extra-vars=linux_builder_cache_public_key={second.root('/bin/sh', '-c', pair).strip()}",
    ]
    played = fleet.play("site", fleet.SECOND, *options)
    assert played.rc != 0
    assert played.says("is not signed with cache_public_key fleet-1")
