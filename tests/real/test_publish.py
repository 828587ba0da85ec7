# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_image with the real Nix of a stand-in: a closure of three paths, stores of files and over http, real keys."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import cache_server
import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _publish
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import FileProgress, read_status

NIX = [find_nix().path, "--extra-experimental-features", "nix-command flakes"]


def nix(*args: str, stdin: str | None = None) -> str:
    return subprocess.run([*NIX, *args], input=stdin, capture_output=True, text=True, check=True).stdout


def expression(name: str, tests: str) -> str:
    """A path that refers to two others; another `tests` makes others."""
    one = (
        'let make = name: text: derivation {{ inherit name; system = builtins.currentSystem; builder = "/bin/sh"; '
        'args = [ "-c" "echo ${{text}} > $out" ]; }}; '
        'in make "{name}" "${{make "kernel" "{tests}"}} ${{make "initrd" "{tests}"}}"'
    )
    return one.format(name=name, tests=tests)


@pytest.fixture(name="params")
def fixture_params(tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    """A profile of the test's own, a pair of keys, a store of files that is not there yet."""
    profile = f"/nix/var/nix/profiles/test-{tmp_path.name}-{os.getpid()}"
    nix("build", "--impure", "--no-link", "--profile", profile, "--expr", expression("vm", f"{tmp_path}"))
    key = tmp_path / "key"
    key.write_text(nix("key", "generate-secret", "--key-name", "fleet-1"))
    key.chmod(0o600)
    yield {
        "state": "published",
        "profile": profile,
        "cache": f"file://{tmp_path}/cache",
        "private_key": str(key),
        "cache_public_key": None,
    }
    for path in (profile, *generation_links(profile)):
        if os.path.islink(path):
            os.unlink(path)


def publish(params: dict[str, t.Any], check_mode: bool = False, **changes: t.Any) -> _publish.Outcome:
    return _publish.execute({**params, **changes}, check_mode)


def narinfos(params: dict[str, t.Any]) -> list[Path]:
    return sorted(Path(params["cache"].partition("://")[2]).glob("*.narinfo"))


def test_a_closure_is_published_signed_and_then_left_alone(params: dict[str, t.Any]) -> None:
    first = publish(params)
    assert first.changed
    assert first.result["paths"] == 3
    assert len(first.result["copied"]) == 3
    assert first.result["store_path"] in first.result["copied"]
    assert first.result["public_key"].startswith("fleet-1:")
    assert len(narinfos(params)) == 3
    assert all("\nSig: fleet-1:" in path.read_text() for path in narinfos(params))
    second = publish(params)
    assert (second.changed, second.result["copied"], second.result["signed"]) == (False, [], [])
    assert (second.before, second.after) == ("", "")


def test_what_was_published_can_be_taken_with_the_key_and_not_with_another(params: dict[str, t.Any], tmp_path: Path) -> None:
    result = publish(params).result
    options = ["--store", str(tmp_path / "mac"), "--option", "substituters", params["cache"], "--option", "trusted-public-keys"]
    nix("build", "--no-link", *options, result["public_key"], result["store_path"])
    assert (tmp_path / "mac" / result["store_path"].lstrip("/")).exists()
    other = nix("key", "convert-secret-to-public", stdin=nix("key", "generate-secret", "--key-name", "fleet-1"))
    again = [str(tmp_path / "another") if word == str(tmp_path / "mac") else word for word in options]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        nix("build", "--no-link", *again, other.strip(), result["store_path"])
    assert "not signed by any of the keys" in caught.value.stderr


def test_check_mode_says_what_it_would_do_and_makes_nothing(params: dict[str, t.Any], tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    foreseen = publish(params, True)
    assert foreseen.changed
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    done = publish(params)
    assert foreseen.result == done.result
    assert foreseen.after == done.after
    assert not publish(params, True).changed


def test_a_push_that_was_cut_short_is_completed(params: dict[str, t.Any]) -> None:
    publish(params)
    victim = narinfos(params)[0]
    victim.unlink()
    again = publish(params)
    assert len(again.result["copied"]) == 1
    assert victim.exists()
    assert not publish(params).changed


def test_what_is_there_without_our_signature_gets_it(params: dict[str, t.Any], tmp_path: Path) -> None:
    first = publish(params)
    other = tmp_path / "other"
    other.write_text(nix("key", "generate-secret", "--key-name", "next-1"))
    other.chmod(0o600)
    again = publish(params, private_key=str(other))
    assert again.result["copied"] == []
    assert len(again.result["signed"]) == 3
    assert again.before.count("without signature") == 3
    assert all("Sig: fleet-1:" in path.read_text() and "Sig: next-1:" in path.read_text() for path in narinfos(params))
    assert first.result["store_path"] == again.result["store_path"]
    assert not publish(params, private_key=str(other)).changed
    assert not publish(params).changed


def test_over_http(params: dict[str, t.Any], tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with cache_server.serving(str(tmp_path / "web")) as url:
        assert publish(params, cache=url).changed
        assert not publish(params, cache=url).changed
    assert len(list((tmp_path / "web").glob("*.narinfo"))) == 3


def test_progress_is_a_push_in_bytes(params: dict[str, t.Any], tmp_path: Path) -> None:
    status = str(tmp_path / "status")
    _publish.execute(params, False, FileProgress(status))
    seen = read_status(status)
    assert (seen.phase, seen.unit) == ("push", "bytes")


def test_a_store_that_does_not_answer(params: dict[str, t.Any]) -> None:
    with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:9: cannot be asked what it has: .*Check cache"):
        publish(params, cache="http://127.0.0.1:9")


def test_the_pair_of_keys_has_to_fit(params: dict[str, t.Any]) -> None:
    public = publish(params).result["public_key"]
    assert not publish(params, cache_public_key=public).changed
    other = nix("key", "convert-secret-to-public", stdin=nix("key", "generate-secret", "--key-name", "fleet-1"))
    with pytest.raises(ConfigError, match="is not the public half of"):
        publish(params, cache_public_key=other.strip())


def test_a_private_key_that_others_can_read_is_refused(params: dict[str, t.Any], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.chmod(0o644)
    with pytest.raises(FileError, match="others can read the private key"):
        publish(params)
    key.chmod(0o600)
    key.write_text("fleet-1:AAAA")
    with pytest.raises(ConfigError, match="is no private key of Nix") as caught:
        publish(params)
    assert "AAAA" not in caught.value.message
    key.unlink()
    with pytest.raises(FileError, match="nix key generate-secret"):
        publish(params)


def test_without_a_builder_there_is_nothing_to_publish(params: dict[str, t.Any]) -> None:
    with pytest.raises(StateError, match="has no builder to publish"):
        publish(params, profile="/nix/var/nix/profiles/no-such-profile")
