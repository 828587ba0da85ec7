# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file: its arguments, how it leaves, and what Ansible gets to see."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify import Proof, Verified
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target
from ansible_collections.nixmac.linux_builder.plugins.modules import builder_verify

PROOF = Proof("aarch64-linux", 0.91234, "/nix/store/x", "/nix/store/x.drv", "Linux version 6", "id", "ssh-ng://b")


def call(capsys: pytest.CaptureFixture[str], **params: t.Any) -> tuple[int, dict[str, t.Any]]:
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        builder_verify.main()
    return int(caught.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Target, list[str], float]]:
    asked: list[tuple[Target, list[str], float]] = []

    def verify(target: Target, systems: list[str], timeout: float, boot_timeout: float) -> Verified:
        assert boot_timeout == 120
        asked.append((target, systems, timeout))
        return Verified([PROOF], "id", ["something stays"])

    monkeypatch.setattr(builder_verify, "verify", verify)
    return asked


def test_a_proof_is_returned_and_is_no_change(asked: list[t.Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, result = call(capsys, systems=["aarch64-linux"], timeout=7)
    assert (code, result["changed"], result["verified"], result["boot_id"]) == (0, False, True, "id")
    assert result["builds"][0]["seconds"] == 0.912
    assert result["builds"][0]["builder"] == "ssh-ng://b"
    assert result["warnings"] == ["something stays"] or "something stays" in str(result["warnings"])
    target, systems, timeout = asked[0]
    assert (systems, timeout) == (["aarch64-linux"], 7)
    assert target == Target(uri="ssh-ng://builder@linux-builder", key="/etc/nix/builder_ed25519")


def test_check_mode_builds_nothing_and_says_so(asked: list[t.Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, result = call(capsys, systems=["aarch64-linux"], _ansible_check_mode=True)
    assert (code, result["verified"], result["builds"], asked) == (0, False, [], [])


def test_no_proof_is_a_failure_with_its_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def verify(*_arguments: t.Any) -> Verified:
        raise StateError("ssh-ng://x: nothing was built", system="aarch64-linux")

    monkeypatch.setattr(builder_verify, "verify", verify)
    code, result = call(capsys, systems=["aarch64-linux"])
    assert (code, result["failed"], result["system"]) == (1, True, "aarch64-linux")
    assert "nothing was built" in result["msg"]


def test_defaults_and_documentation_agree() -> None:
    options = yaml.safe_load(builder_verify.DOCUMENTATION)["options"]
    target = Target(uri="", key="")
    for name in ("alias", "host_address", "port", "label"):
        assert options[name]["default"] == getattr(target, name)
