# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_delegation in its places: real files, a real Nix daemon, the stand-in's launchd. Run as root inside a stand-in."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _delegation, _manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Daemon, Options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.delegation_sample import SAMPLE

CONF = Path("/etc/nix/nix.conf")
MACHINES = Path("/etc/nix/machines")
ALIAS = Path(_manifest.ALIAS)
OWN = Path("/var/db/nixmac.linux_builder")
ALL = ["machines", "ssh_alias", "nix_conf", "nix_daemon"]
PARAMS: dict[str, t.Any] = {
    **SAMPLE,
    "ssh_alias": "Host linux-builder\n  Port 31022\n",
    "settings": {"builders-use-substitutes": True, "build-poll-interval": 7},
    "drain_timeout": 30,
}


@pytest.fixture(autouse=True)
def mac(tmp_path: Path) -> t.Iterator[None]:
    """A Mac that does not delegate yet, and as it was before afterwards."""
    kept = {path: path.read_bytes() if path.exists() else None for path in (CONF, MACHINES, ALIAS)}
    aside = tmp_path / "own"
    if OWN.exists():
        shutil.move(str(OWN), str(aside))
    for path in (MACHINES, ALIAS):
        path.unlink(missing_ok=True)
    Daemon(Options(force=True)).run(False)
    yield
    for path, content in kept.items():
        path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
    shutil.rmtree(OWN, ignore_errors=True)
    if aside.exists():
        shutil.move(str(aside), str(OWN))
    Daemon(Options(force=True)).run(False)


def run(check_mode: bool = False, **options: t.Any) -> Outcome:
    return _delegation.execute({**PARAMS, **options}, check_mode)


def pid() -> int | None:
    return Daemon(Options()).service().pid


def files() -> dict[Path, tuple[bytes, int] | None]:
    """Content and inode, which a file that is written anew does not keep."""
    return {path: (path.read_bytes(), path.stat().st_ino) if path.exists() else None for path in (CONF, MACHINES, ALIAS)}


def test_a_mac_delegates_after_one_run_and_the_second_changes_nothing() -> None:
    before = pid()
    done = run()
    assert (done.changed, done.result["changes"], done.result["restarted"]) == (True, ALL, True)
    assert done.result["entry"] in MACHINES.read_text()
    assert ALIAS.read_text() == PARAMS["ssh_alias"]
    assert "build-poll-interval = 7" in CONF.read_text()
    after = pid()
    assert after not in (before, None)
    there = files()
    again = run()
    assert (again.changed, again.result["changes"], again.before, again.after) == (False, [], "", "")
    assert (files(), pid()) == (there, after)


def test_check_mode_tells_all_of_it_and_does_nothing() -> None:
    there, daemon = files(), pid()
    told = run(check_mode=True)
    assert (files(), pid(), OWN.joinpath("manifest.json").exists()) == (there, daemon, False)
    done = run()
    assert told.result["changes"] == done.result["changes"] == ALL
    # What is said of the daemon differs: only now has its configuration changed.
    job = "# launchd job"
    assert [text.partition(job)[0] for text in (told.before, told.after)] == [
        text.partition(job)[0] for text in (done.before, done.after)
    ]
    assert "build-poll-interval = 7" in told.after


def test_one_other_setting_leaves_the_rest_alone() -> None:
    run()
    there = files()
    done = run(settings={**PARAMS["settings"], "build-poll-interval": 8})
    assert done.result["changes"] == ["nix_conf", "nix_daemon"]
    assert {path: files()[path] for path in (MACHINES, ALIAS)} == {path: there[path] for path in (MACHINES, ALIAS)}


def test_where_a_step_fails_the_next_run_does_the_rest() -> None:
    content, daemon = CONF.read_bytes(), pid()
    CONF.write_bytes(content + b"a line that Nix does not take\n")
    with pytest.raises(LinuxBuilderError, match=str(CONF)):
        run()
    # The entry is there; whether Nix reaches it could not be told any more.
    assert (MACHINES.exists(), ALIAS.exists(), pid()) == (True, False, daemon)
    CONF.write_bytes(content)
    done = run()
    assert (done.result["changes"], done.result["restarted"]) == (["ssh_alias", "nix_conf", "nix_daemon"], True)


def test_a_file_that_is_lost_comes_back(tmp_path: Path) -> None:
    run()
    os.unlink(ALIAS)
    assert run().result["changes"] == ["ssh_alias"]
    assert ALIAS.read_text() == PARAMS["ssh_alias"]
