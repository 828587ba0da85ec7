# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options, return values and the one program that ssh_host_key starts."""

from __future__ import annotations

import base64
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_apply import ensure
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_look import Report
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys

PARAMS = keys.PARAMS


class KeygenRunner(Runner):
    """Plays ssh-keygen: writes a text to the path after -f, and keeps what was asked."""

    def __init__(self, text: str = keys.ed25519(4, "new"), rc: int = 0, stderr: str = "") -> None:
        super().__init__()
        self.text, self.rc, self.stderr = text, rc, stderr
        self.calls: list[list[str]] = []
        self.directory_mode = 0

    def run(self, argv: t.Sequence[str], **kwargs: t.Any) -> Completed:
        self.started += 1
        self.calls.append(list(argv))
        path = Path(argv[-1])
        self.directory_mode = stat.S_IMODE(path.parent.stat().st_mode)
        if self.rc == 0:
            path.write_text(self.text)
        return Completed(tuple(argv), self.rc, "", self.stderr)


def keygen(runner: Runner) -> SshKeygen:
    return SshKeygen(runner, "/bin/sh")  # any program that can be executed: the runner never starts it


def run(path: Path, runner: Runner | None = None, check: bool = False, **params: t.Any) -> Report:
    return ensure({**PARAMS, "path": str(path), **params}, check, keygen(runner or KeygenRunner()))


def test_new_pair_is_generated_by_one_process_in_a_private_directory(tmp_path: Path) -> None:
    runner = KeygenRunner()
    report = run(tmp_path / "key", runner, comment="builder@localhost")
    assert report.changed
    generated = str(tmp_path / ".key.pair" / "generated")
    assert runner.calls == [["/bin/sh", "-q", "-t", "ed25519", "-N", "", "-C", "builder@localhost", "-f", generated]]
    assert runner.directory_mode == 0o700
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "key.pub").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"type": "ecdsa"}, keys.ecdsa("nistp256"), ["-t", "ecdsa", "-b", "256"]),
        ({"type": "ecdsa", "size": 521}, keys.ecdsa("nistp521"), ["-t", "ecdsa", "-b", "521"]),
        ({"type": "rsa"}, keys.rsa(3072), ["-t", "rsa", "-b", "3072"]),
    ],
)
def test_type_and_size_reach_the_program(tmp_path: Path, options: dict[str, t.Any], text: str, expected: list[str]) -> None:
    runner = KeygenRunner(text)
    report = run(tmp_path / "key", runner, **options)
    assert runner.calls[0][2:6] == expected
    assert report.result["type"] == options["type"]
    assert not run(tmp_path / "key", runner, **options).changed


@pytest.mark.parametrize("text", [keys.ed25519(1), keys.ecdsa(), keys.rsa(), keys.armour("RSA PRIVATE KEY", keys.rsa_der())])
def test_run_without_change_starts_no_process(tmp_path: Path, text: str) -> None:
    runner = KeygenRunner()
    assert run(tmp_path / "key", runner, private_key=text).changed
    for _again in range(2):
        assert not run(tmp_path / "key", runner).changed
        assert not run(tmp_path / "key", runner, private_key=text).changed
        assert not run(tmp_path / "key", runner, check=True).changed
    assert runner.started == 0


def test_return_values_are_every_public_form(tmp_path: Path) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEy1q/atefv1q7zK/MJp2FzSZR7UuIW1hp8kGu3wpbop"
    result = run(tmp_path / "key", private_key=keys.ed25519(1, "one two"), host="[localhost]:31022").result
    assert result == {
        "path": str(tmp_path / "key"),
        "type": "ed25519",
        "bits": 256,
        "public_key": f"{line} one two",
        "public_key_base64": base64.b64encode(f"{line} one two\n".encode()).decode(),
        "fingerprint": "SHA256:mXhe4VT8IZgX1fUCWPH5SZ3xupG1AvwouipH1zOKCA0",
        "known_hosts_line": f"[localhost]:31022 {line}",
        "backup_files": [],
    }
    assert (tmp_path / "key.pub").read_text() == f"{line} one two\n"


def test_check_mode_knows_the_public_half_of_a_given_key_and_not_that_of_a_new_one(tmp_path: Path) -> None:
    assert run(tmp_path / "key", check=True).result["public_key"] is None
    assert run(tmp_path / "key", check=True, private_key=keys.ed25519(1)).result["public_key"].startswith("ssh-ed25519 ")
    assert os.listdir(tmp_path) == []


def test_check_mode_and_diff_say_what_the_real_run_does(tmp_path: Path) -> None:
    given = keys.ed25519(1)
    predicted = run(tmp_path / "key", check=True, private_key=given)
    real = run(tmp_path / "key", private_key=given)
    assert (predicted.changed, predicted.before, predicted.after, predicted.result) == (
        real.changed,
        real.before,
        real.after,
        real.result,
    )
    again = run(tmp_path / "key", private_key=given)
    assert again.before == again.after == real.after


@pytest.mark.parametrize("spoil", [lambda text: text, lambda text: text.rstrip("\n"), lambda text: text.replace("\n", "\r\n")])
def test_given_key_is_installed_in_the_form_that_ssh_reads(tmp_path: Path, spoil: t.Callable[[str], str]) -> None:
    text = keys.ed25519(5)
    run(tmp_path / "key", private_key=spoil(text))
    assert (tmp_path / "key").read_text() == text


def test_no_secret_in_results_diff_warnings_or_arguments(tmp_path: Path) -> None:
    secret = keys.ed25519(1).split("\n")[3]
    runner = KeygenRunner()
    path = tmp_path / "key"
    reports = [
        run(path, runner, private_key=keys.ed25519(1)),
        run(path, runner, check=True, regenerate="always"),
        run(path, runner, regenerate="always"),
        run(path, runner, state="absent", backup=True),
    ]
    assert secret not in repr(reports)
    assert secret not in repr(runner.calls)
    assert "PRIVATE KEY" not in repr(reports)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"path": "relative"}, "absolute path"),
        ({"path": "/etc/nix/key.pub"}, "without .pub"),
        ({"path": "/etc/nix/"}, "absolute path"),
        ({"comment": "two\nlines"}, "one line"),
        ({"comment": " blank"}, "one line"),
        ({"mode": "0640"}, "ssh ignores"),
        ({"mode": 600}, "ssh ignores"),
        ({"mode": "u=rw"}, "ssh ignores"),
        ({"mode": None}, "ssh ignores"),
        ({"size": 1024, "type": "rsa"}, "3072 to 16384"),
        ({"host": ""}, "known_hosts"),
        ({"host": "two names"}, "known_hosts"),
        ({"host": "@cert-authority"}, "known_hosts"),
        ({"private_key": ""}, "private_key"),
        ({"private_key": "ключ"}, "private_key"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, params: dict[str, t.Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ensure({**PARAMS, "path": str(tmp_path / "key"), **params}, False, keygen(KeygenRunner()))
    assert words in caught.value.message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["0600", "600", 0o600, "0400", "0o400"])
def test_modes_of_a_private_key(tmp_path: Path, mode: t.Any) -> None:
    run(tmp_path / "key", mode=mode)
    expected = mode if isinstance(mode, int) else int(mode, 8)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == expected
    assert not run(tmp_path / "key", mode=mode).changed


@pytest.mark.parametrize("option", ["owner", "group"])
def test_unknown_owner_is_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(FileError) as caught:
        run(tmp_path / "key", **{option: "nobody-by-this-name"})
    assert "nobody-by-this-name" in caught.value.message


def test_absent_ignores_the_given_key(tmp_path: Path) -> None:
    run(tmp_path / "key", private_key=keys.ed25519(1))
    report = run(tmp_path / "key", state="absent", private_key="junk")
    assert report.changed
    assert report.result["public_key"] is None
    assert os.listdir(tmp_path) == []


def test_program_that_fails_is_quoted_and_the_old_pair_stays(tmp_path: Path) -> None:
    run(tmp_path / "key", private_key=keys.ed25519(1))
    with pytest.raises(CommandError) as caught:
        run(tmp_path / "key", KeygenRunner(rc=255, stderr="no entropy"), regenerate="always")
    assert "no entropy" in caught.value.message
    assert (tmp_path / "key").read_text() == keys.ed25519(1)
    assert sorted(os.listdir(tmp_path)) == ["key", "key.pub"]


@pytest.mark.parametrize("text", ["", "junk", keys.ecdsa(), keys.encrypted()])
def test_program_that_makes_something_else_changes_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(StateError) as caught:
        run(tmp_path / "key", KeygenRunner(text))
    assert "Nothing was changed" in caught.value.message
    assert os.listdir(tmp_path) == []


def test_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        ensure({**PARAMS, "path": str(tmp_path / "key")}, False, SshKeygen(Runner(), "/nonexistent/ssh-keygen"))
    assert "/nonexistent/ssh-keygen" in caught.value.message
    assert os.listdir(tmp_path) == []


def test_tightening_comes_before_anything_else(tmp_path: Path) -> None:
    run(tmp_path / "key", private_key=keys.ed25519(1))
    (tmp_path / "key").chmod(0o666)
    report = run(tmp_path / "key", check=True)
    assert report.changed
    assert "0666" in report.before
    assert "others may have read it" in report.warnings[0]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o666
    run(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert run(tmp_path / "key").warnings == []
