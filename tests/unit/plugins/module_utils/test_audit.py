# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import subprocess

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._audit import Exposed, exposed_keys

KEY = "/etc/nix/builder_ed25519"
DIRECTORY = "/var/lib/linux-builder"
STORE = "nix/store/0123456789abcdfghijklmnpqrsvwxyz"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two private keys."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    return (directory / "a").read_bytes(), (directory / "b").read_bytes()


def put(root: pathlib.Path, path: str, content: bytes, mode: int = 0o600) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)


def audit(root: pathlib.Path) -> list[Exposed]:
    return exposed_keys(KEY, DIRECTORY, str(root))


def test_a_mac_without_keys_or_store_has_nothing_exposed(tmp_path: pathlib.Path) -> None:
    assert audit(tmp_path) == []


def test_a_keys_directory_in_the_store_is_found_and_whether_its_key_is_in_use(
    tmp_path: pathlib.Path, pair: tuple[bytes, bytes]
) -> None:
    put(tmp_path, KEY, pair[0])
    put(tmp_path, f"{STORE}-keys/builder_ed25519", pair[0], 0o444)
    put(tmp_path, f"{STORE}-other/builder_ed25519", pair[1], 0o444)
    put(tmp_path, f"{STORE}-builder_ed25519", pair[0], 0o444)
    found = {key["path"]: key for key in audit(tmp_path)}
    assert {path.split("-", 1)[1]: key["in_use"] for path, key in found.items()} == {
        "builder_ed25519": True,
        "keys/builder_ed25519": True,
        "other/builder_ed25519": False,
    }
    assert found[f"/{STORE}-keys/builder_ed25519"]["store_path"] == f"/{STORE}-keys"


def test_public_halves_directories_and_rubbish_are_no_private_keys(tmp_path: pathlib.Path) -> None:
    put(tmp_path, f"{STORE}-keys/builder_ed25519.pub", b"ssh-ed25519 AAAA", 0o444)
    put(tmp_path, f"{STORE}-x/builder_ed25519", b"no key", 0o444)
    (tmp_path / f"{STORE}-y/builder_ed25519").mkdir(parents=True)
    assert audit(tmp_path) == []


def test_the_published_host_key_of_the_image_is_no_finding_but_the_macs_own_is(
    tmp_path: pathlib.Path, pair: tuple[bytes, bytes]
) -> None:
    put(tmp_path, f"{DIRECTORY}/keys/ssh_host_ed25519_key", pair[0])
    put(tmp_path, f"{STORE}-ssh_host_ed25519_key", pair[1], 0o444)
    assert audit(tmp_path) == []
    put(tmp_path, f"{STORE}-keys/ssh_host_ed25519_key", pair[0], 0o444)
    assert [key["in_use"] for key in audit(tmp_path)] == [True]


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1)])
def test_a_loose_mode_is_a_finding(tmp_path: pathlib.Path, pair: tuple[bytes, bytes], mode: int, count: int) -> None:
    put(tmp_path, KEY, pair[0], mode)
    found = audit(tmp_path)
    assert len(found) == count
    assert all(key["in_use"] and key["store_path"] is None and f"{mode:04o}" in key["message"] for key in found)


def test_the_private_half_in_a_keys_directory_of_old_counts_too(tmp_path: pathlib.Path, pair: tuple[bytes, bytes]) -> None:
    put(tmp_path, "/var/lib/darwin-builder/keys/builder_ed25519", pair[1], 0o644)
    assert [key["in_use"] for key in audit(tmp_path)] == [False]


def test_a_finding_shows_no_key_material(tmp_path: pathlib.Path, pair: tuple[bytes, bytes]) -> None:
    put(tmp_path, KEY, pair[0], 0o644)
    shown = str(audit(tmp_path))
    assert not any(line in shown for line in pair[0].decode().splitlines()[1:-1])
