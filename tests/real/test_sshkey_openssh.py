# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key pairs against the real ssh-keygen, as root: formats, the damage matrix, SIGKILL at every write, no secret in sight."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import PASSPHRASE, parse_private, parse_public
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_apply import ensure
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SSH_KEYGEN, SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_look import Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys

PARAMS: dict[str, t.Any] = {
    "state": "present",
    "type": None,
    "size": None,
    "comment": None,
    "owner": "root",
    "group": "daemon",
    "mode": "0600",
    "private_key": None,
    "regenerate": "if_invalid",
    "backup": None,
    "remove_backups": False,
    "host": None,
}
SHAPES = [("ed25519", 256), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 3072)]
COLLECTIONS = str(Path(str(keys.__file__)).parents[7])  # above ansible_collections

# What a process that is killed runs: the module's own flow with a disk that kills it at the N-th change.
KILLED = """
import json, os, signal, sys
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_apply import ensure
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_store import Disk, PairStore

order = json.load(sys.stdin)
left = order["kill_at"]

def deadly(name):
    real = getattr(Disk, name)
    def step(self, *args):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args)
    return step

deadly_disk = type("DeadlyDisk", (Disk,), {name: deadly(name) for name in vars(Disk) if not name.startswith("_")})()
report = ensure(order["params"], order["check"], SshKeygen(Runner()), PairStore(order["params"]["path"], deadly_disk))
print(json.dumps([report.changed, report.result]))
"""


def keygen(*arguments: str, **options: t.Any) -> str:
    done = subprocess.run([SSH_KEYGEN, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(path: Path, key_type: str = "ed25519", bits: int = 256, *extra: str, passphrase: str = "") -> None:
    size = [] if key_type == "ed25519" else ["-b", str(bits)]
    keygen("-q", "-t", key_type, *size, "-N", passphrase, "-C", "old@host", "-f", str(path), *extra)


def run(path: Path, check: bool = False, runner: Runner | None = None, **params: t.Any) -> Report:
    return ensure({**PARAMS, "path": str(path), **params}, check, SshKeygen(runner or Runner()))


def order(path: Path, kill_at: int = 0, check: bool = False, **params: t.Any) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, killed at the `kill_at`th change (0: never)."""
    text = json.dumps({"params": {**PARAMS, "path": str(path), **params}, "check": check, "kill_at": kill_at})
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS}
    return subprocess.run(
        [sys.executable, "-c", KILLED], input=text, capture_output=True, text=True, env=environment, check=False
    )


def snapshot(directory: Path) -> dict[str, tuple[t.Any, ...]]:
    """Every name below the directory with all that a run may have changed."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for one in sorted(directory.rglob("*")):
        status = one.lstat()
        content = one.read_bytes() if one.is_file() and not one.is_symlink() else None
        target = os.readlink(one) if one.is_symlink() else None
        found[str(one.relative_to(directory))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            content,
            target,
        )
    return found


def assert_good_pair(path: Path, owner: int = 0, mode: int = 0o600) -> None:
    """ssh-keygen's own view, and the access of both files."""
    derived = keygen("-y", "-P", "", "-f", str(path)).split()[:2]
    public = Path(f"{path}.pub")
    assert public.read_text().split()[:2] == derived
    assert public.read_text().endswith("\n")
    group = subprocess.run(["stat", "-c", "%G", str(path), str(public)], capture_output=True, text=True, check=True).stdout
    assert group == "daemon\ndaemon\n"
    assert (path.stat().st_mode & 0o7777, public.stat().st_mode & 0o7777) == (mode, 0o644)
    assert (path.stat().st_uid, public.stat().st_uid) == (owner, owner)
    assert not (path.parent / f".{path.name}.pair").exists()


def signs_and_verifies(path: Path, directory: Path) -> None:
    """The private half signs what the public half vouches for."""
    message = directory / "message"
    message.write_text("hello")
    keygen("-q", "-Y", "sign", "-f", str(path), "-n", "test", str(message))
    signers = directory / "signers"
    signers.write_text("me " + " ".join(Path(f"{path}.pub").read_text().split()[:2]) + "\n")
    signature = str(message) + ".sig"
    keygen("-Y", "verify", "-f", str(signers), "-I", "me", "-n", "test", "-s", signature, input="hello")


@pytest.mark.parametrize(("key_type", "bits"), SHAPES)
def test_generated_pair_is_one_that_openssh_uses_and_stays(tmp_path: Path, key_type: str, bits: int) -> None:
    runner = Runner()
    directory = tmp_path / "pair"
    directory.mkdir()
    report = run(directory / "key", runner=runner, type=key_type, size=bits, comment="a b")
    assert runner.started == 1
    assert_good_pair(directory / "key")
    signs_and_verifies(directory / "key", tmp_path)
    shown = keygen("-lf", str(directory / "key.pub")).split()
    assert shown[:2] == [str(report.result["bits"]), report.result["fingerprint"]]
    before = snapshot(directory)
    again = run(directory / "key", runner=runner, type=key_type, size=bits, regenerate="fail")
    assert not again.changed
    assert runner.started == 1
    assert snapshot(directory) == before


@pytest.mark.parametrize("form", ["openssh", "PEM", "PKCS8"])
@pytest.mark.parametrize(("key_type", "bits"), SHAPES)
def test_every_form_that_openssh_writes_is_read_as_openssh_reads_it(tmp_path: Path, key_type: str, bits: int, form: str) -> None:
    path = tmp_path / "key"
    make(path, key_type, bits, *([] if form == "openssh" else ["-m", form]))
    key = parse_private(path.read_bytes())
    public, _comment = parse_public((tmp_path / "key.pub").read_bytes())
    assert key.public == public
    assert keygen("-lf", str(path)).split()[:2] == [str(public.bits), public.fingerprint]


@pytest.mark.parametrize("form", ["openssh", "PEM", "PKCS8"])
@pytest.mark.parametrize(("key_type", "bits"), SHAPES)
def test_every_passphrase_is_noticed(tmp_path: Path, key_type: str, bits: int, form: str) -> None:
    path = tmp_path / "key"
    make(path, key_type, bits, *([] if form == "openssh" else ["-m", form]), passphrase="secret words")
    with pytest.raises(KeyFormatError) as caught:
        parse_private(path.read_bytes())
    assert caught.value.message == PASSPHRASE


@pytest.mark.parametrize(
    "text",
    [
        keys.ed25519(1),
        keys.ecdsa("nistp256"),
        keys.ecdsa("nistp384"),
        keys.ecdsa("nistp521"),
        keys.rsa(3072),
        keys.armour("RSA PRIVATE KEY", keys.rsa_der()),
        keys.armour("EC PRIVATE KEY", keys.ec_der()),
        keys.pkcs8("2a864886f70d010101", keys.rsa_der()),
    ],
)
@pytest.mark.parametrize("spoil", [lambda text: text, lambda text: text.replace("\n", "\r\n").strip()], ids=["right", "spoilt"])
def test_given_key_is_one_that_openssh_uses(tmp_path: Path, text: str, spoil: t.Callable[[str], str]) -> None:
    """This holds the sample keys of the unit tests against ssh-keygen, too."""
    directory = tmp_path / "pair"
    directory.mkdir()
    run(directory / "key", private_key=spoil(text))
    assert_good_pair(directory / "key")
    signs_and_verifies(directory / "key", tmp_path)


def damage_missing(path: Path, spare: Path) -> None:
    path.unlink()


def damage_truncated(path: Path, spare: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_mode(path: Path, spare: Path) -> None:
    path.chmod(0o666)


def damage_owner(path: Path, spare: Path) -> None:
    os.chown(path, 1, 2)


def damage_mismatched(path: Path, spare: Path) -> None:
    make(spare / "other")
    path.write_bytes((spare / ("other.pub" if path.suffix else "other")).read_bytes())


def damage_passphrase(path: Path, spare: Path) -> None:
    """The very key of this pair, protected; for the public half: such a text where the .pub line belongs."""
    if path.suffix:
        make(spare / "locked", passphrase="secret words")
        path.write_bytes((spare / "locked").read_bytes())
    else:
        keygen("-q", "-p", "-P", "", "-N", "secret words", "-f", str(path))
        path.chmod(0o600)


def damage_symlink(path: Path, spare: Path) -> None:
    path.rename(spare / path.name)
    path.symlink_to(spare / path.name)


def damage_directory(path: Path, spare: Path) -> None:
    path.unlink()
    path.mkdir()


# What each damage leads to: "same" (the old key, put right), "follow" (the public half follows the key that is there now),
# "new" (another key, the old file backed up), "refuse" (nothing touched). First with if_invalid, then with fail.
MATRIX: dict[tuple[str, str], tuple[str, str]] = {
    ("missing", "private"): ("new", "refuse"),
    ("missing", "public"): ("same", "same"),
    ("truncated", "private"): ("new", "refuse"),
    ("truncated", "public"): ("same", "same"),
    ("mode", "private"): ("same", "same"),
    ("mode", "public"): ("same", "same"),
    ("owner", "private"): ("same", "same"),
    ("owner", "public"): ("same", "same"),
    ("mismatched", "private"): ("follow", "follow"),
    ("mismatched", "public"): ("same", "same"),
    ("passphrase", "private"): ("new", "refuse"),
    ("passphrase", "public"): ("same", "same"),
    ("symlink", "private"): ("refuse", "refuse"),
    ("symlink", "public"): ("refuse", "refuse"),
    ("directory", "private"): ("refuse", "refuse"),
    ("directory", "public"): ("refuse", "refuse"),
}


@pytest.mark.parametrize("check", [True, False], ids=["check", "real"])
@pytest.mark.parametrize("regenerate", ["if_invalid", "fail"])
@pytest.mark.parametrize(("damage", "half"), sorted(MATRIX))
def test_damage_ends_in_a_good_pair_or_a_clear_refusal(
    tmp_path: Path, damage: str, half: str, regenerate: str, check: bool
) -> None:
    directory, spare = tmp_path / "pair", tmp_path / "spare"
    directory.mkdir()
    spare.mkdir()
    path = directory / "key"
    make(path)
    run(path)
    old, old_public = path.read_bytes(), Path(f"{path}.pub").read_text()
    target = path if half == "private" else Path(f"{path}.pub")
    globals()[f"damage_{damage}"](target, spare)
    damaged = target.read_bytes() if target.is_file() else b""
    before = snapshot(directory)
    expected = MATRIX[damage, half][regenerate == "fail"]
    runner = Runner()
    if expected == "refuse":
        with pytest.raises(LinuxBuilderError) as caught:
            run(path, check=check, runner=runner, regenerate=regenerate)
        assert caught.value.message.startswith(f"{target}: ")
        assert "Nothing was changed" in caught.value.message
        assert snapshot(directory) == before
        return
    report = run(path, check=check, runner=runner, regenerate=regenerate)
    assert report.changed
    assert report.before != report.after
    if check:
        assert snapshot(directory) == before
        assert runner.started == 0
        return
    assert_good_pair(path)
    assert runner.started == (expected == "new")
    assert (path.read_bytes() == old) == (expected == "same")
    assert (Path(f"{path}.pub").read_text() == old_public) == (expected == "same")
    kept = [Path(name).read_bytes() for name in report.result["backup_files"]]
    if expected == "new" and damaged:
        assert damaged in kept
    if damage in ("mismatched", "passphrase", "truncated") and half == "public":
        assert damaged in kept
    assert all(Path(name).stat().st_mode & 0o077 == 0 for name in report.result["backup_files"] if ".pub." not in name)
    assert not run(path, regenerate="fail").changed


@pytest.mark.parametrize("state", ["rotate", "install", "remove"])
def test_kill_at_every_write_leaves_a_pair_that_the_next_run_resolves(tmp_path: Path, state: str) -> None:
    params: dict[str, t.Any] = {
        "rotate": {"regenerate": "always"},
        "install": {"private_key": keys.ed25519(8)},
        "remove": {"state": "absent", "backup": True},
    }[state]
    kills = 0
    for at in range(1, 40):
        directory = tmp_path / str(at)
        directory.mkdir()
        path = directory / "key"
        make(path)
        run(path)
        old = path.read_bytes()
        done = order(path, at, **params)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        kills += 1
        before = snapshot(directory)
        order(path, check=True)
        assert snapshot(directory) == before
        resolved = order(path, backup=True)
        assert resolved.returncode == 0, resolved.stderr
        if path.exists():
            assert_good_pair(path)
        assert any(one.read_bytes() == old for one in directory.iterdir())
        assert json.loads(order(path, regenerate="never").stdout)[0] is False
    assert kills >= 10


def test_two_rotations_at_once_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make(path)
    run(path)
    old = path.read_bytes()
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(order(path, regenerate="always"))) for _each in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in results] == [0, 0, 0], [one.stderr for one in results]
    assert_good_pair(path)
    private_backups = [one for one in tmp_path.iterdir() if one.name.endswith("~") and ".pub." not in one.name]
    assert len(private_backups) == 3
    assert old in [one.read_bytes() for one in private_backups]
    fingerprints = {json.loads(one.stdout)[1]["fingerprint"] for one in results}
    assert len(fingerprints) == 3


def test_secret_is_in_no_argument_environment_output_or_other_file(tmp_path: Path) -> None:
    """Samples every process of the machine while keys are installed and rotated, then reads all files that are left."""
    path = tmp_path / "key"
    given = keys.ed25519(11)
    secret = given.split("\n")[3].encode()
    seen: set[bytes] = set()
    stop = threading.Event()

    def sample() -> None:
        own = str(os.getpid())
        while not stop.is_set():
            for process in os.listdir("/proc"):
                if process.isdigit():
                    for name in ("cmdline",) if process == own else ("cmdline", "environ"):
                        try:
                            seen.add(Path("/proc", process, name).read_bytes())
                        except OSError:
                            continue
            stop.wait(0.005)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        outputs = [order(path, private_key=given), order(path, regenerate="always"), order(path, private_key=given, check=True)]
    finally:
        stop.set()
        sampler.join()
    assert any(b"DeadlyDisk" in one for one in seen)  # the sampling saw the very processes
    assert not any(secret in one for one in seen)
    for done in outputs:
        assert done.returncode == 0, done.stderr
        assert secret.decode() not in done.stdout + done.stderr
    holders = [one for one in tmp_path.iterdir() if secret in one.read_bytes()]
    assert [one.stat().st_mode & 0o7777 for one in holders] == [0o600]  # the backup of the rotation, nothing else


@pytest.mark.parametrize("owner", ["root", "daemon"])
@pytest.mark.parametrize("mode", ["0600", "0400"])
def test_owner_and_mode_of_new_and_repaired_pairs(tmp_path: Path, owner: str, mode: str) -> None:
    path = tmp_path / "key"
    uid = {"root": 0, "daemon": 1}[owner]
    run(path, owner=owner, mode=mode)
    assert_good_pair(path, uid, int(mode, 8))
    for half in (path, Path(f"{path}.pub")):
        os.chown(half, 2, 2)
        half.chmod(0o777)
    report = run(path, owner=owner, mode=mode, regenerate="never")
    assert report.changed
    assert_good_pair(path, uid, int(mode, 8))
    assert not run(path, owner=owner, mode=mode).changed


def test_parent_that_is_a_symlink_is_followed_as_on_macos(tmp_path: Path) -> None:
    """/etc is a link to /private/etc there."""
    (tmp_path / "private").mkdir()
    (tmp_path / "etc").symlink_to("private")
    run(tmp_path / "etc" / "key")
    assert_good_pair(tmp_path / "private" / "key")
    assert not run(tmp_path / "private" / "key").changed


def test_special_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(LinuxBuilderError) as caught:
        run(tmp_path / "key")
    assert "is no regular file" in caught.value.message
