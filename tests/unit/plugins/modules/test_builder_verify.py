# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file: its arguments, how it leaves, and what Ansible gets to see."""

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose, _verified, _verify, _verify_run
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Result
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table import LINKS
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify import Verified
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_build import Proof
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target
from ansible_collections.nixmac.linux_builder.plugins.modules import builder_verify
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation

PROOF = Proof("aarch64-linux", 0.91234, "/nix/store/x", "/nix/store/x.drv", "Linux version 6", "id", "ssh-ng://b")
MORE = Proof("aarch64-linux", 2.0, "/nix/store/y", "/nix/store/y.drv", "Linux version 6", "id", "ssh-ng://b", features=("kvm",))
ENTRY = "ssh-ng://builder@linux-builder aarch64-linux,x86_64-linux /etc/nix/k 4 1 kvm,big-parallel gpu c3NoLWVk"


def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, **params: t.Any) -> tuple[int, dict[str, t.Any]]:
    params.setdefault("working_directory", str(tmp_path))
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        builder_verify.main()
    return int(caught.value.code or 0), json.loads(capsys.readouterr().out)


class Asked(t.NamedTuple):
    target: Target
    systems: list[str]
    timeout: float
    boot_timeout: float
    options: dict[str, t.Any]


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    asked: list[Asked] = []

    def verify(
        target: Target, systems: list[str], timeout: float, boot_timeout: float, _runner: Runner, **options: t.Any
    ) -> Verified:
        asked.append(Asked(target, systems, timeout, boot_timeout, options))
        return Verified([PROOF, MORE], "id", ["something stays"], {"mac": "2.26.3", "guest": "2.34.8"})

    def find_nix(_runner: Runner) -> t.Any:
        return types.SimpleNamespace(settings=lambda: {"builders": types.SimpleNamespace(value=ENTRY)})

    monkeypatch.setattr(_verify, "verify", verify)
    monkeypatch.setattr(_verify_run, "find_nix", find_nix)
    return asked


def test_a_proof_is_returned_and_is_no_change(asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, result = call(capsys, tmp_path, systems=["aarch64-linux"], features=["kvm"], public_host_key="aGU=", timeout=7)
    assert (code, result["changed"], result["verified"], result["boot_id"]) == (0, False, True, "id")
    assert result["builds"][0]["seconds"] == 0.912
    assert result["builds"][0]["builder"] == "ssh-ng://b"
    assert "something stays" in str(result["warnings"])
    assert asked[0].target == Target(
        uri="ssh-ng://builder@linux-builder",
        key="/etc/nix/builder_ed25519",
        public_host_key="aGU=",
        known_hosts=f"{tmp_path}/known_hosts",
    )
    assert asked[0][1:] == (["aarch64-linux"], 7, 120, {"features": ["kvm"], "mandatory": (), "user": None})


def test_what_is_left_out_is_the_entrys(asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call(capsys, tmp_path)[0] == 0
    assert asked[0].systems == ["aarch64-linux", "x86_64-linux"]
    assert asked[0].options == {"features": ["kvm", "big-parallel", "gpu"], "mandatory": ("gpu",), "user": None}
    assert asked[0].target.public_host_key == "c3NoLWVk"


def test_no_features_are_asked_for_when_the_list_is_empty(
    asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(capsys, tmp_path, features=[])[0] == 0
    assert asked[0].options["features"] == []


def test_a_verification_is_noted_down(asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = call(capsys, tmp_path, systems=["aarch64-linux"], features=["kvm"])[1]
    record = _verified.read(types.SimpleNamespace(working_directory=str(tmp_path)))
    assert result["recorded"] is True
    assert record is not None
    # The plain build's, not that of the one with features.
    assert record["seconds"] == {"aarch64-linux": 0.912}
    assert record["versions"] == {"mac": "2.26.3", "guest": "2.34.8"}
    assert record["features"] == ["kvm"]


def test_without_a_working_directory_there_is_no_record(
    asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, result = call(capsys, tmp_path, working_directory=str(tmp_path / "none"))
    assert (code, result["recorded"], list(tmp_path.iterdir())) == (0, False, [])


def test_check_mode_builds_nothing_and_says_so(asked: list[Asked], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, result = call(capsys, tmp_path, systems=["aarch64-linux"], _ansible_check_mode=True)
    assert (code, result["verified"], result["builds"], asked) == (0, False, [], [])
    assert list(tmp_path.iterdir()) == []


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*_arguments: t.Any, **_options: t.Any) -> Verified:
        raise StateError("ssh-ng://x: nothing was built", system="aarch64-linux")

    monkeypatch.setattr(_verify, "verify", verify)


def test_no_proof_is_a_failure_with_the_first_broken_link(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(monkeypatch)
    link = next(link for link in LINKS if link.name == "job")
    result_of = Result(link, "broken", link.cause("not_loaded"), "launchd does not know it", "`load it`")
    monkeypatch.setattr(_diagnose, "run", lambda _question, _runner: [Result(LINKS[0], "ok"), result_of])
    code, result = call(capsys, tmp_path, systems=["aarch64-linux"])
    assert (code, result["failed"], result["system"], result["broken"]) == (1, True, "aarch64-linux", "job")
    assert result["msg"] == (
        "ssh-ng://x: nothing was built First broken link: job: The job is not loaded into launchd "
        "(launchd does not know it). `load it`"
    )
    assert [one["state"] for one in result["links"]] == ["ok", "broken"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_diagnosis_a_failure_is_only_that(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(monkeypatch)
    code, result = call(capsys, tmp_path, systems=["aarch64-linux"], diagnose=0)
    assert (code, result["msg"]) == (1, "ssh-ng://x: nothing was built")
    assert "links" not in result


def test_defaults_and_documentation_agree() -> None:
    options = documentation.options(builder_verify)
    target = Target(uri="", key="")
    for name in ("alias", "host_address", "port", "label"):
        assert options[name]["default"] == getattr(target, name)
    assert options["log_path"]["default"] == target.log
