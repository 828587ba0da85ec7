# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac that nix-darwin manages: `site` refuses it and touches nothing, and the module it offers is one that Nix takes."""

from __future__ import annotations

import json
import typing as t

import macs
import pytest

# What the module is given in nix-darwin, as far as it looks at it. `getFlake` must not reach for the network.
EVALUATED = """
let
  package = { override = changes: { outPath = "/nix/store/builder"; inherit changes; }; };
  flake = { legacyPackages.x86_64-darwin.darwin.linux-builder = package; };
  stubbed = builtins // { getFlake = reference: flake // { inherit reference; }; };
  pkgs = { stdenv.hostPlatform.system = "x86_64-darwin"; coreutils = "coreutils"; nix = "nix"; };
in
(scopedImport { builtins = stubbed; } /tmp/builder.nix) { inherit pkgs; config.nix.package = "nix"; lib = { }; }
"""
USERS = ["alice", '@ops"${builtins.currentSystem}']


@pytest.fixture(scope="module")
def refused(stand_in: macs.StandIn) -> tuple[macs.Played, list[str]]:
    before = stand_in.snapshot()
    played = macs.play("site")
    return played, macs.differences(before, stand_in.snapshot())


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory, stand_in: macs.StandIn) -> t.Any:
    """What the exported module evaluates to, by the Mac's own Nix."""
    path = tmp_path_factory.mktemp("export") / "builder.nix"
    wanted = {
        "linux_builder_export_path": str(path),
        "linux_builder_trusted_users": USERS,
        "linux_builder_cores": 4,
        "linux_builder_port": 31099,
        "linux_builder_public_host_key": "c3RvY2s=",
        "linux_builder_package": "github:NixOS/nixpkgs/bd495b825e5c4365131f9b744cce923d42c06158#darwin.linux-builder",
    }
    played = macs.play("export_nix_darwin", f"--extra-vars={json.dumps(wanted)}")
    assert played.rc == 0, played.output
    assert played.changed() == 1
    again = macs.play("export_nix_darwin", f"--extra-vars={json.dumps(wanted)}")
    assert again.changed() == 0, again.output
    stand_in.root("/bin/sh", "-c", "cat > /tmp/builder.nix", stdin=path.read_text())
    words = ["nix-instantiate", "--eval", "--strict", "--json", "-"]
    return json.loads(stand_in.root(f"/nix/var/nix/profiles/default/bin/{words[0]}", *words[1:], stdin=EVALUATED))


def test_site_refuses_and_changes_nothing(refused: tuple[macs.Played, list[str]]) -> None:
    played, differences = refused
    assert played.rc != 0
    assert played.says("nix-darwin")
    assert not differences, "\n".join(differences)


def test_the_refusal_carries_the_module(refused: tuple[macs.Played, list[str]]) -> None:
    played, _differences = refused
    assert played.says("nix.buildMachines")
    assert played.says("launchd.daemons.linux-builder")


def test_the_module_names_host_user_and_key(module: t.Any) -> None:
    (machine,) = module["nix"]["buildMachines"]
    assert (machine["hostName"], machine["sshUser"], machine["protocol"]) == ("linux-builder", "builder", "ssh-ng")
    assert machine["sshKey"] == macs.KEY
    assert (machine["systems"], machine["maxJobs"]) == (["x86_64-linux"], 4)


def test_its_job_has_a_working_directory_and_the_pinned_package(module: t.Any) -> None:
    job = module["launchd"]["daemons"]["linux-builder"]
    assert job["command"] == "/nix/store/builder/bin/create-builder"
    assert job["serviceConfig"]["WorkingDirectory"] == macs.WORKING_DIRECTORY
    assert "  Port 31099\n" in module["environment"]["etc"]["ssh/ssh_config.d/100-linux-builder.conf"]["text"]


def test_no_value_is_taken_for_nix_code(module: t.Any) -> None:
    assert module["nix"]["settings"]["trusted-users"] == USERS
