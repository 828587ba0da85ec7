# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NixOS module for a host key of the Mac's own, with a real Nix and the lab's flake; and the audit's store path, deleted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._audit import exposed_keys
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos_modules import GUEST_HOST_KEY, HOST_KEY_MODULE

NIX = "/nix/var/nix/profiles/default/bin"
FLAGS = ["--extra-experimental-features", "nix-command flakes"]
PACKAGE = '(builtins.getFlake "path:/opt/lab/builder").legacyPackages.x86_64-darwin.darwin.linux-builder'
# The options of NixOS that the module may set; everything else in it would be a slip.
OPTIONS = {
    "services.openssh.hostKeys",
    "environment.etc.ssh/ssh_host_ed25519_key.enable",
    "environment.etc.ssh/ssh_host_ed25519_key.pub.enable",
    *(
        f"systemd.services.linux-builder-host-key.{name}"
        for name in (
            "description", "before", "requiredBy", "unitConfig.RequiresMountsFor", "serviceConfig.Type",
            "serviceConfig.RemainAfterExit", "script",
        )
    ),
}  # fmt: skip


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, HOME="/var/root")
    return subprocess.run(argv, capture_output=True, text=True, env=env, check=False)


def evaluate(expression: str) -> subprocess.CompletedProcess[str]:
    return run(f"{NIX}/nix", *FLAGS, "eval", "--impure", "--json", "--expr", expression)


def closure(modules: str) -> dict[str, dict[str, object]]:
    """The derivations behind the VM of the lab's builder with these modules, by store path."""
    vm = f"({PACKAGE}.override (old: {{ modules = old.modules ++ [ {modules} ]; }})).nixosConfig.system.build.vm"
    path = evaluate(f"({vm}).drvPath")
    assert path.returncode == 0, path.stderr
    done = run(f"{NIX}/nix", *FLAGS, "derivation", "show", "--recursive", json.loads(path.stdout))
    assert done.returncode == 0, done.stderr
    derivations: dict[str, dict[str, object]] = json.loads(done.stdout)
    return derivations


def test_nix_parses_the_module(tmp_path: Path) -> None:
    file = tmp_path / "module.nix"
    file.write_text(HOST_KEY_MODULE)
    done = run(f"{NIX}/nix-instantiate", "--parse", str(file))
    assert done.returncode == 0, done.stderr


def test_the_module_sets_nothing_but_these_options() -> None:
    walk = """
      let
        lib = { mkForce = content: { forced = content; }; };
        body = (MODULE { inherit lib; }).config;
        leaves = prefix: value:
          if builtins.isAttrs value && !(value ? forced)
          then builtins.concatMap (name: leaves (prefix ++ [ name ]) value.${name}) (builtins.attrNames value)
          else [ (builtins.concatStringsSep "." prefix) ];
      in leaves [ ] body
    """
    done = evaluate(walk.replace("MODULE", f"({HOST_KEY_MODULE})"))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == OPTIONS


def test_the_stock_builder_needs_nothing_built_for_linux() -> None:
    assert not [path for path, content in closure("").items() if content["system"] == "x86_64-linux"]


def test_with_the_module_one_derivation_is_for_linux_and_holds_no_key() -> None:
    linux = [content for content in closure(f"({HOST_KEY_MODULE})").values() if content["system"] == "x86_64-linux"]
    assert len(linux) == 1
    text = str(linux[0]["env"]["text"])  # type: ignore[index]
    assert f"HostKey {GUEST_HOST_KEY}" in text
    assert "rm -f '/etc/ssh/ssh_host_ed25519_key'" in text
    assert "sshd.service.requires" in text
    assert "PRIVATE KEY" not in text


@pytest.mark.parametrize(
    ("module", "option"),
    [
        ('{ systemd.services.x.scripts = ""; }', "systemd.services.x.scripts"),
        ("{ services.openssh.hostkeys = [ ]; }", "services.openssh.hostkeys"),
        ('{ environment.etc."a/b".enabled = false; }', "environment.etc.a/b.enabled"),
    ],
)
def test_the_labs_flake_refuses_options_that_do_not_exist(module: str, option: str) -> None:
    done = evaluate(f"({PACKAGE}.override {{ modules = [ {module} ]; }}).nixosConfig.system.build.vm.drvPath")
    assert done.returncode != 0
    assert f"The option `{option}' does not exist" in done.stderr


def test_a_keys_directory_that_was_added_to_the_store_is_found_and_can_be_deleted(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "builder_ed25519")], check=True)
    done = run(f"{NIX}/nix-store", "--add", str(keys))
    assert done.returncode == 0, done.stderr
    store_path = done.stdout.strip()
    (found,) = [key for key in exposed_keys(str(keys / "builder_ed25519"), str(tmp_path)) if key["store_path"] == store_path]
    assert found["in_use"]
    assert found["mode"] == "0444"
    done = run(f"{NIX}/nix", *FLAGS, "store", "delete", store_path)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(store_path)


def test_a_store_path_that_is_needed_says_still_alive(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "builder_ed25519").write_text("x")
    store_path = run(f"{NIX}/nix-store", "--add", str(keys)).stdout.strip()
    root = tmp_path / "root"
    assert run(f"{NIX}/nix-store", "--realise", store_path, "--add-root", str(root), "--indirect").returncode == 0
    done = run(f"{NIX}/nix", *FLAGS, "store", "delete", store_path)
    assert done.returncode != 0
    assert "still alive" in done.stderr
    root.unlink()
    assert run(f"{NIX}/nix", *FLAGS, "store", "delete", store_path).returncode == 0
