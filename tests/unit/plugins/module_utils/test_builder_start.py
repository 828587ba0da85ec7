# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_vm with state: started, on the Mac of `builder_world`."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_journal, _builder_start
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.builder_world import (
    HOST_KEY,
    Killed,
    World,
    own_files,
)

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


class Mac(World):
    """What is started as it is has no journal: nothing changes that could be half done."""

    @contextlib.contextmanager
    def step(self, name: str, phases: t.Collection[str] = ()) -> t.Iterator[None]:
        with super().step(name):
            yield

    def start(self, check_mode: bool = False, **changes: t.Any) -> Outcome:
        """One run of state=started."""
        self.steps.clear()
        params = {
            "working_directory": self.layout.working_directory,
            "profile": self.layout.profile,
            "log_path": self.layout.log_path,
            "label": self.layout.label,
            "client_key": f"{self.root}/key",
            "public_host_key": HOST_KEY,
            "host_address": "127.0.0.1",
            "port": 1,
            "timeout": 60,
        }
        return _builder_start.execute({**params, **changes}, self.tools(), check_mode)

    def bootout(self) -> None:
        """The job is taken out of launchd, as state=stopped does."""
        self.service = self.vm = self.loaded = None


@pytest.fixture(name="mac")
def fixture_mac(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """A Mac whose builder was stopped."""
    own_files(monkeypatch, tmp_path)
    mac = Mac(tmp_path)
    mac.change()
    mac.bootout()
    return mac


def test_a_stopped_builder_runs_again_as_it_was_and_nothing_is_built(mac: Mac) -> None:
    mac.revision = "2"  # what a build would give by now
    told = mac.start(check_mode=True)
    assert (told.changed, told.result["port"], mac.vm) == (True, 31022, None)
    assert (told.before, told.after) == ("VM: not loaded\n", "VM: loaded\n")
    done = mac.start()
    assert (done.changed, done.result["ready"], done.result["boot_id"]) == (True, True, "boot-2")
    assert mac.steps == ["write plist", "start", "ready"]
    assert mac.serves() == "1"
    again = mac.start()
    assert (again.changed, again.result["ready"], mac.steps) == (False, False, [])


def test_the_keys_are_those_of_now(mac: Mac) -> None:
    """A rotation was killed after it had made them."""
    (mac.root / "key.pub").write_text("ssh-ed25519 AAAA new\n")
    mac.start(public_host_key=OTHER_KEY)
    assert (pathlib.Path(mac.layout.keys) / "builder_ed25519.pub").read_text() == "ssh-ed25519 AAAA new\n"
    assert OTHER_KEY in pathlib.Path(mac.layout.known_hosts).read_text()


def test_without_a_builder_there_is_nothing_to_start(tmp_path: pathlib.Path) -> None:
    mac = Mac(tmp_path)
    done = mac.start()
    assert (done.changed, done.result["store_path"], done.result["port"], mac.steps) == (False, None, None, [])


@pytest.mark.parametrize("gone", ["plist", "closure", "record"])
def test_what_is_not_whole_is_left_to_a_change(mac: Mac, gone: str) -> None:
    path = {
        "plist": mac.root / "daemons" / f"{mac.layout.label}.plist",
        "closure": mac.root / "vm-1-31022",
        "record": pathlib.Path(mac.layout.record),
    }[gone]
    path.rename(path.with_name("moved"))
    assert not mac.start().changed


def test_a_change_that_was_killed_is_not_started_half_done(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_argv: t.Sequence[str]) -> tuple[int, str, str]:
        raise Killed

    mac.start()
    mac.revision = "2"
    with monkeypatch.context() as patch:
        patch.setattr(mac, "do_profile", killed)
        with pytest.raises(Killed):
            mac.change()
    journal = _builder_journal.read(mac.layout)
    assert journal is not None
    assert (journal.phase, mac.service) == ("switch", None)
    assert not mac.start().changed
    mac.change()
    assert mac.serves() == "2"
