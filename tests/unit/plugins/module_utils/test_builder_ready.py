# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_answer
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_ready as ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, StateError

BOOT_ID = "0a1b2c3d-0000-4000-8000-0123456789ab"
YES = (0, f"{BOOT_ID}\ndaemon\n", "")
NO_DAEMON = (1, f"{BOOT_ID}\n", "")
REFUSED = (255, "", "ssh: connect to host 127.0.0.1 port 31022: Connection refused\r\n")
SILENT = (255, "", "Connection timed out during banner exchange\n")
KEY = (255, "", "builder@127.0.0.1: Permission denied (publickey,keyboard-interactive).\n")
WRONG = (
    255,
    "",
    "No ED25519 host key is known for linux-builder and you have requested strict checking.\nHost key verification failed.\n",
)
CHANGED = (
    255,
    "",
    "@@@@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@@@@@@\n"
    "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:yiZ0jSzga.\nHost key verification failed.\n",
)
LATE = None


class Mac(Runner):
    """Answers ssh in order (the last answer for ever) with a clock of its own; launchctl says what `job` is."""

    def __init__(self, *answers: tuple[int, str, str] | None, job: str | None = "\tstate = running\n\tpid = 5\n") -> None:
        super().__init__()
        self.answers = list(answers)
        self.job = job
        self.now = 0.0
        self.asked = 0
        self.pauses: list[float] = []

    def run(self, argv: t.Sequence[str], *, timeout: float, **_options: t.Any) -> Completed:
        if argv[0] == "/bin/launchctl":
            return (
                Completed(tuple(argv), 113, "", "")
                if self.job is None
                else Completed(tuple(argv), 0, f"x = {{\n{self.job}}}\n", "")
            )
        self.asked += 1
        self.now += 0.5
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            self.now += timeout
            raise CommandError("ssh: no end", timeout=timeout)
        return Completed(tuple(argv), *answer)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def guest(tmp_path: pathlib.Path) -> _builder_answer.Guest:
    return _builder_answer.Guest(
        Layout(f"{tmp_path}/wd", "/p", f"{tmp_path}/log", "org.example.builder"), "127.0.0.1", 31022, "/etc/nix/key"
    )


def wait(guest: _builder_answer.Guest, mac: Mac, timeout: float = 60) -> ready.Ready:
    return ready.wait_until_ready(guest, mac, timeout, clock=lambda: mac.now, sleep=mac.sleep)


def test_the_first_answer_of_guest_and_daemon_ends_the_wait(guest: _builder_answer.Guest) -> None:
    mac = Mac(YES)
    assert wait(guest, mac) == ready.Ready(BOOT_ID, 0.5)
    assert (mac.asked, mac.pauses) == (1, [])


def test_a_guest_that_boots_is_asked_until_its_daemon_answers(guest: _builder_answer.Guest) -> None:
    mac = Mac(REFUSED, SILENT, LATE, NO_DAEMON, YES)
    assert wait(guest, mac).boot_id == BOOT_ID
    assert mac.asked == 5


def test_every_question_is_authenticated_with_the_pinned_key(guest: _builder_answer.Guest) -> None:
    argv = _builder_answer.argv(guest)
    assert argv[0] == "/usr/bin/ssh"
    assert f"UserKnownHostsFile={guest.layout.known_hosts}" in argv
    assert "StrictHostKeyChecking=yes" in argv
    assert argv[argv.index("-i") + 1] == "/etc/nix/key"
    assert argv[argv.index("--") - 3 : argv.index("--")] == ["-p", "31022", "builder@127.0.0.1"]


@pytest.mark.parametrize("words", [WRONG, CHANGED])
def test_another_host_key_ends_the_wait_at_once_and_says_what_it_means(
    guest: _builder_answer.Guest, words: tuple[int, str, str]
) -> None:
    path = pathlib.Path(guest.layout.known_hosts)
    path.parent.mkdir()
    path.write_text("linux-builder ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb\n")
    mac = Mac(words)
    with pytest.raises(StateError, match="not the pinned host key SHA256:") as caught:
        wait(guest, mac)
    assert mac.asked == 1
    assert "public_host_key" in caught.value.message
    assert "@@" not in caught.value.message
    assert ("SHA256:yiZ0jSzga" in caught.value.message) == (words is CHANGED)


def test_a_refused_key_is_not_tried_often_because_sshd_counts(guest: _builder_answer.Guest) -> None:
    mac = Mac(KEY)
    with pytest.raises(StateError, match="refuses the client key") as caught:
        wait(guest, mac, timeout=3600)
    assert mac.asked == 3
    assert mac.pauses == [10.0, 10.0]
    assert "does not take the client key" in caught.value.message


def test_the_deadline_holds_and_the_message_shows_job_log_and_cause(guest: _builder_answer.Guest) -> None:
    pathlib.Path(guest.layout.log_path).write_text(
        "boot\nqemu-system-aarch64: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1:31022-:22'\n"
    )
    mac = Mac(REFUSED, job="\tstate = spawn scheduled\n\truns = 9\n\tlast exit code = 1\n")
    with pytest.raises(StateError) as caught:
        wait(guest, mac, timeout=20)
    assert mac.now <= 21
    message = caught.value.message
    assert "spawn scheduled, 9 runs, last exit code 1" in message
    assert "another program has the port: find it with `lsof -nP -iTCP:31022" in message
    assert "Could not set up host forwarding rule" in message
    assert caught.value.details["log"][-1].startswith("qemu-system-aarch64")


def test_a_job_that_is_not_loaded_is_the_cause(guest: _builder_answer.Guest) -> None:
    with pytest.raises(StateError, match="not loaded; start it with launchd_service"):
        wait(guest, Mac(REFUSED, job=None), timeout=5)


def test_a_daemon_that_does_not_answer_is_told_apart_from_ssh(guest: _builder_answer.Guest) -> None:
    with pytest.raises(StateError, match="guest's Nix daemon does not answer"):
        wait(guest, Mac(NO_DAEMON), timeout=5)


def test_what_the_guest_said_counts_more_than_a_question_that_the_deadline_cut_off(guest: _builder_answer.Guest) -> None:
    with pytest.raises(StateError, match="guest's Nix daemon does not answer"):
        wait(guest, Mac(NO_DAEMON, LATE), timeout=5)
    with pytest.raises(StateError, match="nothing answers ssh there"):
        wait(guest, Mac(NO_DAEMON, REFUSED, LATE), timeout=9)


def test_an_ssh_that_cannot_be_started_is_no_slow_guest(guest: _builder_answer.Guest) -> None:
    class NoSsh(Mac):
        def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
            raise CommandError("/usr/bin/ssh: cannot be started", command="/usr/bin/ssh")

    with pytest.raises(CommandError, match="cannot be started"):
        wait(guest, NoSsh(YES))


@settings(max_examples=50)
@given(st.integers(-15, 255), st.text(max_size=80), st.text(max_size=80))
def test_only_a_boot_id_and_the_daemons_word_count_as_ready(rc: int, out: str, err: str) -> None:
    answer = _builder_answer.judge(Completed(("ssh",), rc, out, err))
    assert answer.kind != "ready"
    assert _builder_answer.judge(Completed(("ssh",), 0, f"{BOOT_ID}\ndaemon\n", err)).kind == "ready"
