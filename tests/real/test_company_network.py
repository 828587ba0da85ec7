# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_vm on a Mac behind a proxy that opens TLS, and on one without a network; with a real Nix, without a VM."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest
from builder_under_test import forget, parameters

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder, _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.tests.real.company_network import Cache, Company, Signed, nix

FORWARD = "hostfwd=tcp:127.0.0.1:31022-:22"
# `lab pytest --no-network` leaves the loopback alone; Nix then asks no binary cache by itself, and says so.
NETWORK = os.listdir("/sys/class/net") != ["lo"]


@pytest.fixture(name="params")
def fixture_params(tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    profile = f"/nix/var/nix/profiles/net-{os.getpid()}-{tmp_path.name}"
    yield {**parameters(tmp_path, "net", 31022), "state": "present", "profile": profile, "disk_mib": None}
    forget(profile)


def run(params: dict[str, t.Any], **changes: t.Any) -> _builder.Outcome:
    return _builder.execute({**params, **changes}, False)


@pytest.fixture(name="company")
def fixture_company(tmp_path: Path) -> t.Iterator[Company]:
    company = Company(tmp_path / "company")
    yield company
    company.close()


@pytest.fixture(name="elsewhere")
def fixture_elsewhere(tmp_path: Path, company: Company) -> tuple[str, Signed]:
    """A VM that only the company's cache has: store path, and the keys that signed it."""
    # Made by a derivation, because a path that is named after its content needs no signature.
    script = f"#!/bin/sh\n# {tmp_path}\nexec qemu -netdev user,{FORWARD}\n"
    making = 'mkdir -p $out/bin; printf %s "$text" > $out/bin/run-nixos-vm; chmod 555 $out/bin/run-nixos-vm'
    expression = f"""derivation {{
      name = "some-vm"; system = "x86_64-darwin"; builder = "/bin/sh"; PATH = "/usr/bin:/bin";
      text = {_nix_expression.string(script)}; args = [ "-c" {_nix_expression.string(making)} ];
    }}"""
    path = nix("build", "--no-link", "--print-out-paths", "--impure", "--expr", expression).strip()
    keys = Signed(tmp_path / "signed")
    keys.push(path, company.files)
    nix("store", "delete", path)
    assert not os.path.exists(path)
    return path, keys


def test_the_mac_fetches_through_the_proxy_with_the_companys_authority(
    params: dict[str, t.Any], company: Company, elsewhere: tuple[str, Signed]
) -> None:
    path, keys = elsewhere
    network = {"proxy": company.proxy.url, "substituters": [company.url], "trusted_public_keys": [keys.public]}
    with pytest.raises(CommandError, match="ca_file"):
        run(params, package=path, ca_file=company.public, **network)
    assert any(line.startswith(f"broken {company.host}") for line in company.proxy.log)
    assert not os.path.lexists(params["profile"])
    report = run(params, package=path, ca_file=company.bundle, **network)
    assert report.result["store_path"] == path
    assert f"GET {company.host} /nix-cache-info" in company.proxy.log
    assert any(line.endswith(".narinfo") for line in company.proxy.log)


def test_without_the_proxy_the_cache_cannot_be_reached_and_the_message_says_so(
    params: dict[str, t.Any], company: Company, elsewhere: tuple[str, Signed]
) -> None:
    path, keys = elsewhere
    with pytest.raises(CommandError, match="proxy" if NETWORK else "this Mac has no network, so no binary cache was asked"):
        run(params, package=path, ca_file=company.bundle, substituters=[company.url], trusted_public_keys=[keys.public])
    assert company.proxy.log == []


def test_a_path_that_nobody_trusted_has_signed_is_not_taken(
    params: dict[str, t.Any], company: Company, elsewhere: tuple[str, Signed]
) -> None:
    path, _keys = elsewhere
    with pytest.raises(CommandError, match="no substituter|signature"):
        run(params, package=path, ca_file=company.bundle, proxy=company.proxy.url, substituters=[company.url])
    assert any(line.endswith(".narinfo") for line in company.proxy.log)
    assert not os.path.exists(path)


def test_the_password_of_a_proxy_reaches_no_file_and_no_message(params: dict[str, t.Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(params, proxy="http://alice:hunter2@proxy.example:3128")
    assert "hunter2" not in caught.value.message
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


@pytest.fixture(name="asked")
def fixture_asked(tmp_path: Path) -> t.Iterator[list[str]]:
    """What the Mac's one binary cache, which has nothing, is asked."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/nix-cache-info").write_text("StoreDir: /nix/store\n")
    cache = Cache(tmp_path / "empty")
    conf = Path("/etc/nix/nix.conf")
    before = conf.read_text()
    conf.write_text(f"{before}\nsubstituters = http://127.0.0.1:{cache.port}\n")
    yield cache.log
    conf.write_text(before)
    cache.close()


def test_changed_host_options_ask_no_binary_cache(params: dict[str, t.Any], tmp_path: Path, asked: list[str]) -> None:
    flake = tmp_path / "flake"
    shutil.copytree("/opt/lab/builder", flake)
    script = flake / "scripts/run-nixos-vm.sh"
    # A script that no test has built before, so that Nix has something to look for.
    script.write_text(script.read_text() + f"# {tmp_path}\n")
    params["package"] = f"path:{flake}#darwin.linux-builder"
    run(params)
    assert any(line.endswith(".narinfo") for line in asked) is NETWORK
    asked.clear()
    report = run(params, port=31033, disk_mib=4096)
    assert report.changed
    assert "hostfwd=tcp:127.0.0.1:31033-:22" in Path(report.result["store_path"], "bin/run-nixos-vm").read_text()
    assert asked == []


def test_a_recorded_builder_and_a_store_path_that_is_there_ask_no_binary_cache(
    params: dict[str, t.Any], asked: list[str]
) -> None:
    vm = run(params).result["store_path"]
    asked.clear()
    assert not run(params).changed
    run(params, package=vm)
    os.unlink(params["profile"])
    assert run(params, package=vm).changed
    assert asked == []
