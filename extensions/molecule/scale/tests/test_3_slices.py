# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet in slices, each run by a worker of ansible-runner, and one report of all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import macs
import pytest
import scale

# A worker of its own: another working directory and environment than the controller's; what it gets comes over its input.
WORKER = f"cd / && exec env -i PATH={scale.ENGINES}/bin:/usr/bin:/bin HOME=$HOME ansible-runner worker"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with the collection in it, as a user has it."""
    folder = tmp_path_factory.mktemp("fleet") / "fleet"
    shutil.copytree(scale.EXAMPLE, folder)
    shutil.copytree(scale.INSTALLED, folder / "collections")
    return folder


def rows(directory: Path) -> dict[str, str]:
    """Name -> state in the fleet's one report."""
    report = json.loads((directory / "linux-builder-status" / "fleet.json").read_text())
    return {mac["name"]: mac["state"] for mac in report["macs"]}


def slices(folder: Path, directory: Path, *workers: str) -> macs.Played:
    """One run over both Macs; the collection is the folder's own."""
    unset = ["env", "--unset=ANSIBLE_COLLECTIONS_PATH"]
    return scale.run([*unset, str(folder / "slices.sh"), str(macs.INVENTORY), str(directory), *workers])


def test_two_workers_do_a_half_each_and_the_report_is_one(folder: Path, tmp_path: Path) -> None:
    played = slices(folder, tmp_path, WORKER, WORKER)
    logs = "".join(log.read_text()[-3000:] for log in sorted(tmp_path.glob("slice-*/*.log")))
    assert played.rc == 0, played.output + logs
    assert rows(tmp_path) == {scale.FIRST: "ready", scale.SECOND: "ready"}
    for number, name in ((1, scale.FIRST), (2, scale.SECOND)):
        done = (tmp_path / f"slice-{number}" / "site.yml.log").read_text()
        assert f"{name}: x86_64-linux built in " in done
        assert done.count("changed=0") == 1, "the other Mac is the other worker's"


def test_a_lost_worker_is_told_and_the_others_report_stays(folder: Path, tmp_path: Path) -> None:
    played = slices(folder, tmp_path, WORKER, "exit 255")
    assert played.rc != 0
    assert played.says("slice-2: not every Mac is as wanted")
    assert not played.says("slice-1: not")
    assert rows(tmp_path) == {scale.FIRST: "ready", scale.SECOND: "unreachable"}
