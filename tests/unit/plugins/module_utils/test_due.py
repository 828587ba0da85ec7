# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a role may not be left out on a Mac where its plan is empty."""

from __future__ import annotations

import os

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _due, _manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import Decision

READY = (0, "0a1b2c3d-0000-4000-8000-0123456789ab\ndaemon\n", "")
BOOTING = (255, "", "ssh: connect to host 127.0.0.1 port 31022: Connection refused")


class Ssh(Runner):
    """A Mac whose ssh says the same each time."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.argv = []

    def run(self, argv, **_options):
        self.argv.append(list(argv))
        return Completed(tuple(argv), *self.answer)


@pytest.fixture(autouse=True)
def manifest(monkeypatch, tmp_path):
    monkeypatch.setattr(_manifest, "DIRECTORY", str(tmp_path / "manifest"))
    return _manifest.Manifest(root=str(tmp_path))


@pytest.fixture
def options(tmp_path):
    return {
        "working_directory": str(tmp_path / "lib" / "builder"),
        "profile": str(tmp_path / "profile"),
        "log_path": str(tmp_path / "log"),
        "label": "org.example.builder",
        "host_address": "127.0.0.1",
        "port": 31022,
        "client_key": "/etc/nix/builder_ed25519",
        "update": False,
    }


def claim(manifest, options):
    others = (options["profile"], options["log_path"], "/etc/newsyslog.d/org.example.builder.conf")
    manifest.claim_tree("builder", options["working_directory"], others)


def test_the_builder_that_answers_has_nothing_to_do(manifest, options):
    claim(manifest, options)
    mac = Ssh(READY)
    assert _due.builder(options, mac) == ""
    assert len(mac.argv) == 1


def test_what_a_role_does_without_changing_anything(manifest, options):
    assert "not in the manifest of the part builder" in _due.builder(options, Ssh(READY))
    claim(manifest, options)
    assert _due.builder(options, Ssh(BOOTING)) == "the VM is not ready (booting)"
    assert _due.builder({**options, "update": True}, Ssh(READY)) == "package_update asks for the newest revision"


@pytest.mark.parametrize("name", ["change.json", "staged"])
def test_what_an_earlier_run_left(manifest, options, name):
    claim(manifest, options)
    layout = _due.layout_from(options)
    path = {"change.json": layout.journal, "staged": layout.staged}[name]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink("/nowhere", path)
    assert _due.builder(options, Ssh(READY)) == f"{path}: an earlier run did not end"


def test_files_that_teardown_does_not_know(manifest, tmp_path):
    path = str(tmp_path / "machines")
    assert _due.unclaimed("delegation", (path,)) == f"{path}: not in the manifest of the part delegation"
    manifest.claim("delegation", {path: None})
    assert _due.unclaimed("delegation", (path,)) == ""
    (tmp_path / "manifest" / "manifest.json").write_text("{")
    assert _due.unclaimed("delegation", (path,)), "a manifest that cannot be read knows nothing"


@pytest.mark.parametrize(
    ("alive", "noted", "due"),
    [
        (True, True, ""),
        (True, False, "it is not noted what the Nix daemon started with"),
        (False, False, "the Nix daemon does not run"),
    ],
)
def test_the_nix_daemon(alive, noted, due):
    assert _due.daemon(Report("x", Decision(False, ""), alive=alive, noted=noted)) == due
