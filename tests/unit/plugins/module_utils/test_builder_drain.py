# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import pathlib
import stat
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_drain as draining
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_slots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import is_locked
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError

URI = "ssh-ng://builder@linux-builder"
SLOTS = ("ssh-ng:__builder@linux-builder-0", "ssh-ng:__builder@linux-builder-1")
OTHERS = ("main-lock", "ssh-ng:__builder@linux-builder.upload-lock", "ssh-ng:__other-0", "ssh-ng:__builder@linux-builder2-0")


class Time:
    """A clock that only sleeping moves; `after` is called when it is past `at`."""

    def __init__(self, at: float = 1e9, after: t.Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self.at = at
        self.after = after

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.at:
            self.at = 1e9
            self.after()

    def drain(self, directory: pathlib.Path, timeout: float = 100, force: bool = False, uri: str = URI) -> draining.Hold:
        machines = str(directory.parent / "machines")
        places = {"directory": str(directory), "machines": machines}
        return draining.drain(uri, timeout, force, **places, clock=lambda: self.now, sleep=self.sleep)


class Build:
    """Holds a slot as Nix' hook does."""

    def __init__(self, path: pathlib.Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def end(self) -> None:
        os.close(self.descriptor)


@pytest.fixture
def load(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory of locks; those of others are held."""
    for name in (*SLOTS, *OTHERS):
        (tmp_path / name).touch()
    return tmp_path


def test_only_this_builders_slots_count(load: pathlib.Path) -> None:
    builds = [Build(load / name) for name in OTHERS]
    time = Time()
    hold = time.drain(load)
    assert time.now == 0
    hold.release()
    for build in builds:
        build.end()


@pytest.mark.parametrize("name", ["ssh-ng:__builder@linux-builder?max-connections=4-0", "ssh-ng:__builder@linux-builder:31022-1"])
def test_a_uri_with_more_in_it_is_the_same_builder(tmp_path: pathlib.Path, name: str) -> None:
    assert _builder_slots.slots((URI,), str(tmp_path)) == []
    (tmp_path / name).touch()
    assert _builder_slots.slots((URI,), str(tmp_path)) == [name]


def test_a_build_is_waited_for(load: pathlib.Path) -> None:
    build = Build(load / SLOTS[1])
    assert _builder_slots.busy(URI, str(load)) == [SLOTS[1]]
    time = Time(5, build.end)
    time.drain(load).release()
    assert 5 <= time.now < 10


def test_after_the_time_it_is_an_error_and_nothing_is_held(load: pathlib.Path) -> None:
    build = Build(load / SLOTS[1])
    with pytest.raises(StateError, match=f"1 builds still run .*{SLOTS[1]}.* nothing was changed"):
        Time().drain(load, timeout=20)
    assert not is_locked(str(load / SLOTS[0]))
    build.end()


def test_force_waits_for_nobody(load: pathlib.Path) -> None:
    build = Build(load / SLOTS[0])
    time = Time()
    time.drain(load, force=True).release()
    assert time.now == 0
    build.end()


def test_while_it_is_held_no_build_finds_a_slot(load: pathlib.Path) -> None:
    hold = Time().drain(load)
    assert _builder_slots.busy(URI, str(load)) == list(SLOTS)
    hold.release()
    assert _builder_slots.busy(URI, str(load)) == []


def test_the_builds_of_the_form_of_the_manual_count(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ssh-ng:__builder@localhost-0").touch()
    build = Build(tmp_path / "ssh-ng:__builder@localhost-0")
    with pytest.raises(StateError, match="builds still run"):
        Time().drain(tmp_path, timeout=1, uri="ssh-ng://builder@localhost")
    build.end()


def test_a_mac_that_never_built_has_nothing_to_wait_for(tmp_path: pathlib.Path) -> None:
    Time().drain(tmp_path / "none").release()


ENTRY = f"# ours\nssh-ng://me@big x86_64-linux - 3\n{URI} aarch64-linux /key 2 1 kvm - -\n"


@pytest.mark.parametrize("there", [True, False], ids=["the directory is there", "Nix has never had a builder"])
def test_before_the_first_build_its_slots_are_made_as_nix_makes_them(tmp_path: pathlib.Path, there: bool) -> None:
    load = tmp_path / "current-load"
    if there:
        load.mkdir()
    (tmp_path / "machines").write_text(ENTRY)
    hold = Time().drain(load)
    assert sorted(path.name for path in load.iterdir()) == list(SLOTS)
    assert _builder_slots.busy(URI, str(load)) == list(SLOTS)
    for name in SLOTS:
        status = (load / name).lstat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_size) == (0o600, os.geteuid(), 0)
    hold.release()
    assert _builder_slots.busy(URI, str(load)) == []


def test_a_slot_that_a_build_has_is_not_made_anew(load: pathlib.Path) -> None:
    (load.parent / "machines").write_text(ENTRY)
    build = Build(load / SLOTS[0])
    with pytest.raises(StateError, match=f"1 builds still run .*{SLOTS[0]}"):
        Time().drain(load, timeout=5)
    build.end()


def test_no_slot_is_made_where_nix_hook_is_another_users(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machines").write_text(ENTRY)
    (tmp_path / "current-load").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    Time().drain(tmp_path / "current-load").release()
    Time().drain(tmp_path / "none").release()
    assert list((tmp_path / "current-load").iterdir()) == []
    assert not (tmp_path / "none").exists()


def test_slots_of_an_entry_with_parameters_are_made_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / "machines").write_text(f"{URI}?max-connections=4 aarch64-linux\n{URI}2 aarch64-linux - 9\n")
    load = tmp_path / "current-load"
    load.mkdir()
    Time().drain(load).release()
    assert [path.name for path in load.iterdir()] == ["ssh-ng:__builder@linux-builder?max-connections=4-0"]


def test_the_slots_of_lix_count(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ssh-ng:__builder@linux-builder-0a9bcdfghijklmnp-1").touch()
    build = Build(tmp_path / "ssh-ng:__builder@linux-builder-0a9bcdfghijklmnp-1")
    with pytest.raises(StateError, match="builds still run"):
        Time().drain(tmp_path, timeout=1)
    build.end()
