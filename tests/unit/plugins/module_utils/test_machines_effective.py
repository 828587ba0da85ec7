# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_effective import read

LINE = "ssh-ng://builder@linux-builder aarch64-linux,x86_64-linux /k 4 1 kvm gpu AAAA"


def files(**contents):
    return lambda path: contents[path.strip("/")].encode() if path.strip("/") in contents else None


def test_an_entry_in_the_setting_itself():
    (machine,) = read(LINE, files()).found
    assert (machine.uri, machine.systems) == ("ssh-ng://builder@linux-builder", ("aarch64-linux", "x86_64-linux"))
    assert (machine.key, machine.max_jobs, machine.host_key) == ("/k", 4, "AAAA")
    assert machine.features == ("kvm", "gpu")
    assert machine.mandatory == ("gpu",)
    assert machine.where == "builders"


def test_files_are_followed_and_name_their_lines():
    found = read("ssh://a;@/m;@/none", files(m=f"# comment\n{LINE}\n@/n\n", n="ssh://c x86_64-linux\n"))
    assert [(machine.uri, machine.where) for machine in found.found] == [
        ("ssh://a", "builders"),
        ("ssh-ng://builder@linux-builder", "/m:2"),
        ("ssh://c", "/n:1"),
    ]
    assert found.missing == ("/none",)
    assert found.files == ("/m", "/n")
    assert found.found[0].max_jobs == 1


def test_files_that_name_each_other_end():
    assert read("@/m", files(m="@/n", n="@/m\nssh://a")).found[0].uri == "ssh://a"


def test_what_stops_every_build_is_a_problem_with_its_place():
    found = read("@/m", files(m="ssh://a x86_64-linux /k many\nssh://b"))
    assert [place for place, _words in found.problems] == ["/m:1"]
    assert [machine.uri for machine in found.found] == ["ssh://b"]


def test_old_nix_takes_an_indented_file_for_a_machine():
    assert read("ssh://a; @/m", files(m=LINE)).of("ssh-ng://builder@linux-builder") is not None
    assert read("ssh://a; @/m", files(m=LINE), old=True).of("ssh-ng://builder@linux-builder") is None


def test_a_machine_is_found_by_its_uri():
    assert read(LINE, files()).of("ssh-ng://other") is None
    assert read("a x86_64-linux", files()).of("ssh://a") is not None
