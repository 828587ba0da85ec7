# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module file: its arguments, how it leaves, and what Ansible gets to see."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.modules import ssh_host_key
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.modules import documentation


@pytest.fixture(autouse=True)
def _no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(_self: SshKeygen, path: str, key_type: str, bits: int, comment: str) -> None:
        Path(path).write_text(keys.ed25519(6, comment))

    monkeypatch.setattr(SshKeygen, "generate", generate)


def call(capsys: pytest.CaptureFixture[str], **params: t.Any) -> tuple[int, dict[str, t.Any], str]:
    """(exit status, result, everything that was printed)."""
    with patch_module_args(params), pytest.raises(SystemExit) as caught:
        ssh_host_key.main()
    output = capsys.readouterr()
    return int(caught.value.code or 0), json.loads(output.out), output.out + output.err


def test_new_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _text = call(capsys, path=str(tmp_path / "key"), comment="builder@localhost", host="linux-builder")
    assert code == 0
    assert result["changed"] is True
    assert result["public_key"].endswith(" builder@localhost")
    assert result["known_hosts_line"].startswith("linux-builder ssh-ed25519 ")
    assert "diff" not in result
    again = call(capsys, path=str(tmp_path / "key"))[1]
    assert again["changed"] is False
    assert again["fingerprint"] == result["fingerprint"]


def test_check_mode_with_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = {"path": str(tmp_path / "key"), "_ansible_check_mode": True, "_ansible_diff": True}
    code, result, _text = call(capsys, **params)
    assert code == 0
    assert result["changed"] is True
    assert result["diff"]["before"] == "private: absent\npublic: absent\n"
    assert "ed25519 256 (new key)" in result["diff"]["after"]
    assert not (tmp_path / "key").exists()


def test_refusal_is_a_failure_with_a_message_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").mkdir()
    code, result, text = call(capsys, path=str(tmp_path / "key"))
    assert code == 1
    assert result["failed"] is True
    assert result["msg"].startswith(f"{tmp_path}/key: is a directory")
    assert "Traceback" not in text


@pytest.mark.parametrize("spoil", [lambda text: text, lambda text: text[:250]])
def test_given_key_shows_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: t.Callable[[str], str]) -> None:
    given = spoil(keys.ed25519(3))
    _code, result, text = call(capsys, path=str(tmp_path / "key"), private_key=given, _ansible_diff=True)
    assert result["invocation"]["module_args"]["private_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    for line in given.split("\n")[1:-2]:
        assert line not in text


def test_given_key_is_kept_from_the_system_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, message, log_args=None: logged.append(f"{message} {log_args}"))
    call(capsys, path=str(tmp_path / "key"), private_key=keys.ed25519(3))
    assert logged
    assert not any("PRIVATE KEY" in entry for entry in logged)


def test_loose_mode_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, path=str(tmp_path / "key"))
    (tmp_path / "key").chmod(0o644)
    result = call(capsys, path=str(tmp_path / "key"))[1]
    assert "others may have read it" in json.dumps(result["warnings"])


@pytest.mark.parametrize("params", [{}, {"path": "/x", "state": "generated"}, {"path": "/x", "type": "dsa"}])
def test_arguments_that_ansible_refuses(capsys: pytest.CaptureFixture[str], params: dict[str, t.Any]) -> None:
    assert call(capsys, **params)[0] == 1


def test_documented_options_and_return_values_are_those_of_the_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documented = set(yaml.safe_load(ssh_host_key.RETURN))
    result = call(capsys, path=str(tmp_path / "key"), _ansible_check_mode=True)[1]
    assert documented == set(result) - {"changed", "invocation", "warnings"}
    options = documentation.options(ssh_host_key)
    assert set(options) == set(result["invocation"]["module_args"])
