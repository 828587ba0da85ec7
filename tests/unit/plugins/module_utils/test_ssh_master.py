# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where one ssh connection for all builds is known to fail."""

from __future__ import annotations

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _ssh_master


def said(version="2.26.3", variant="upstream", text="", machines=b"", builders="@/etc/nix/machines"):
    nix = {"version": version, "variant": variant, "version_text": text, "settings": {"builders": builders}}
    found = list(_ssh_master.problems({"nix": nix}, "linux-builder", lambda _path: machines))
    assert all(problem.code == "ssh_control_master" and not problem.adoption_solves for problem in found)
    return " ".join(problem.message for problem in found)


@pytest.mark.parametrize("version", ["2.8.1", "2.14.9", "2.16.0", "2.26.3", "2.34.8", None])
def test_most_nix_can(version):
    assert said(version) == ""


@pytest.mark.parametrize("version", ["2.15.0", "2.15.3"])
def test_nix_that_hangs(version):
    assert f"Nix {version} hangs" in said(version)
    assert said(version, "lix") == ""  # no Lix was made from it


@pytest.mark.parametrize(
    ("number", "can"), [("3.4.1", False), ("3.21.9", False), ("3.22.0", True), ("4.0.0", True), ("?", False)]
)
def test_determinate_nix(number, can):
    words = said("2.31.2", "determinate", f"nix (Determinate Nix {number}) 2.31.2")
    assert (words == "") is can
    assert can or "3.22.0" in words


@pytest.mark.parametrize(
    ("uri", "can"),
    [
        ("ssh-ng://builder@linux-builder", True),
        ("ssh-ng://builder@linux-builder?max-connections=1", True),
        ("ssh-ng://builder@linux-builder?compress=true&max-connections=4", False),
        ("ssh-ng://linux-builder?max-connections=64", False),
        ("ssh-ng://builder@another?max-connections=4", True),
    ],
)
def test_more_connections_to_the_same_host(uri, can):
    line = f"{uri} x86_64-linux - 4"
    for words in (said(machines=f"# ours\n{line}\n".encode()), said(builders=line)):
        assert (words == "") is can
        assert can or uri in words
