# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's builder flake keeps the interface and the habits of nixpkgs' darwin.linux-builder."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest

NIX = "/nix/var/nix/profiles/default/bin/nix"
FLAGS = ["--extra-experimental-features", "nix-command flakes"]
FLAKE = "path:/opt/lab/builder"


def nix(*words: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, HOME="/var/root", NIX_REMOTE="daemon")
    return subprocess.run([NIX, *FLAGS, *words], capture_output=True, text=True, env=env, timeout=60, check=False)


def build(attribute: str) -> pathlib.Path:
    done = nix("build", "--no-link", "--print-out-paths", f"{FLAKE}#{attribute}")
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


def overridden(modules: str, attribute: str) -> subprocess.CompletedProcess[str]:
    package = f'(builtins.getFlake "{FLAKE}").legacyPackages.x86_64-darwin.darwin.linux-builder'
    return nix("eval", "--impure", "--json", "--expr", f"({package}.override {{ modules = [ {modules} ]; }}).{attribute}")


def test_stock_values_are_those_of_nixpkgs() -> None:
    done = nix("eval", "--json", f"{FLAKE}#darwin.linux-builder.nixosConfig.virtualisation")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["cores"] == 1
    assert values["darwin-builder"] == {
        "diskSize": 20480,
        "memorySize": 3072,
        "min-free": 1073741824,
        "max-free": 3221225472,
        "workingDirectory": ".",
        "hostPort": 31022,
    }


def test_vm_listens_on_all_interfaces_unless_told() -> None:
    text = (build("darwin.linux-builder.nixosConfig.system.build.vm") / "bin/run-nixos-vm").read_text()
    assert "hostfwd=tcp::31022-:22" in text
    assert text.rstrip().endswith("$QEMU_OPTS")


def test_guest_files_are_in_the_closure() -> None:
    vm = build("darwin.linux-builder.nixosConfig.system.build.vm")
    done = nix("path-info", "--recursive", str(vm))
    names = {line.split("-", 1)[1] for line in done.stdout.split()}
    assert {"vmlinux", "initrd", "rootfs.tar", "run-nixos-vm", "nixos-vm"} <= names


def test_mkforce_replaces_and_a_plain_list_adds() -> None:
    rule = '{ from = "host"; host.address = "127.0.0.1"; host.port = 31023; guest.port = 22; }'
    forward_ports = "nixosConfig.virtualisation.forwardPorts"
    forced = overridden(f"({{ lib, ... }}: {{ virtualisation.forwardPorts = lib.mkForce [ {rule} ]; }})", forward_ports)
    added = overridden(f"{{ virtualisation.forwardPorts = [ {rule} ]; }}", forward_ports)
    assert [entry["host"]["port"] for entry in json.loads(forced.stdout)] == [31023]
    assert sorted(entry["host"]["port"] for entry in json.loads(added.stdout)) == [31022, 31023]


def test_mkdefault_gives_way() -> None:
    modules = "({ lib, ... }: { virtualisation.cores = lib.mkDefault 3; }) { virtualisation.cores = 4; }"
    assert json.loads(overridden(modules, "nixosConfig.virtualisation.cores").stdout) == 4


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("{ virtualisation.darwin-builder.disksize = 1; }", "The option `virtualisation.darwin-builder.disksize' does not exist"),
        ("{ virtualisation.darwin-builder.diskSize = true; }", "is not of type `signed integer'"),
        ("{ virtualisation.cores = 2; } { virtualisation.cores = 3; }", "conflicting definition values"),
    ],
)
def test_wrong_options_are_refused(module: str, message: str) -> None:
    done = overridden(module, "nixosConfig.virtualisation.cores" if "cores" in module else "nixosConfig.virtualisation.diskSize")
    assert done.returncode != 0
    assert message in done.stderr


def test_add_keys_deletes_the_lone_half_and_makes_a_new_pair(tmp_path: pathlib.Path) -> None:
    script = build("darwin.linux-builder.add-keys") / "bin/add-keys"
    installed = [pathlib.Path("/etc/nix/builder_ed25519"), pathlib.Path("/etc/nix/builder_ed25519.pub")]
    before = [path.read_bytes() if path.exists() else None for path in installed]
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "builder_ed25519.pub").write_text("ssh-ed25519 AAAA lone\n")
    try:
        done = subprocess.run([str(script)], env={"KEYS": str(keys)}, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        public = (keys / "builder_ed25519.pub").read_bytes()
        assert b"lone" not in public
        assert installed[1].read_bytes() == public
        assert installed[0].stat().st_mode & 0o777 == 0o600
    finally:
        for path, content in zip(installed, before):
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)


def test_run_builder_would_put_the_private_half_into_the_store() -> None:
    text = (build("darwin.linux-builder.run-builder") / "bin/run-builder").read_text()
    assert 'nix-store --add "$KEYS"' in text


def test_old_builder_has_one_script_on_port_22() -> None:
    script = (build("darwin.builder") / "bin/create-builder").read_text()
    line = next(line for line in script.splitlines() if line.endswith("/bin/run-nixos-vm"))
    assert "hostfwd=tcp::22-:22" in pathlib.Path(line.split()[-1]).read_text()
    assert nix("eval", f"{FLAKE}#darwin.builder.override").returncode != 0
