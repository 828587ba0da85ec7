# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac takes from the fleet's store what it cannot build: a guest of its own configuration, and no builder that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import cache_server
import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_apply, _builder_source, _publish
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec, spec_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import FileProgress

FEATURES = ["--extra-experimental-features", "nix-command flakes"]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"


def nix(*args: str, stdin: str | None = None) -> str:
    return subprocess.run([find_nix().path, *FEATURES, *args], input=stdin, capture_output=True, text=True, check=True).stdout


class Fleet(t.NamedTuple):
    """What another Mac has published: the store's directory, the public key, what was asked for, what it became."""

    directory: Path
    public_key: str
    params: dict[str, t.Any]
    locked: str
    store_path: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A store with a guest of this test's own; this Mac's Nix has nothing of it any more.

    The stand-in is Linux in truth, which Nix is told for the one build that stands for the other Mac's builder.
    """
    folder = tmp_path_factory.mktemp("fleet")
    flake = folder / "flake"
    shutil.copytree("/opt/lab/builder", flake)
    with open(flake / "vm.nix", "a", encoding="utf-8") as stream:
        stream.write(f"# {folder}\n")
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    params = {
        "package": f"path:{flake}#darwin.linux-builder",
        "update": False,
        "profile": f"/nix/var/nix/profiles/test-fleet-{os.getpid()}",
        "working_directory": f"{folder}/lib/linux-builder",
        "memory_mib": 4096,
        "cores": 2,
        "disk_mib": None,
        "host_address": "127.0.0.1",
        "port": 31022,
        "accept_any_address": False,
        "client_key": f"{folder}/key",
        "public_host_key": KEY,
        "host_key": "per_mac",
        "label": "org.example.fleet",
        "log_path": f"{folder}/log",
        "ca_file": None,
        "stop_timeout": 20,
        # No other test makes the same guest.
        "config": f'{{ environment.etc.fleet.text = "{folder}"; }}',
    }
    spec = spec_of(params)
    here = find_nix()
    locked = _builder_source.lock(here, parse_reference(spec.package), {})
    expression = _builder_source.expression(locked, str(here.effective()["system"]), spec)
    linux = ["--option", "extra-platforms", "x86_64-linux", "--option", "builders", ""]
    vm = nix("build", "--no-link", "--print-out-paths", *linux, "--profile", params["profile"], "--expr", expression).strip()
    (folder / "secret").write_text(nix("key", "generate-secret", "--key-name", "fleet-1"))
    (folder / "secret").chmod(0o600)
    (folder / "cache").mkdir()
    image = {"profile": params["profile"], "cache": f"file://{folder}/cache?compression=none", "cache_public_key": None}
    published = _publish.execute({**image, "private_key": f"{folder}/secret"}, False)
    assert published.changed
    for path in (params["profile"], *generation_links(params["profile"])):
        os.unlink(path)
    forget(vm)
    return Fleet(folder / "cache", published.result["public_key"], params, locked, vm)


def spec_of(params: dict[str, t.Any], **changes: t.Any) -> Spec:
    return spec_from({**params, **changes}, default_cores=2, default_memory_mib=4096)


def forget(vm: str) -> None:
    """Remove the VM from this Mac's store, but for the large files that every stand-in has."""
    made = ("-nixos-vm", "-run-nixos-vm", "-guest-configuration", "-26.05lab")
    closure = subprocess.run(["nix-store", "-qR", vm], capture_output=True, text=True, check=True).stdout.split()
    mine = [path for path in closure if path.endswith(made)]
    assert any(path.endswith("-guest-configuration") for path in mine)
    subprocess.run(["nix-store", "--delete", *mine], capture_output=True, check=True)


def realise(fleet: Fleet, tmp_path: Path, **changes: t.Any) -> tuple[_builder_source.Realised, Nix]:
    here = find_nix(Runner())
    here.progress = FileProgress(str(tmp_path / "status"))
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": f"{tmp_path}/cache"}
    return _builder_source.realise(here, fleet.locked, spec_of(fleet.params, **changes), environment), here


def test_nothing_is_built_for_linux(fleet: Fleet, tmp_path: Path) -> None:
    with cache_server.serving(str(fleet.directory)) as url:
        realised, here = realise(fleet, tmp_path, cache=url, cache_public_key=fleet.public_key)
    try:
        assert realised.store_path == fleet.store_path
        assert here.built == []
        assert any(path.endswith("-guest-configuration") and store.startswith(url) for path, store in here.copied)
    finally:
        forget(fleet.store_path)


def test_other_options_of_this_mac_build_its_scripts_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    changes = {"cache": f"file://{fleet.directory}", "cache_public_key": fleet.public_key, "port": 31055, "disk_mib": 30000}
    realised, here = realise(fleet, tmp_path, **changes)
    try:
        assert realised.store_path != fleet.store_path
        assert here.built
        assert all(name.endswith(("nixos-vm.drv", "run-nixos-vm.drv")) and not builder for name, builder in here.built)
    finally:
        forget(realised.store_path)


def test_a_signature_of_another_key_is_refused_before_anything_is_built(fleet: Fleet, tmp_path: Path) -> None:
    other = nix("key", "convert-secret-to-public", stdin=nix("key", "generate-secret", "--key-name", "fleet-1")).strip()
    with pytest.raises(ConfigError, match="is not signed with cache_public_key fleet-1"):
        realise(fleet, tmp_path, cache=f"file://{fleet.directory}", cache_public_key=other)
    assert not os.path.exists(fleet.store_path)


def test_a_store_that_does_not_answer_is_told_at_once(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cache: http://127\.0\.0\.1:9 cannot be used"):
        realise(fleet, tmp_path, cache="http://127.0.0.1:9", cache_public_key=fleet.public_key)


def test_an_empty_store_is_told_by_what_it_lacks(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    with pytest.raises(CommandError) as caught:
        realise(fleet, tmp_path, cache=f"file://{tmp_path}/empty", cache_public_key=fleet.public_key)
    assert "guest-configuration" in caught.value.message
    assert "does not have it: publish it from a Mac with the same settings" in caught.value.message


def test_without_a_cache_it_is_a_matter_for_a_builder(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="guest-configuration"):
        realise(fleet, tmp_path)


def test_a_whole_deployment_says_what_it_built(fleet: Fleet) -> None:
    spec = spec_of(fleet.params, cache=f"file://{fleet.directory}", cache_public_key=fleet.public_key)
    deployment = _builder_apply.Deployment(spec, Runner())
    plan, _current, _realised = deployment.run(False)
    assert plan.store_path == fleet.store_path
    assert deployment.session.built == []
    for path in (spec.layout.profile, *generation_links(spec.layout.profile)):
        os.unlink(path)
