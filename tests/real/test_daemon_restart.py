# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_daemon against the stand-in's launchd and a real Nix daemon. Run as root inside a stand-in."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner, clean_environment
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Daemon, Options, Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import CURRENT_LOAD
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix

CONF = Path("/etc/nix/nix.conf")
USER = "alice"


@pytest.fixture(name="record", autouse=True)
def fixture_record(tmp_path: Path) -> t.Iterator[str]:
    """A daemon that runs with the configuration on disk, before and after; returns a path for the record."""
    content = CONF.read_bytes()
    record = str(tmp_path / "db/daemon.json")
    Daemon(Options(record=record, force=True)).run(False)
    yield record
    CONF.write_bytes(content)
    Daemon(Options(record=record, force=True)).run(False)


def run(record: str, check_mode: bool = False, **options: t.Any) -> Report:
    options.setdefault("drain_timeout", 2)
    return Daemon(Options(record=record, **options)).run(check_mode)


def edit(line: str) -> None:
    CONF.write_text(CONF.read_text() + line + "\n")


def pid() -> int | None:
    return Daemon(Options()).service().pid


def trusted() -> bool:
    """Whether the running daemon trusts an ordinary user: only the process that read the line says yes."""
    nix = find_nix().path
    account = pwd.getpwnam(USER)

    def become() -> None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    argv = [nix, "--extra-experimental-features", "nix-command", "store", "ping", "--store", "daemon", "--json"]
    done = subprocess.run(
        argv, preexec_fn=become, env=clean_environment({"HOME": account.pw_dir}), stdout=subprocess.PIPE, check=True
    )
    return bool(json.loads(done.stdout)["trusted"])


class Build:
    """A build by this Mac's daemon that takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        nix_build = os.path.join(os.path.dirname(find_nix().path), "nix-build")
        name = f"slow-{time.time_ns()}"
        text = (
            f'derivation {{ name = "{name}"; system = builtins.currentSystem; builder = "/bin/sh"; '
            f'args = [ "-c" "/bin/sleep {seconds}; echo done > $out" ]; allowSubstitutes = false; }}'
        )
        argv = [nix_build, "--no-out-link", "--max-jobs", "1", "-E", text]
        self.process = subprocess.Popen(
            argv, env=clean_environment({"NIX_REMOTE": "daemon"}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if line.startswith("building "):
                return
        raise AssertionError("".join(lines))

    def end(self) -> tuple[int, str]:
        out, _err = self.process.communicate(timeout=60)
        return self.process.returncode, out.strip()


def test_a_daemon_that_is_current_stays(record: str) -> None:
    before = pid()
    report = run(record)
    assert not report.decision.required
    assert pid() == before


def test_a_new_setting_is_in_force_after_the_restart_and_only_one_is_made(record: str) -> None:
    assert not trusted()
    edit(f"extra-trusted-users = {USER}")
    assert not trusted()
    report = run(record)
    assert report.restarted
    assert "trusted-users" in report.decision.reason
    assert trusted()
    after = pid()
    assert not run(record).restarted
    assert pid() == after


def test_a_change_of_an_earlier_run_that_was_cut_off_is_picked_up(record: str) -> None:
    edit("cores = 3")
    before = pid()
    # No task of this run changed anything; and even the record may be lost.
    os.unlink(record)
    assert run(record).restarted
    assert pid() != before


def test_a_module_that_is_killed_while_it_waits_is_picked_up_by_the_next(record: str) -> None:
    build = Build(6)
    edit("cores = 4")
    code = (
        "import sys\n"
        "from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Daemon, Options\n"
        "print('waiting', flush=True)\n"
        "Daemon(Options(record=sys.argv[1], drain_timeout=60)).run(False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, record], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert build.end()[0] == 0
    assert run(record).restarted


def test_a_comment_restarts_nothing(record: str) -> None:
    edit("# a remark")
    assert not run(record).decision.required


def test_a_setting_of_the_client_restarts_nothing(record: str) -> None:
    edit("warn-dirty = false")
    assert not run(record).decision.required


def test_a_file_that_is_included_counts(record: str, tmp_path: Path) -> None:
    extra = tmp_path / "extra.conf"
    edit(f"!include {extra}")
    assert not run(record).decision.required
    extra.write_text("cores = 5\n")
    assert run(record).restarted
    extra.unlink()
    assert run(record).restarted


def test_a_broken_configuration_leaves_the_running_daemon_alone(record: str) -> None:
    before = pid()
    edit("cores=3")
    with pytest.raises(CommandError, match="cores=3"):
        run(record)
    assert pid() == before


def test_check_mode_restarts_nothing(record: str) -> None:
    edit("cores = 6")
    before = pid()
    report = run(record, check_mode=True)
    assert report.decision.required
    assert pid() == before


def test_a_running_build_is_not_ended_but_the_restart_deferred(record: str) -> None:
    build = Build(6)
    before = pid()
    edit("cores = 7")
    report = run(record, drain_timeout=1)
    assert (report.deferred, report.restarted) == (True, False)
    assert any("(pid " in line for line in report.running)
    assert pid() == before
    status, path = build.end()
    assert status == 0
    assert Path(path).read_text() == "done\n"
    assert run(record).restarted


def test_it_waits_until_the_build_has_ended(record: str) -> None:
    build = Build(3)
    edit("cores = 8")
    report = run(record, drain_timeout=60)
    assert (report.deferred, report.restarted) == (False, True)
    assert build.process.wait(timeout=1) == 0


def test_a_client_that_only_asks_does_not_hold_the_restart_up(record: str) -> None:
    nix = find_nix().path
    env = clean_environment({"NIX_REMOTE": "daemon"})
    # `repl` keeps its connection to the daemon open.
    argv = [nix, "--extra-experimental-features", "nix-command", "repl"]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        assert client.stdin is not None
        client.stdin.write(b'builtins.toFile "x" "y"\n')
        client.stdin.flush()
        deadline = time.monotonic() + 20
        daemon = pid()
        while not _children(daemon) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _children(daemon)
        edit("cores = 9")
        assert run(record, drain_timeout=5).restarted
    finally:
        client.kill()
        client.communicate()


def _children(parent: int | None) -> list[str]:
    done = Runner().run(["/bin/ps", "-ax", "-o", "ppid="], timeout=10)
    return [line for line in done.stdout.split() if line == str(parent)]


def test_a_builders_slot_in_use_defers_the_restart(record: str) -> None:
    os.makedirs(CURRENT_LOAD, exist_ok=True)
    slot = os.path.join(CURRENT_LOAD, "ssh-ng:__elsewhere-0")
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, slot], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        edit("cores = 10")
        report = run(record, drain_timeout=1)
        assert report.deferred
        assert report.running == ["builder slot ssh-ng:__elsewhere-0"]
    finally:
        holder.communicate()
        os.unlink(slot)
    assert run(record).restarted


def test_forgetting_after_the_settings_are_gone_restarts_and_leaves_nothing(record: str) -> None:
    content = CONF.read_bytes()
    edit(f"extra-trusted-users = {USER}")
    run(record)
    CONF.write_bytes(content)
    report = run(record, forget=True)
    assert report.restarted
    assert not trusted()
    assert not os.path.exists(os.path.dirname(record))
