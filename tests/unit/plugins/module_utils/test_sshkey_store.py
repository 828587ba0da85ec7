# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pair as one unit: every single write fails once, or the power goes, and either the old or the new pair is left."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import parse_private, parse_public
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_apply import ensure
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_look import Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_store import Change, Disk, PairStore
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys

OLD, OTHER, NEW = keys.ed25519(1, "old"), keys.ed25519(2, "other"), keys.ed25519(3, "new")
DEFAULTS = keys.PARAMS


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults are simulated, so nothing is gained by hundreds of real fsync calls."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


class PowerCut(BaseException):
    """The machine is gone: nothing that this process still tries has any effect."""


class FaultyDisk(Disk):
    """Fails the `at`th change: "before" and "after" raise an OSError there, "power" ends all changes with it."""

    def __init__(self, at: int = 0, how: str = "before") -> None:
        self.at, self.how, self.count, self.dead = at, how, 0, False
        self.seen: list[str] = []

    def __getattribute__(self, name: str) -> t.Any:
        method = super().__getattribute__(name)
        if name.startswith("_") or name not in vars(Disk):
            return method

        def step(*args: t.Any) -> None:
            self.count += 1
            self.seen.append(name)
            if self.dead or (self.count == self.at and self.how == "power"):
                self.dead = True
                raise PowerCut
            if self.count == self.at and self.how == "before":
                raise OSError(errno.EIO, "Input/output error", str(args[0]))
            method(*args)
            if self.count == self.at:
                raise OSError(errno.EIO, "Input/output error", str(args[0]))

        return step


class FakeKeygen(SshKeygen):
    """Writes the next sample key instead of starting a program."""

    def __init__(self, text: str = NEW) -> None:
        self.text = text
        self.started = 0

    def generate(self, path: str, key_type: str, bits: int, comment: str) -> None:
        self.started += 1
        Path(path).write_text(self.text)
        Path(path + ".pub").write_text(line(self.text))


def line(text: str) -> str:
    key = parse_private(text.encode())
    return key.public.line(key.comment) + "\n"


def lay(directory: Path, private: str | None, public: str | None) -> str:
    path = directory / "key"
    for half, text, mode in ((path, private, 0o600), (directory / "key.pub", public, 0o644)):
        if text is not None:
            half.write_text(text)
            half.chmod(mode)
    return str(path)


def run(path: str, disk: Disk | None = None, check: bool = False, keygen: SshKeygen | None = None, **params: t.Any) -> Report:
    return ensure({**DEFAULTS, "path": path, **params}, check, keygen or FakeKeygen(), PairStore(path, disk))


def contents(directory: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in sorted(directory.iterdir()) if one.is_file()}


# name: (private, public, parameters); the pair that is left has to be the first one or the one a run without fault makes.
SCENARIOS: dict[str, tuple[str | None, str | None, dict[str, t.Any]]] = {
    "new": (None, None, {}),
    "rotate": (OLD, line(OLD), {"regenerate": "always"}),
    "rotate without backup": (OLD, line(OLD), {"regenerate": "always", "backup": False}),
    "install": (OLD, line(OLD), {"private_key": OTHER}),
    "install on nothing": (None, None, {"private_key": OTHER}),
    "restore": (None, line(OTHER), {"private_key": OTHER, "regenerate": "never"}),
    "truncated": (OLD[:170], line(OLD), {}),
    "orphan public": (None, line(OLD), {}),
    "mismatched": (OLD, line(OTHER), {}),
    "public missing": (OLD, None, {}),
    "rewrite": (OLD.replace("\n", "\r\n"), line(OLD), {}),
    "remove": (OLD, line(OLD), {"state": "absent"}),
    "remove with backup": (OLD, line(OLD), {"state": "absent", "backup": True}),
    "remove half": (None, line(OLD), {"state": "absent"}),
}
STEPS = 30  # more than the longest scenario takes; `test_no_scenario_is_longer` holds that


def outcome(directory: Path) -> tuple[str | None, str | None]:
    files = contents(directory)
    return files.get("key"), files.get("key.pub")


def normal_outcome(tmp_path: Path, scenario: str) -> tuple[str | None, str | None]:
    directory = tmp_path / "normal"
    directory.mkdir()
    private, public, params = SCENARIOS[scenario]
    run(lay(directory, private, public), **params)
    return outcome(directory)


def old_key_survives(directory: Path, private: str | None, params: dict[str, t.Any]) -> bool:
    if private is None or params.get("backup", params.get("state") != "absent") is False:
        return True
    return any(private.replace("\r\n", "\n").strip() == text.strip() for text in contents(directory).values())


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_no_scenario_is_longer(tmp_path: Path, scenario: str) -> None:
    private, public, params = SCENARIOS[scenario]
    disk = FaultyDisk()
    run(lay(tmp_path, private, public), disk, **params)
    assert disk.count < STEPS
    assert ".key.pair" not in os.listdir(tmp_path)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_failed_write_leaves_the_old_or_the_new_pair(tmp_path: Path, scenario: str, how: str) -> None:
    private, public, params = SCENARIOS[scenario]
    new = normal_outcome(tmp_path, scenario)
    failures = 0
    for at in range(1, STEPS):
        directory = tmp_path / str(at)
        directory.mkdir()
        path = lay(directory, private, public)
        words = ""
        try:
            run(path, FaultyDisk(at, how), **params)
        except FileError as exc:
            words = exc.message
        if not words:
            continue
        failures += 1
        assert words.startswith(path)
        if (directory / ".key.pair").exists():
            PairStore(path).recover()  # the fault hit the undoing or the closing itself
        assert outcome(directory) in ((private, public), new), at
        assert old_key_survives(directory, private, params), at
        assert ".key.pair" not in os.listdir(directory)
    assert failures >= 5


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_power_cut_is_resolved_by_the_next_run(tmp_path: Path, scenario: str) -> None:
    private, public, params = SCENARIOS[scenario]
    new = normal_outcome(tmp_path, scenario)
    cuts = 0
    for at in range(1, STEPS):
        directory = tmp_path / str(at)
        directory.mkdir()
        path = lay(directory, private, public)
        try:
            run(path, FaultyDisk(at, "power"), **params)
            continue
        except PowerCut:
            cuts += 1
        before = contents(directory)
        report = run(path, check=True, **params)  # check mode reads through the journal and touches nothing
        assert contents(directory) == before
        journal = (directory / ".key.pair").exists()
        assert report.changed or (outcome(directory) == new and not journal)
        with PairStore(path).locked():
            PairStore(path).recover()
        assert outcome(directory) in ((private, public), new), at
        assert old_key_survives(directory, private, params), at
        run(path, **params)
        assert outcome(directory) == new
        assert ".key.pair" not in os.listdir(directory)
    assert cuts >= 5


@pytest.mark.parametrize("scenario", ["rotate", "install", "orphan public", "mismatched", "remove with backup"])
def test_power_cut_during_the_resolving_is_resolved_too(tmp_path: Path, scenario: str) -> None:
    private, public, params = SCENARIOS[scenario]
    new = normal_outcome(tmp_path, scenario)
    second_cuts = 0
    for at in range(1, STEPS):
        for again in range(1, 10):
            directory = tmp_path / f"{at}-{again}"
            directory.mkdir()
            path = lay(directory, private, public)
            try:
                run(path, FaultyDisk(at, "power"), **params)
                break
            except PowerCut:
                pass
            try:
                PairStore(path, FaultyDisk(again, "power")).recover()
            except PowerCut:
                second_cuts += 1
            PairStore(path).recover()
            assert outcome(directory) in ((private, public), new), (at, again)
            assert old_key_survives(directory, private, params), (at, again)
            assert ".key.pair" not in os.listdir(directory)
    assert second_cuts > 20


def cut_between_the_halves(tmp_path: Path) -> str:
    """A rotation that the power cut ended with the new private and the old public half in place."""
    path = lay(tmp_path, OLD, line(OLD))
    renames = 0
    for at in range(1, STEPS):
        try:
            run(path, FaultyDisk(at, "power"), regenerate="always")
        except PowerCut:
            if outcome(tmp_path) == (NEW, line(OLD)):
                return path
            PairStore(path).recover()
            renames += 1
    raise LookupError(f"no step of {renames} leaves the halves mixed")


def test_cut_between_the_halves_goes_back_to_the_old_pair(tmp_path: Path) -> None:
    path = cut_between_the_halves(tmp_path)
    report = run(path)
    assert report.changed
    assert outcome(tmp_path) == (OLD, line(OLD))
    assert sorted(os.listdir(tmp_path)) == ["key", "key.pub"]
    assert "journal" in report.before
    assert not run(path).changed


def test_half_that_somebody_else_replaced_after_the_cut_stays_and_the_old_one_becomes_a_backup(tmp_path: Path) -> None:
    path = cut_between_the_halves(tmp_path)
    os.unlink(path)
    lay(tmp_path, OTHER, None)
    report = run(path)
    assert outcome(tmp_path) == (OTHER, line(OTHER))
    assert OLD in [Path(name).read_text() for name in report.result["backup_files"]]


def test_record_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = cut_between_the_halves(tmp_path)
    (tmp_path / ".key.pair" / "armed").write_text("{")
    with pytest.raises(FileError) as caught:
        run(path)
    assert "private.old" in caught.value.message
    assert (tmp_path / ".key.pair" / "private.old").read_text() == OLD


def test_half_that_vanished_after_it_was_put_back_does_not_block_the_next_run(tmp_path: Path) -> None:
    path = cut_between_the_halves(tmp_path)
    with pytest.raises(PowerCut):
        PairStore(path, FaultyDisk(3, "power")).recover()  # both halves are back, the record is still there
    assert outcome(tmp_path) == (OLD, line(OLD))
    os.unlink(path)
    report = run(path)
    assert outcome(tmp_path) == (NEW, line(keys.ed25519(3, "old")))  # the comment of the public half that is left
    assert [Path(name).read_text() for name in report.result["backup_files"]] == [line(OLD)]


def test_backup_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))

    class Squatter(FaultyDisk):
        def rename(self, source: str, target: str) -> None:
            super().rename(source, target)
            if target.endswith("armed"):
                for entry in json.loads(Path(target).read_text()):
                    Path(entry["backup"]).write_text("taken")

    report = run(path, Squatter(), regenerate="always")
    assert [Path(name).read_text() for name in report.result["backup_files"]] == [OLD, line(OLD)]
    assert list(contents(tmp_path).values()).count("taken") == 2


@pytest.mark.parametrize("kind", ["file", "loose", "link"])
def test_journal_that_cannot_be_ours_is_refused(tmp_path: Path, kind: str) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    journal = tmp_path / ".key.pair"
    if kind == "file":
        journal.write_text("")
    elif kind == "link":
        journal.symlink_to(tmp_path)
    else:
        journal.mkdir()
        journal.chmod(0o755)
    with pytest.raises(FileError) as caught:
        run(path)
    assert str(journal) in caught.value.message


def test_change_by_somebody_else_between_reading_and_writing_is_noticed(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))

    class Meddler(FakeKeygen):
        def generate(self, path: str, key_type: str, bits: int, comment: str) -> None:
            super().generate(path, key_type, bits, comment)
            (tmp_path / "key").unlink()
            lay(tmp_path, OTHER, None)

    with pytest.raises(FileError) as caught:
        run(path, keygen=Meddler(), regenerate="always")
    assert "changed by somebody else" in caught.value.message
    assert outcome(tmp_path) == (OTHER, line(OLD))
    assert ".key.pair" not in os.listdir(tmp_path)


def test_failing_generator_leaves_the_old_pair_and_no_journal(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    with pytest.raises(LinuxBuilderError) as caught:
        run(path, keygen=FakeKeygen(keys.rsa(2048)), regenerate="always")
    assert "the key that ssh-keygen made is of type rsa, not ed25519" in caught.value.message
    assert contents(tmp_path) == {"key": OLD, "key.pub": line(OLD)}
    assert sorted(os.listdir(tmp_path)) == ["key", "key.pub"]


def test_lock_that_another_run_holds_is_waited_for_and_then_named(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(FileError) as caught, PairStore(str(tmp_path / "key")).locked(timeout=0.1):
            pass
    finally:
        os.close(descriptor)
    assert "held its lock for 0.1 s" in caught.value.message
    with PairStore(str(tmp_path / "key")).locked(timeout=0.1):
        pass


def test_nobody_can_open_a_file_early_and_read_the_secret_from_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each open and chmod is looked at: a file is private from its first moment, and never loosened with bytes in it."""
    loose: list[str] = []
    real_open, real_fchmod = os.open, os.fchmod

    def opened(path: t.Any, flags: int, mode: int = 0o777, **options: t.Any) -> int:
        if flags & os.O_CREAT and mode & 0o077:
            loose.append(f"created with {mode:o}")
        return real_open(path, flags, mode, **options)

    def fchmod(descriptor: int, mode: int) -> None:
        status = os.fstat(descriptor)
        if status.st_size and mode & ~stat.S_IMODE(status.st_mode):
            loose.append(f"{mode:o} on {status.st_size} bytes")
        real_fchmod(descriptor, mode)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fchmod", fchmod)
    path = lay(tmp_path, None, None)
    for secret in (OTHER, OLD):
        run(path, private_key=secret)
    assert loose == []


def secret_modes(directory: Path) -> set[int]:
    """Modes of all files below the directory that hold a private key."""
    files = [Path(where, name) for where, _directories, names in os.walk(directory) for name in names]
    return {stat.S_IMODE(one.stat().st_mode) for one in files if "PRIVATE KEY" in one.read_text()}


def test_secret_has_its_mode_between_any_two_writes_whatever_the_umask(tmp_path: Path) -> None:
    modes: set[int] = set()

    class Watching(FaultyDisk):
        def __getattribute__(self, name: str) -> t.Any:
            if name in vars(Disk):
                modes.update(secret_modes(tmp_path))
            return super().__getattribute__(name)

    previous = os.umask(0)
    try:
        path = lay(tmp_path, None, None)
        for secret in (OTHER, OLD):
            run(path, Watching(), private_key=secret)
    finally:
        os.umask(previous)
    assert modes | secret_modes(tmp_path) == {0o600}


@pytest.mark.parametrize(("mode", "left"), [(0o644, 0o600), (0o400, 0o400)])
def test_backup_of_a_private_half_is_never_looser_than_0600(tmp_path: Path, mode: int, left: int) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    os.chmod(path, mode)
    report = run(path, regenerate="always")
    private, public = report.result["backup_files"]
    assert stat.S_IMODE(os.stat(private).st_mode) == left
    assert Path(private).read_text() == OLD
    assert Path(public).read_text() == line(OLD)


def test_two_rotations_in_one_second_keep_both_backups(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    run(path, private_key=OTHER)
    run(path, private_key=NEW)
    texts = list(contents(tmp_path).values())
    assert OLD in texts
    assert OTHER in texts
    run(path, state="absent", remove_backups=True)
    assert os.listdir(tmp_path) == []


def test_only_backups_of_this_pair_are_removed(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    (tmp_path / "key.keep~").write_text("x")
    (tmp_path / "key2.1.2026-01-01@00:00:00~").write_text("x")
    (tmp_path / "key.1.2026-01-01@00:00:00~").symlink_to(tmp_path / "key.keep~")
    run(path, state="absent", remove_backups=True)
    assert sorted(os.listdir(tmp_path)) == ["key.1.2026-01-01@00:00:00~", "key.keep~", "key2.1.2026-01-01@00:00:00~"]


def test_replacing_no_half_at_all_leaves_nothing(tmp_path: Path) -> None:
    path = lay(tmp_path, OLD, line(OLD))
    store = PairStore(path)
    store.workspace()
    changes: list[Change] = []
    assert store.replace(changes) == []
    assert sorted(os.listdir(tmp_path)) == ["key", "key.pub"]


def test_large_file_is_no_key(tmp_path: Path) -> None:
    path = lay(tmp_path, "x" * 70000, None)
    with pytest.raises(FileError) as caught:
        run(path)
    assert "70000 bytes are no key" in caught.value.message


def test_directory_that_is_missing_is_named_and_forgiven_in_check_mode(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "key")
    assert run(path, check=True).changed
    with pytest.raises(FileError) as caught:
        run(path)
    assert "Create the directory first" in caught.value.message
    assert not run(path, state="absent").changed


def test_public_line_is_what_openssh_reads(tmp_path: Path) -> None:
    path = lay(tmp_path, None, None)
    report = run(path, private_key=OTHER)
    assert parse_public((tmp_path / "key.pub").read_bytes())[0].fingerprint == report.result["fingerprint"]
