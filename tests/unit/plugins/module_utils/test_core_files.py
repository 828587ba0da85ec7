# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files: replaced as a whole or not at all, with the owner and mode that is asked for, and only errors of the family."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership, Snapshot

ANY = Ownership()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def fail(monkeypatch: pytest.MonkeyPatch, function: str, code: int = errno.ENOSPC) -> None:
    """Make one system call fail as a full disk would."""

    def broken(*args: t.Any, **_options: t.Any) -> t.NoReturn:
        raise OSError(code, os.strerror(code), str(args[0]) if args else None)

    monkeypatch.setattr(os, function, broken)


# -- read ------------------------------------------------------------------------------------------------------------


def test_read_returns_content_and_status(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\0b")
    snapshot = _files.read(str(path))
    assert snapshot.content == b"a\0b"
    assert snapshot.status is not None
    assert snapshot.status.st_size == 3


@pytest.mark.parametrize("name", ["missing", "missing/below", "file/below"])
def test_absent_file_is_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    assert _files.read(str(tmp_path / name)) == Snapshot(str(tmp_path / name), None, None)


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    {"directory": path.mkdir, "symlink": lambda: path.symlink_to("x"), "fifo": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(FileError) as caught:
        _files.read(str(path))
    assert caught.value.message.startswith(f"{path}: is not a regular file.")
    assert caught.value.details["path"] == str(path)


def test_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 11)
    assert _files.read(str(path), limit=11).content == b"x" * 11
    with pytest.raises(FileError) as caught:
        _files.read(str(path), limit=10)
    assert "11 bytes, more than the 10" in caught.value.message


def test_file_that_grows_while_it_is_read_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5)
    early = path.lstat()
    path.write_bytes(b"x" * 50)
    monkeypatch.setattr(_files, "lstat", lambda _path: early)
    with pytest.raises(FileError) as caught:
        _files.read(str(path), limit=10)
    assert "grew past" in caught.value.message


@pytest.mark.parametrize("call", [_files.read, _files.lstat])
@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 5000])
def test_path_that_is_none_is_an_error_of_the_family(call: t.Callable[[str], t.Any], path: str) -> None:
    with pytest.raises(FileError):
        call(path)


def test_file_that_cannot_be_opened_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("x")

    def denied(*_args: t.Any, **_options: t.Any) -> t.NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(FileError) as caught:
        _files.read(str(path))
    assert "become: true" in caught.value.message


# -- write -----------------------------------------------------------------------------------------------------------


def test_new_file_is_private_unless_asked_otherwise(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        _files.write(str(tmp_path / "a"), b"1", ANY)
        _files.write(str(tmp_path / "b"), b"1", Ownership(mode=0o644))
    finally:
        os.umask(previous)
    assert (mode(tmp_path / "a"), mode(tmp_path / "b")) == (0o600, 0o644)


def test_mode_and_owner_that_are_not_asked_for_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat()
    _files.write(str(path), b"new", ANY)
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_content_is_only_written_into_a_file_that_has_its_owner_and_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, bits: (sizes.append(os.fstat(fd).st_size), real(fd, bits))[1])
    _files.write(str(tmp_path / "file"), b"secret", Ownership(mode=0o644))
    assert sizes == [0]


@pytest.mark.parametrize("function", ["fchown", "fchmod", "fsync", "replace"])
@pytest.mark.parametrize("there", [True, False])
def test_failure_at_any_step_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, there: bool
) -> None:
    path = tmp_path / "file"
    if there:
        path.write_text("old")
    fail(monkeypatch, function)
    with pytest.raises(FileError) as caught:
        _files.write(str(path), b"new", ANY)
    assert caught.value.message.startswith(f"{path}: cannot be written: No space left on device")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["file"] if there else [])
    assert not there or path.read_text() == "old"


def test_failing_write_itself_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    real = os.fdopen

    def full(descriptor: int, *args: t.Any) -> t.Any:
        os.close(descriptor)
        return real(os.open("/dev/full", os.O_WRONLY), *args)

    monkeypatch.setattr(os, "fdopen", full)
    monkeypatch.setattr(os, "fchown", lambda *_args: None)
    monkeypatch.setattr(os, "fchmod", lambda *_args: None)
    with pytest.raises(FileError):
        _files.write(str(path), b"new", ANY)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_kill_before_the_rename_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    class Killed(BaseException):
        pass

    def killed(*_args: t.Any) -> t.NoReturn:
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        _files.write(str(path), b"new", ANY)
    assert path.read_text() == "old"


def test_directory_that_cannot_be_synced_is_an_error_of_the_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(FileError):
        _files.sync_directory(str(tmp_path))
    monkeypatch.undo()
    with pytest.raises(FileError):
        _files.sync_directory(str(tmp_path / "missing"))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_without_directory_sync_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    fail(monkeypatch, "fsync", code)
    _files.sync_directory(str(tmp_path))


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        _files.write(str(tmp_path / "missing" / "file"), b"", ANY)
    assert f"no file can be made in {tmp_path}/missing" in caught.value.message


def test_unknown_owner_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        _files.write(str(tmp_path / "file"), b"", Ownership(owner="nobody-by-this-name"))
    assert "'nobody-by-this-name' does not exist" in caught.value.message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("change", ["content", "replaced", "removed", "created"])
def test_file_that_somebody_else_changed_is_not_overwritten(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    if change != "created":
        path.write_text("old")
    snapshot = _files.read(str(path))
    assert snapshot.unchanged()
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        (tmp_path / "other").write_text("new")
        os.replace(tmp_path / "other", path)
    else:
        path.write_text("longer than before")
    left = path.read_text() if path.exists() else None
    assert not snapshot.unchanged()
    with pytest.raises(FileError) as caught:
        _files.write(str(path), b"mine", ANY, expected=snapshot)
    assert "changed by somebody else meanwhile" in caught.value.message
    assert (path.read_text() if path.exists() else None) == left
    assert [name for name in os.listdir(tmp_path) if name != "file"] == []


def test_expected_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    _files.write(str(path), b"1", ANY, expected=_files.read(str(path)))
    _files.write(str(path), b"2", ANY, expected=_files.read(str(path)))
    assert path.read_bytes() == b"2"


def test_symlink_at_the_target_is_replaced_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "file").symlink_to("other")
    _files.write(str(tmp_path / "file"), b"new", ANY)
    assert (tmp_path / "other").read_text() == "other"
    assert not (tmp_path / "file").is_symlink()


# -- ownership -------------------------------------------------------------------------------------------------------


def test_ownership_compares_only_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(0o640)
    status = path.stat()
    me, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(status.st_gid).gr_name
    assert not ANY.differs(status)
    assert not Ownership(me, group, 0o640).differs(status)
    assert Ownership(mode=0o600).differs(status)
    assert Ownership(owner=next(one.pw_name for one in pwd.getpwall() if one.pw_uid != status.st_uid)).differs(status)
    assert Ownership(group=next(one.gr_name for one in grp.getgrall() if one.gr_gid != status.st_gid)).differs(status)


def test_ids_are_minus_one_where_nothing_is_asked() -> None:
    assert ANY.ids() == (-1, -1)
    with pytest.raises(FileError):
        Ownership(group="no-group-by-this-name").ids()


def test_mode_is_set_on_a_file_and_a_directory_and_never_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    _files.set_ownership(str(tmp_path / "file"), Ownership(mode=0o640))
    _files.set_ownership(str(tmp_path), Ownership(mode=0o750))
    assert (mode(tmp_path / "file"), mode(tmp_path)) == (0o640, 0o750)
    with pytest.raises(FileError) as caught:
        _files.set_ownership(str(tmp_path / "link"), Ownership(mode=0o666))
    assert "is a symbolic link" in caught.value.message
    assert mode(tmp_path / "file") == 0o640


def test_ownership_of_a_missing_file_is_an_error_of_the_family(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        _files.set_ownership(str(tmp_path / "missing"), Ownership(mode=0o600))


# -- remove, back up, describe -----------------------------------------------------------------------------------------


def test_remove(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    assert _files.remove(str(path)) is True
    assert _files.remove(str(path)) is False
    assert _files.remove(str(path / "below")) is False
    with pytest.raises(FileError) as caught:
        _files.remove(str(tmp_path))
    assert caught.value.message.startswith(f"{tmp_path}: cannot be removed: ")


def test_backup_has_content_owner_and_mode_and_the_name_of_ansibles_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    copy = Path(_files.back_up(_files.read(str(path))))
    assert copy.read_bytes() == b"old"
    assert mode(copy) == 0o640
    assert copy.name.startswith(f"file.{os.getpid()}.")
    assert copy.name.endswith("~")


def test_backup_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(_files.time, "strftime", lambda *_args: "now~")
    first = Path(_files.back_up(_files.read(str(path))))
    path.write_bytes(b"new")
    with pytest.raises(FileError):
        _files.back_up(_files.read(str(path)))
    assert first.read_bytes() == b"old"


@pytest.mark.parametrize("function", ["open", "fchown", "fchmod", "fsync"])
def test_failed_backup_leaves_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    snapshot = _files.read(str(path))
    fail(monkeypatch, function)
    with pytest.raises(FileError) as caught:
        _files.back_up(snapshot)
    assert "the backup cannot be written" in caught.value.message
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["file"]


def test_backup_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        _files.back_up(_files.read(str(tmp_path / "missing")))


def test_description_of_each_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o604)
    (tmp_path / "link").symlink_to("file")
    shown = {name: _files.describe(_files.lstat(str(tmp_path / name))) for name in ("file", "link", ".", "missing")}
    assert shown["missing"] == {"state": "absent"}
    assert [shown[name]["state"] for name in ("file", "link", ".")] == ["file", "link", "directory"]
    assert shown["file"]["mode"] == "0604"
    assert shown["file"]["owner"] == pwd.getpwuid(os.geteuid()).pw_name


def test_owner_without_a_name_is_shown_by_number(tmp_path: Path) -> None:
    real = os.lstat(tmp_path)
    status = os.stat_result((real.st_mode, 0, 0, 1, 4_000_000_001, 4_000_000_002, 0, 0, 0, 0))
    assert _files.describe(status)["owner"] == "4000000001"
    assert _files.describe(status)["group"] == "4000000002"
