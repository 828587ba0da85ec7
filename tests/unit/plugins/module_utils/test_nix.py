# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The `nix` command object, against recorded output."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix, _nix_note
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError


class FakeRunner(Runner):
    """Answers each call from a list and keeps what was asked."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    def run(self, argv: t.Sequence[str], **kwargs: t.Any) -> Completed:
        self.started += 1
        self.calls.append((list(argv), dict(kwargs.get("env") or {})))
        return Completed(tuple(argv), *self.answers.pop(0))


@pytest.mark.parametrize(
    ("line", "variant", "numbers"),
    [
        ("nix (Nix) 2.34.8", "upstream", (2, 34, 8)),
        ("nix-store (Nix) 2.26.3", "upstream", (2, 26, 3)),
        ("nix (Determinate Nix 3.11.3) 2.31.2", "determinate", (2, 31, 2)),
        ("nix (Determinate Nix 3.4.1) 2.28.2", "determinate", (2, 28, 2)),
        ("nix (Lix, like Nix) 2.92.0-dev-pre20250117-0d14c2b\nSystem type: aarch64-darwin", "lix", (2, 92, 0)),
        ("nix (Nix) 2.16.0pre20230512_916da45", "upstream", (2, 16, 0)),
        ("nix (Nix) 2.4", "upstream", (2, 4, 0)),
    ],
)
def test_first_line_of_version_names_variant_and_number(line: str, variant: str, numbers: tuple[int, int, int]) -> None:
    version = _nix.parse_version(line)
    assert (version.variant, version.numbers) == (variant, numbers)


@pytest.mark.parametrize("text", ["", "\n", "error: syntax error", "nix 2.3"])
def test_anything_else_is_an_error_not_a_guess(text: str) -> None:
    with pytest.raises(CommandError, match="no version of Nix"):
        _nix.parse_version(text)


def test_version_is_asked_once_and_with_an_empty_configuration() -> None:
    runner = FakeRunner((0, "nix (Nix) 2.26.3\n", ""))
    nix = _nix.Nix(runner, "/bin/nix")
    assert nix.version() == nix.version()
    assert runner.calls == [(["/bin/nix", "--version"], {"NIX_CONF_DIR": _nix.EMPTY_CONF_DIR, "NIX_USER_CONF_FILES": ""})]


def test_settings_carry_value_default_and_aliases() -> None:
    table = {"max-jobs": {"aliases": ["build-max-jobs"], "defaultValue": 1, "value": 7}}
    nix = _nix.Nix(FakeRunner((0, json.dumps(table), "warning: deprecated")), "/bin/nix")
    assert nix.settings("/x") == {"max-jobs": _nix.Setting("max-jobs", 7, 1, ("build-max-jobs",))}


def test_unreadable_configuration_carries_the_words_of_nix() -> None:
    nix = _nix.Nix(FakeRunner((1, "", "warning: w\nerror: illegal configuration line 'x' in 'y'\n")), "/bin/nix")
    with pytest.raises(CommandError, match="error: illegal configuration line 'x' in 'y'$"):
        nix.effective()


def test_crash_is_named_by_its_signal() -> None:
    assert _nix.complaint(Completed(("nix",), -11, "", "")) == "ended by signal 11"


@pytest.mark.parametrize(
    ("version", "answer", "expected"),
    [
        ("2.34.8", '{"trusted":true,"url":"ssh-ng://b","version":"2.34.8"}', _nix.Ping(True, "2.34.8", True, "")),
        ("2.26.3", '{"trusted":1,"url":"ssh-ng://","version":"2.34.8"}', _nix.Ping(True, "2.34.8", True, "")),
        ("2.26.3", '{"trusted":0,"url":"ssh-ng://","version":"2.34.8"}', _nix.Ping(True, "2.34.8", False, "")),
        ("2.26.3", '{"url":"ssh://b"}', _nix.Ping(True, None, None, "")),
        ("2.8.0", "", _nix.Ping(True, None, None, "")),
    ],
)
def test_answer_of_a_store_is_read_in_every_version(version: str, answer: str, expected: _nix.Ping) -> None:
    runner = FakeRunner((0, f"nix (Nix) {version}\n", ""), (0, answer, ""))
    assert _nix.Nix(runner, "/bin/nix").store_ping("ssh-ng://b", 5) == expected
    assert ("--json" in runner.calls[1][0]) == (version != "2.8.0")


def test_failed_ping_goes_by_the_exit_status() -> None:
    runner = FakeRunner((0, "nix (Nix) 2.34.8\n", ""), (1, '{"url":"ssh-ng://b"}', "Host key verification failed.\n"))
    assert _nix.Nix(runner, "/bin/nix").store_ping("ssh-ng://b", 5) == _nix.Ping(
        False, None, None, "Host key verification failed."
    )


def test_client_side_settings_are_not_the_daemons() -> None:
    assert _nix.daemon_settings({"bash-prompt": "x", "max-jobs": 3}) == {"max-jobs": 3}


# --- long work ---------------------------------------------------------------------------------------------------


class Streaming:
    """A runner whose program writes these lines to standard error; `run` is what happens when nobody is to be told."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.argv: list[str] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.argv = list(argv)
        return Completed(tuple(argv), 0, "[]", "plain")

    def stream(self, argv: t.Sequence[str], on_line: t.Callable[[str], None], **_options: t.Any) -> Completed:
        self.argv = list(argv)
        for line in self.lines:
            on_line(line)
        return Completed(tuple(argv), 1, "[]", "\n".join(self.lines))


BUILD = '@nix {"action":"start","id":1,"type":105,"fields":["/nix/store/x.drv","ssh-ng://builder@linux-builder",1,1]}'
ERROR = '@nix {"action":"msg","level":0,"msg":"\\u001b[31;1merror:\\u001b[0m it failed"}'


def test_long_work_is_told_and_its_words_are_plain() -> None:
    told: list[str] = []

    class Told:
        def phase(self, name: str) -> None:
            told.append(name)

        def detail(self, done: int, total: int, unit: str) -> None:
            told.append(unit)

    runner = Streaming(BUILD, ERROR)
    nix = _nix.Nix(t.cast(t.Any, runner), "nix")
    nix.progress = Told()
    done = nix.work(["build", "x"], timeout=5)
    assert runner.argv[-5:] == ["--log-format", "internal-json", "-v", "build", "x"]
    assert (done.rc, done.stdout, done.stderr) == (1, "[]", "error: it failed\n")
    assert told == ["build", "derivations"]
    assert nix.built == [("/nix/store/x.drv", "ssh-ng://builder@linux-builder")]


def test_who_watches_sees_messages_and_what_was_built_is_kept_when_he_stops_it() -> None:
    def watch(message: str) -> None:
        raise CommandError(message)

    nix = _nix.Nix(t.cast(t.Any, Streaming(BUILD, ERROR)), "nix")
    with pytest.raises(CommandError, match="^error: it failed$"):
        nix.work(["build", "x"], timeout=5, watch=watch)
    assert len(nix.built) == 1


def test_long_work_that_nobody_is_told_of_is_a_plain_command() -> None:
    runner = Streaming(BUILD)
    assert _nix.Nix(t.cast(t.Any, runner), "nix").work(["build", "x"], timeout=5).stderr == "plain"
    assert "internal-json" not in runner.argv


class Counted(Runner):
    """A Nix that says which it is, and counts."""

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.started += 1
        said = "nix (Nix) 2.26.3\n" if "--version" in argv else '{"cores": {"value": 0, "defaultValue": 0, "aliases": ["c"]}}'
        return Completed(tuple(argv), 0, said, "")


def test_what_an_executable_always_says_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(_nix_note, "PATH", str(tmp_path / "db" / "answers.json"))
    program = tmp_path / "nix"
    program.write_text("")
    runner = Counted()
    nix = _nix.Nix(runner, str(program))
    assert (nix.version().short, nix.bare()["cores"].aliases, nix.version().short) == ("2.26.3", ("c",), "2.26.3")
    assert (runner.started, nix.noted(["version"])) == (2, False)
    nix.note()
    other = _nix.Nix(runner, str(program))
    assert (other.version(), other.bare()) == (nix.version(), nix.bare())
    assert (runner.started, other.noted(["version", "bare"]), other.noted(["version", "table"])) == (2, True, False)
    program.write_text("an upgrade")
    assert _nix.Nix(runner, str(program)).version().short == "2.26.3"
    assert runner.started == 3
    # A link to it is the same one; a Nix that is not there is none.
    (tmp_path / "link").symlink_to(program)
    assert _nix_note.identity(str(tmp_path / "link")) == _nix_note.identity(str(program))
    assert _nix_note.identity(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 99}', '{"format": 1, "nix": 7}', '{"format": 1, "nix": {}}']
)
def test_a_damaged_note_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, content: str) -> None:
    monkeypatch.setattr(_nix_note, "PATH", str(tmp_path / "answers.json"))
    (tmp_path / "answers.json").write_text(content)
    assert _nix_note.read("nix", [1]) == {}
    _nix_note.write("nix", [1], {"version": "x"})
    assert _nix_note.read("nix", [1]) == {"version": "x"}
    assert (tmp_path / "answers.json").stat().st_mode & 0o777 == 0o600
    _nix_note.forget()
    assert _nix_note.read("nix", [1]) == {}
