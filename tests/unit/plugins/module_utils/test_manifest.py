# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest: what was there before is kept once and comes back; what somebody else changed since stays."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_disk, _adopt_mark, _files, _manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _manifest_apply as area
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _manifest_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import (
    ABSENT,
    FILE,
    FOLDER,
    GONE,
    LINK,
    PARTS,
    UNKNOWN,
    Before,
    Contents,
    Entry,
    Manifest,
    digest,
)


@pytest.fixture(name="mac")
def fixture_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a Mac. The tests need not run as root."""
    monkeypatch.setattr(area, "_root", lambda mode: _files.Ownership(None, None, mode))
    for name in ("etc/nix", "etc/ssh/ssh_config.d", "var/db", "Library/LaunchDaemons"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture(name="manifest")
def fixture_manifest(mac: Path) -> Manifest:
    return Manifest(str(mac / "var/db/nixmac.linux_builder"), str(mac))


def put_back(manifest: Manifest, check_mode: bool = False, **params: t.Any) -> t.Any:
    """builder_manifest state=absent."""
    options = {"keep_data": False, "working_directory": "/nonexistent/builder", **params}
    return area.Return(options, manifest).run(check_mode)


# -- recording -------------------------------------------------------------------------------------------------------


def test_the_first_state_is_kept_whatever_comes_after(mac: Path, manifest: Manifest) -> None:
    path = mac / "etc/nix/builder_ed25519"
    path.write_bytes(b"theirs")
    path.chmod(0o640)
    manifest.claim("credentials", {str(path): b"ours 1"})
    path.write_bytes(b"ours 1")
    manifest.claim("credentials", {str(path): b"ours 2"})
    entry = manifest.read().entries[str(path)]
    assert (entry.before.state, entry.before.mode, entry.before.sha256) == (FILE, 0o640, digest(b"theirs"))
    assert entry.ours == (digest(b"ours 1"), digest(b"ours 2"))
    assert manifest.original(entry.before.sha256) == b"theirs"


def test_only_root_can_read_what_is_kept(mac: Path, manifest: Manifest) -> None:
    path = mac / "key"
    path.write_bytes(b"secret")
    manifest.claim("credentials", {str(path): None})
    modes = {Path(manifest.path): 0o600, Path(manifest.originals): 0o700, Path(manifest.originals, digest(b"secret")): 0o600}
    assert {file: stat.S_IMODE(file.stat().st_mode) for file in modes} == modes


def test_the_secret_itself_is_not_in_the_manifest(mac: Path, manifest: Manifest) -> None:
    (mac / "key").write_bytes(b"SECRET")
    manifest.claim("credentials", {str(mac / "key"): b"ANOTHER"})
    assert "SECRET" not in Path(manifest.path).read_text(encoding="utf-8")
    assert "ANOTHER" not in Path(manifest.path).read_text(encoding="utf-8")


def test_a_claim_that_says_nothing_new_writes_nothing(mac: Path, manifest: Manifest) -> None:
    manifest.claim("builder", {str(mac / "plist"): b"one"})
    before = os.stat(manifest.path).st_ino
    manifest.claim("builder", {str(mac / "plist"): b"one"})
    manifest.claim("builder", {str(mac / "plist"): None})
    assert os.stat(manifest.path).st_ino == before


def test_missing_directories_above_are_recorded(mac: Path, manifest: Manifest) -> None:
    directory = mac / "var/lib/linux-builder"
    manifest.claim_tree("builder", str(directory))
    states = {path: entry.before.state for path, entry in manifest.read().entries.items()}
    assert states == {str(mac / "var/lib"): ABSENT, str(directory): ABSENT}


@pytest.mark.parametrize("mark", ["record", "block"])
def test_a_mac_of_an_older_version_has_nothing_to_put_back(mac: Path, manifest: Manifest, mark: str) -> None:
    if mark == "record":
        (mac / "var/lib/linux-builder").mkdir(parents=True)
        (mac / "var/lib/linux-builder/builder.json").write_text("{}")
    else:
        (mac / "etc/nix/nix.conf").write_text("x = y\n# BEGIN nixmac.linux_builder managed\n# END nixmac.linux_builder\n")
    (mac / "key").write_bytes(b"made by the older version")
    manifest.claim("credentials", {str(mac / "key"): None})
    contents = manifest.read()
    assert contents.legacy == PARTS
    assert contents.entries[str(mac / "key")].before.state == UNKNOWN


def test_an_alias_that_somebody_edited_and_a_teardown_left_is_no_such_mark(mac: Path, manifest: Manifest) -> None:
    (mac / "etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf").write_text("# nixmac.linux_builder\n# mine\n")
    (mac / "key").write_bytes(b"theirs")
    manifest.claim("credentials", {str(mac / "key"): b"ours"})
    assert manifest.read().entries[str(mac / "key")].before.state == FILE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', '{"version": 1, "entries": {"/x": 3}}', "\0\xff"])
def test_a_broken_manifest_is_told_and_kept_aside(mac: Path, manifest: Manifest, text: str) -> None:
    os.makedirs(manifest.directory)
    Path(manifest.path).write_text(text, encoding="latin-1")
    assert manifest.read().broken
    assert manifest.read().owns("credentials")
    manifest.claim("credentials", {str(mac / "key"): b"x"})
    assert not manifest.read().broken
    aside = [name for name in os.listdir(manifest.directory) if name.endswith(".broken")]
    assert len(aside) == 1
    assert Path(manifest.directory, aside[0]).read_text(encoding="latin-1") == text


# -- deciding --------------------------------------------------------------------------------------------------------

THEIRS, OURS, OTHERS = digest(b"theirs"), digest(b"ours"), digest(b"others")


def at(state: str, sha256: str = "", mode: int = 0o644, target: str = "") -> Before:
    return Before(state, sha256, target, 0, 0, mode)


@pytest.mark.parametrize(
    ("entry", "now", "action"),
    [
        (Entry("p", at(ABSENT), (OURS,)), at(FILE, OURS), planning.REMOVE),
        (Entry("p", at(ABSENT), (OURS,)), at(ABSENT), planning.NOTHING),
        (Entry("p", at(ABSENT), (OURS,)), at(FILE, OTHERS), planning.LEFT),
        (Entry("p", at(ABSENT), (OURS,)), at(LINK, target="/x"), planning.LEFT),
        (Entry("p", at(ABSENT), ("old", OURS)), at(FILE, "old"), planning.REMOVE),  # killed between claim and write
        (Entry("p", at(ABSENT)), at(FILE, OTHERS), planning.NOTHING),
        (Entry("p", at(ABSENT)), at(FOLDER), planning.REMOVE),
        (Entry("p", at(FILE, THEIRS), (OURS,)), at(FILE, OURS), planning.RESTORE),
        (Entry("p", at(FILE, THEIRS), (OURS,)), at(FILE, THEIRS), planning.NOTHING),
        (Entry("p", at(FILE, THEIRS, 0o640), (OURS,)), at(FILE, THEIRS, 0o600), planning.ACCESS),
        (Entry("p", at(FILE, THEIRS), (OURS,)), at(FILE, OTHERS), planning.LEFT),
        (Entry("p", at(FILE, THEIRS), (OURS,)), at(ABSENT), planning.LEFT),
        (Entry("p", at(FILE, THEIRS), (GONE,)), at(ABSENT), planning.RESTORE),
        (Entry("p", at(FILE, THEIRS)), at(FILE, OTHERS), planning.NOTHING),
        (Entry("p", at(LINK, target="/a"), (OURS,)), at(FILE, OURS), planning.RESTORE),
        (Entry("p", at(FOLDER, mode=0o700)), at(FOLDER, mode=0o755), planning.ACCESS),
        (Entry("p", at(FOLDER), (GONE,)), at(ABSENT), planning.RESTORE),
        (Entry("p", at(UNKNOWN)), at(FILE, OTHERS), planning.REMOVE),
        (Entry("p", at(UNKNOWN), (OURS,)), at(FILE, OTHERS), planning.LEFT),
        (Entry("p", at(UNKNOWN), (OURS,)), at(ABSENT), planning.NOTHING),
    ],
)
def test_what_happens_to_a_path(entry: Entry, now: Before, action: str) -> None:
    step = planning.decide("/p", entry, now)
    assert step.action == action
    assert bool(step.reason) == (action == planning.LEFT)


def test_what_was_there_before_is_spared_unless_this_collection_removed_it() -> None:
    entries = {
        "/lib/b": Entry("builder", at(FOLDER), names=("nixos.qcow2",)),
        "/profile": Entry("builder", at(LINK, target="x")),
        "/keys": Entry("builder", at(FOLDER), (GONE,)),
        "/log": Entry("builder", at(ABSENT)),
        "/key": Entry("credentials", at(FILE, THEIRS)),
    }
    assert Contents(True, entries=entries).spared("builder") == {"/lib/b", "/lib/b/nixos.qcow2", "/profile"}


# -- putting back ----------------------------------------------------------------------------------------------------


def test_everything_is_as_before(mac: Path, manifest: Manifest) -> None:
    theirs, new, link = mac / "etc/nix/builder_ed25519", mac / "etc/nix/new", mac / "etc/nix/link"
    theirs.write_bytes(b"theirs")
    theirs.chmod(0o640)
    link.symlink_to("nowhere")
    manifest.claim("credentials", {str(theirs): b"ours", str(new): b"ours", str(link): b"ours"})
    link.unlink()
    for path in (theirs, new, link):
        path.write_bytes(b"ours")
        path.chmod(0o600)
    done = put_back(manifest)
    assert done.changed
    assert (theirs.read_bytes(), stat.S_IMODE(theirs.stat().st_mode)) == (b"theirs", 0o640)
    assert os.readlink(link) == "nowhere"
    assert not new.exists()
    assert not os.path.exists(manifest.directory)


def test_check_mode_tells_the_same_and_touches_nothing(mac: Path, manifest: Manifest) -> None:
    path = mac / "new"
    manifest.claim("delegation", {str(path): b"ours"})
    path.write_bytes(b"ours")
    told = put_back(manifest, check_mode=True)
    assert path.exists()
    assert os.path.exists(manifest.path)
    done = put_back(manifest)
    assert (told.changed, told.result, told.before, told.after) == (done.changed, done.result, done.before, done.after)
    assert f"{path}: absent" in done.after


def test_a_second_time_touches_nothing_that_others_made_since(mac: Path, manifest: Manifest) -> None:
    path = mac / "new"
    manifest.claim("delegation", {str(path): b"ours"})
    path.write_bytes(b"ours")
    put_back(manifest)
    path.write_bytes(b"ours")  # the same content even
    done = put_back(manifest)
    assert not done.changed
    assert path.exists()


def test_what_others_changed_is_left_and_listed(mac: Path, manifest: Manifest) -> None:
    path = mac / "alias"
    manifest.claim("delegation", {str(path): b"ours"})
    path.write_bytes(b"edited")
    done = put_back(manifest)
    assert not done.changed
    assert done.result["left"] == [{"path": str(path), "reason": "changed by somebody else since this collection wrote it"}]
    assert path.read_bytes() == b"edited"
    assert not os.path.exists(manifest.directory)


def test_directories_go_from_the_inside_out_and_only_when_empty(mac: Path, manifest: Manifest) -> None:
    manifest.claim_tree("builder", str(mac / "a/b/c"))
    (mac / "a/b/c").mkdir(parents=True)
    (mac / "a/kept").write_text("somebody's")
    done = put_back(manifest)
    assert not (mac / "a/b").exists()
    assert (mac / "a/kept").exists()
    assert [left["path"] for left in done.result["left"]] == [str(mac / "a")]


def test_parts_are_put_back_one_by_one(mac: Path, manifest: Manifest) -> None:
    for part in ("credentials", "delegation"):
        manifest.claim(part, {str(mac / part): b"ours"})
        (mac / part).write_bytes(b"ours")
    put_back(manifest, parts=["credentials"])
    assert not (mac / "credentials").exists()
    assert (mac / "delegation").exists()
    assert (manifest.read().owns("credentials"), manifest.read().owns("delegation")) == (False, True)
    put_back(manifest, parts=["delegation"])
    assert not os.path.exists(manifest.directory)


def test_a_lost_copy_is_told_and_the_rest_still_done(mac: Path, manifest: Manifest) -> None:
    lost, new = mac / "lost", mac / "new"
    lost.write_bytes(b"theirs")
    manifest.claim("delegation", {str(lost): b"ours", str(new): b"ours"})
    for path in (lost, new):
        path.write_bytes(b"ours")
    Path(manifest.originals, digest(b"theirs")).write_bytes(b"damaged")
    done = put_back(manifest)
    assert not new.exists()
    assert done.result["left"] == [{"path": str(lost), "reason": "the copy of what was there before is lost"}]
    assert done.result["restored"] == []


def test_the_directory_of_a_kept_disk_stays_this_collections(mac: Path, manifest: Manifest) -> None:
    directory = mac / "var/lib/linux-builder"
    manifest.claim_tree("builder", str(directory))
    directory.mkdir(parents=True)
    (directory / "nixos.qcow2").write_bytes(b"disk")
    kept = put_back(manifest, working_directory=str(directory), keep_data=True)
    assert (kept.changed, kept.result["left"]) == (False, [])
    assert manifest.read().owns("builder")
    assert not put_back(manifest, working_directory=str(directory), keep_data=True).result["removed"]
    (directory / "nixos.qcow2").unlink()
    put_back(manifest, working_directory=str(directory))
    assert not directory.parent.exists()
    assert not os.path.exists(manifest.directory)


def test_a_broken_manifest_does_not_make_a_second_teardown_take_more(mac: Path, manifest: Manifest) -> None:
    os.makedirs(manifest.directory)
    Path(manifest.path).write_text("{")
    done = put_back(manifest)
    assert "cannot be read" in done.warnings[0]
    assert not manifest.read().there
    assert os.listdir(manifest.directory) != []


def adoption(mac: Path, manifest: Manifest, aside: bool) -> tuple[Path, Path]:
    """(the old place of a disk that was adopted, its new one). aside: the builder has had another disk since."""
    old, new = mac / "old/nixos.qcow2", mac / "wd/nixos.qcow2"
    for path in (old, new):
        path.parent.mkdir()
    old.write_bytes(b"original")
    disk = _adopt_disk.describe(str(old), str(new))
    old.rename(new)
    manifest.note_adoption({"disk": {**disk, **_adopt_mark.mark(str(new))}, "loaded": False, "done": True})
    if aside:
        new.rename(f"{new}.aside-20261123T120000Z")
        new.write_bytes(b"raw disk of vz")
    return old, new


@pytest.mark.parametrize("aside", [False, True])
def test_the_builder_that_was_adopted_gets_the_disk_back_that_it_had(mac: Path, manifest: Manifest, aside: bool) -> None:
    old, new = adoption(mac, manifest, aside)
    place = f"{new}.aside-20261123T120000Z" if aside else str(new)
    assert manifest.read().spared("builder") == {place}
    # What is the builder's own is removed like all of it, or kept like all of it.
    assert leave(manifest, mac)["keep_disk"] is not aside
    assert put_back(manifest, check_mode=True).result["disk_given_back"]
    done = put_back(manifest)
    assert (done.result["disk_given_back"], done.result["left"]) == (True, [])
    assert old.read_bytes() == b"original"
    assert new.exists() is aside


def test_a_disk_in_the_place_of_the_one_that_was_adopted_is_not_given_back(mac: Path, manifest: Manifest) -> None:
    old, new = adoption(mac, manifest, False)
    os.rename(new, mac / "gone")
    new.write_bytes(b"made anew")
    assert manifest.read().spared("builder") == {str(new)}
    assert leave(manifest, mac)["keep_disk"]
    done = put_back(manifest)
    assert not done.result["disk_given_back"]
    assert [item["path"] for item in done.result["left"]] == [str(new)]
    assert "another file than the adopted disk" in done.warnings[0]
    assert (old.exists(), new.read_bytes()) == (False, b"made anew")


def test_of_a_disk_that_was_adopted_in_its_place_only_that_one_is_spared(mac: Path, manifest: Manifest) -> None:
    disk = mac / "wd/nixos.qcow2"
    disk.parent.mkdir()
    disk.write_bytes(b"original")
    record = {**_adopt_disk.describe(str(disk), str(disk)), **_adopt_mark.mark(str(disk))}
    manifest.note_adoption({"disk": record, "loaded": False, "done": True})
    manifest.claim_tree("builder", str(disk.parent))
    assert manifest.read().spared("builder") == {str(disk.parent), str(disk)}
    aside = disk.rename(f"{disk}.aside-20261123T120000Z")
    disk.write_bytes(b"raw disk of vz")
    assert manifest.read().spared("builder") == {str(disk.parent), str(aside)}
    told = put_back(manifest, check_mode=True).result
    disk.unlink()  # by builder_vm
    done = put_back(manifest).result
    assert told["disk_given_back"] is done["disk_given_back"] is True
    assert told["left"] == done["left"] == []
    assert disk.read_bytes() == b"original"


# -- the begin of a teardown -----------------------------------------------------------------------------------------


def leave(manifest: Manifest, mac: Path, check_mode: bool = False) -> dict[str, t.Any]:
    params = {"working_directory": str(mac / "lib"), "label": "org.example.none", "client_key": str(mac / "key")}
    return t.cast("dict[str, t.Any]", area._leave(params, check_mode, manifest).result)


def test_nothing_of_ours_means_nothing_to_remove(mac: Path, manifest: Manifest) -> None:
    (mac / "key").write_bytes(b"somebody's")
    found = leave(manifest, mac)
    assert found["owned"] == dict.fromkeys(PARTS, False)
    assert (found["remove_key"], found["service"]) == (False, "keep")
    assert not os.path.exists(manifest.directory)


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_older_versions_builder_is_all_ours(mac: Path, manifest: Manifest, check_mode: bool) -> None:
    (mac / "lib").mkdir()
    (mac / "lib/builder.json").write_text('{"store_path": "/nix/store/x"}')
    found = leave(manifest, mac, check_mode)
    assert found["owned"] == dict.fromkeys(PARTS, True)
    assert (found["legacy"], found["remove_key"], found["service"]) == (True, True, "absent")
    # Once the marks are gone, a second attempt still knows.
    (mac / "lib/builder.json").unlink()
    assert leave(manifest, mac)["remove_key"] is not check_mode


@pytest.mark.parametrize("broken", [False, True])
def test_an_older_versions_alias_goes_with_its_builder(
    mac: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    alias = mac / "etc/ssh/ssh_config.d/alias.conf"
    alias.write_text("Host linux-builder\n")
    monkeypatch.setattr(_manifest, "ALIAS", str(alias))
    (mac / "etc/nix/nix.conf").write_text("# BEGIN nixmac.linux_builder managed\n# END nixmac.linux_builder\n")
    if broken:
        os.makedirs(manifest.directory)
        Path(manifest.path).write_text("{")
    told = put_back(manifest, check_mode=True)
    leave(manifest, mac)
    done = put_back(manifest, working_directory=str(mac / "lib"))
    assert told.result["removed"] == done.result["removed"] == [str(alias)]
    assert not alias.exists()


def test_a_key_that_was_there_before_is_not_removed(mac: Path, manifest: Manifest) -> None:
    (mac / "key").write_bytes(b"theirs")
    manifest.claim("credentials", {str(mac / "key"): b"ours", f"{mac}/key.pub": b"ours"})
    assert leave(manifest, mac)["remove_key"] is False


def test_a_key_of_ours_is_removed_unless_somebody_replaced_it(mac: Path, manifest: Manifest) -> None:
    manifest.claim("credentials", {str(mac / "key"): b"ours", f"{mac}/key.pub": b"ours"})
    (mac / "key").write_bytes(b"ours")
    assert leave(manifest, mac)["remove_key"] is True
    (mac / "key").write_bytes(b"theirs")
    assert leave(manifest, mac)["remove_key"] is False


# -- a file of this collection's own ---------------------------------------------------------------------------------


def hold(manifest: Manifest, path: Path, content: str, check_mode: bool = False) -> t.Any:
    return area._write({"path": str(path), "content": content, "part": "delegation"}, check_mode, manifest)


def test_a_file_is_held_and_recorded(mac: Path, manifest: Manifest) -> None:
    path = mac / "etc/ssh/ssh_config.d/x.conf"
    told = hold(manifest, path, "Host x\n", check_mode=True)
    assert told.changed
    assert not path.exists()
    assert not os.path.exists(manifest.directory)
    done = hold(manifest, path, "Host x\n")
    assert (done.changed, done.before, done.after) == (True, told.before, told.after)
    assert path.read_text() == "Host x\n"
    assert not hold(manifest, path, "Host x\n").changed
    assert hold(manifest, path, "Host y\n").changed
    put_back(manifest)
    assert not path.exists()


def test_not_for_others_than_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with pytest.raises(StateError, match="become"):
        area.execute({"state": "leaving"}, False)


def test_the_manifest_is_json_that_people_can_read(mac: Path, manifest: Manifest) -> None:
    manifest.claim("delegation", {str(mac / "x"): b"ours"}, lines=["ssh-ng://builder@linux-builder x"])
    data = json.loads(Path(manifest.path).read_text(encoding="utf-8"))
    assert data["version"] == 1
    assert data["entries"][str(mac / "x")]["lines"] == ["ssh-ng://builder@linux-builder x"]
    assert manifest.read().entries[str(mac / "x")].lines == ("ssh-ng://builder@linux-builder x",)
