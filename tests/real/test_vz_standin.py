# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection asks of darwin.linux-builder-vz, evaluated and built by the real Nix; the package is the lab's."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_image
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_source as source
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix

VZ = "path:/opt/lab/builder#darwin.linux-builder-vz"


@pytest.fixture(name="spec")
def fixture_spec(tmp_path: Path) -> Spec:
    layout = Layout(str(tmp_path / "builder"), str(tmp_path / "profile"), str(tmp_path / "log"), "org.example.vz")
    spec = Spec(layout, VZ, False, "127.0.0.1", 31922, False, 3, 2000, 4096, "/k", "ssh-ed25519 AAAA", "/ca", 60)
    return spec._replace(vz=True)


def realise(spec: Spec, tmp_path: Path) -> tuple[str, str]:
    """(store path, text of the start script)."""
    nix = find_nix(Runner())
    env = {"HOME": str(tmp_path)}
    locked = source.lock(nix, parse_reference(spec.package), env)
    store_path = source.realise(nix, locked, spec, env).store_path
    return store_path, Path(store_path, "bin/run-nixos-vm").read_text(encoding="utf-8")


def test_processors_memory_disk_and_port_reach_the_configuration(spec: Spec, tmp_path: Path) -> None:
    store_path, script = realise(spec, tmp_path)
    for word in (
        '"cpuCount": 3',
        '"memorySizeMiB": 2000',
        "seek=4096",
        '"listen":"127.0.0.1:31922"',
        '"nestedVirtualization": false',
    ):
        assert word in script
    other, script = realise(spec._replace(cores=2, memory_mib=3000, nested=True), tmp_path)
    for word in ('"cpuCount": 2', '"memorySizeMiB": 3000', '"nestedVirtualization": true'):
        assert word in script
    assert other != store_path
    # Nothing of it is the guest's: no Linux builder is needed, and a data disk stays its image's.
    assert _builder_image.identity(other) == _builder_image.identity(store_path)


def test_another_address_is_an_option_of_vz(spec: Spec, tmp_path: Path) -> None:
    _store_path, script = realise(spec._replace(host_address="127.0.0.2"), tmp_path)
    assert '"listen":"127.0.0.2:31922"' in script


@pytest.mark.parametrize(("package", "vz"), [(VZ, False), ("path:/opt/lab/builder#darwin.linux-builder", True)])
def test_a_name_that_promises_the_other_hypervisor_is_refused(spec: Spec, tmp_path: Path, package: str, vz: bool) -> None:
    if vz:  # the options of vz do not exist there
        assert "vz" not in package
    with pytest.raises((ConfigError, source.CommandError)):
        realise(spec._replace(package=package, vz=vz), tmp_path)


def test_the_stand_in_refuses_a_real_qcow2_as_vzvm_does(spec: Spec, tmp_path: Path) -> None:
    store_path, _script = realise(spec, tmp_path)
    state, keys = tmp_path / "state", tmp_path / "keys"
    state.mkdir()
    keys.mkdir()
    (state / "nixos.qcow2").write_bytes(b"QFI\xfb" + bytes(512))
    env: dict[str, t.Any] = {"VZVM_STATE_DIR": str(state), "KEYS": str(keys), "TMPDIR": str(tmp_path)}
    done = subprocess.run([f"{store_path}/bin/run-nixos-vm"], env=env, stderr=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == 69
    assert b"is a QEMU qcow2 image" in done.stderr
