# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _daemon, _daemon_busy, _daemon_state, _nix_note
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_state import Facts, Record, decide, parse_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Setting

LABEL = "org.nixos.nix-daemon"
NOW = 1_700_000_000.0
HOUR = 3600.0


def facts(**changes):
    base = Facts(LABEL, 383, NOW, {"max-jobs": "aa"}, {"/etc/nix/nix.conf": NOW - HOUR}, None)
    return base._replace(**changes)


RECORD = Record(LABEL, 383, NOW, {"max-jobs": "aa"})


# The decision


def test_old_files_and_no_record_need_no_restart():
    assert not decide(facts()).required


def test_a_file_newer_than_the_daemon_needs_a_restart_and_is_named():
    found = decide(facts(files={"/etc/nix/nix.conf": NOW - HOUR, "/etc/nix/nix.custom.conf": NOW + 5}))
    assert found.required
    assert "/etc/nix/nix.custom.conf" in found.reason
    assert "/etc/nix/nix.conf" not in found.reason


def test_a_file_changed_in_the_second_of_the_start_counts_as_newer():
    assert decide(facts(files={"/etc/nix/nix.conf": NOW - 0.5})).required


def test_the_record_of_this_process_outweighs_the_times():
    newer = {"/etc/nix/nix.conf": NOW + HOUR}
    assert not decide(facts(record=RECORD, files=newer)).required


def test_a_changed_setting_is_named_whatever_the_times_say():
    found = decide(facts(record=RECORD, settings={"max-jobs": "bb", "cores": "cc"}))
    assert found.required
    assert "cores, max-jobs" in found.reason


def test_a_setting_that_is_gone_needs_a_restart():
    assert decide(facts(record=RECORD, settings={})).required


@pytest.mark.parametrize(
    "record",
    [
        RECORD._replace(pid=384),
        RECORD._replace(started=NOW - 60),
        RECORD._replace(label="systems.determinate.nix-daemon"),
    ],
)
def test_the_record_of_another_process_says_nothing(record):
    newer = {"/etc/nix/nix.conf": NOW + HOUR}
    assert decide(facts(record=record, files=newer)).required
    assert not decide(facts(record=record, settings={})).required


def test_a_daemon_that_does_not_run_reads_its_configuration_later():
    assert not decide(facts(pid=None, started=None, files={"/etc/nix/nix.conf": NOW + HOUR})).required


# Settings and record


def setting(name, value, default=None):
    return Setting(name, value, default, ())


def test_defaults_client_settings_and_tokens_are_not_in_the_digests():
    table = {
        "max-jobs": setting("max-jobs", 4, 1),
        "cores": setting("cores", 0, 0),
        "warn-dirty": setting("warn-dirty", False, True),
        "access-tokens": setting("access-tokens", {"example.org": "secret"}, {}),
        "trusted-users": setting("trusted-users", ["root", "jo"], ["root"]),
    }
    bare = {name: setting(name, one.default) for name, one in table.items()}
    assert sorted(_daemon_state.digests(table, bare)) == ["max-jobs", "trusted-users"]


def test_digests_tell_values_apart_and_hide_them():
    one = _daemon_state.digests({"builders": setting("builders", "ssh-ng://a x")}, {})
    two = _daemon_state.digests({"builders": setting("builders", "ssh-ng://b x")}, {})
    assert one != two
    assert "ssh-ng" not in str(one)


def test_a_record_survives_its_file():
    assert parse_record(RECORD.dump()) == RECORD


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"null", b'{"format": 99}', b"\xff\xfe", b'{"format": 1, "settings": []}']
)
def test_anything_else_is_no_record(content):
    assert parse_record(content) is None


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["format", "label", "pid", "started", "settings"]), inner)
        ),
    )
)
def test_no_json_raises(data):
    assert parse_record(json.dumps(data).encode()) is None or isinstance(data, dict)


# Files


def test_included_files_count_whether_they_exist_or_not(tmp_path):
    (tmp_path / "nix.conf").write_text("max-jobs = 1\n  !include nix.custom.conf # ours\ninclude gone.conf\n#include no.conf\n")
    (tmp_path / "nix.custom.conf").write_text(f"!include {tmp_path}/deep/x.conf\n!include nix.conf\n")
    found = _daemon_state.read_files(str(tmp_path / "nix.conf"))
    assert [os.path.relpath(path, tmp_path) for path in found] == ["nix.conf", "nix.custom.conf", "gone.conf", "deep/x.conf"]


def test_a_backup_moved_back_counts_as_changed(tmp_path):
    file = tmp_path / "nix.conf"
    file.write_text("")
    os.utime(file, (1, 1))
    assert _daemon_state.changed_at(str(file)) > time.time() - HOUR


def test_a_link_that_was_turned_counts_as_changed(tmp_path):
    (tmp_path / "nix.conf").symlink_to("nowhere")
    assert _daemon_state.changed_at(str(tmp_path / "nix.conf")) > time.time() - HOUR
    assert _daemon_state.changed_at(str(tmp_path / "none")) == 0


# Processes

PS = """\
    1     0 Mon Nov 20 08:00:00 2023 /sbin/launchd
  383     1 Tue Nov 14 22:13:20 2023 /nix/var/nix/profiles/default/bin/nix-daemon
  500   383 Tue Nov 14 22:20:00 2023 nix-daemon 499
  501   383 Tue Nov 14 22:20:01 2023 nix-daemon 498
{extra}\
  900     1 Tue Nov 14 22:20:01 2023 /bin/bash -c sleep 1000
  901   zombie
"""
IDLE = PS.format(extra="")
BUILD = PS.format(extra="  510   500 Tue Nov 14 22:21:00 2023 bash -e /nix/store/x-secret-name.sh\n")
REMOTE = PS.format(
    extra="  511   501 Tue Nov 14 22:21:00 2023 nix __build-remote 3\n  512   511 Tue Nov 14 22:21:00 2023 ssh linux-builder\n"
)


def test_ps_is_read_with_times_in_utc():
    found = _daemon_busy.parse_ps(IDLE)
    assert found[383].started == NOW
    assert found[500].parent == 383
    assert 901 not in found


class Ps(Runner):
    def __init__(self, text):
        super().__init__()
        self.text = text

    def run(self, argv, **options):
        assert options["env"] == {"TZ": "UTC0"}
        return Completed(tuple(argv), 0, self.text, "")


@pytest.fixture(autouse=True)
def fixture_no_slots(monkeypatch):
    monkeypatch.setattr(_daemon_busy, "locked_slots", list)


def test_clients_alone_are_no_work():
    found = _daemon_busy.look(Ps(IDLE), 383)
    assert (found.running, found.clients) == ([], 2)


@pytest.mark.parametrize(("text", "names"), [(BUILD, ["bash (pid 510)"]), (REMOTE, ["nix (pid 511)", "ssh (pid 512)"])])
def test_what_runs_below_a_client_is_work_named_without_arguments(text, names):
    assert _daemon_busy.look(Ps(text), 383).running == names


def test_determinates_daemon_below_its_supervisor_is_no_work():
    text = (
        "  10     1 Tue Nov 14 22:13:20 2023 /usr/local/bin/determinate-nixd daemon\n"
        "  11    10 Tue Nov 14 22:13:20 2023 /nix/var/nix/profiles/default/bin/nix-daemon\n"
        "  12    11 Tue Nov 14 22:13:20 2023 nix-daemon 77\n"
        "  13    10 Tue Nov 14 22:13:20 2023 nix daemon\n"
    )
    assert _daemon_busy.look(Ps(text), 10).running == []


def test_processes_that_are_each_others_parents_end():
    table = _daemon_busy.parse_ps("  5   6 Tue Nov 14 22:13:20 2023 a\n  6   5 Tue Nov 14 22:13:20 2023 b\n")
    assert [process.pid for process in _daemon_busy.below(table, 5)] == [6]


# Locks


def hold(path, kind):
    """A process that locks `path` as Nix does and says so."""
    code = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, int(sys.argv[2]))
print("locked", flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", code, str(path), str(int(kind))]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


@pytest.fixture(name="slots")
def fixture_slots(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real locked_slots
    for name in ("main-lock", "ssh-ng:__linux-builder-0", "ssh-ng:__linux-builder-1"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_locked_slot_is_seen_and_let_alone(slots):
    slot = slots / "ssh-ng:__linux-builder-1"
    process = hold(slot, fcntl.LOCK_EX)
    try:
        assert _daemon_busy.locked_slots(str(slots)) == ["ssh-ng:__linux-builder-1"]
    finally:
        process.communicate()
    assert _daemon_busy.locked_slots(str(slots)) == []
    # Nothing of ours is left on it: the next one gets it at once.
    with open(slot, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_main_lock_says_nothing_of_a_build(slots):
    process = hold(slots / "main-lock", fcntl.LOCK_EX)
    try:
        assert _daemon_busy.locked_slots(str(slots)) == []
    finally:
        process.communicate()


def test_looking_at_locks_changes_no_file(slots):
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted(slots.iterdir())]
    _daemon_busy.locked_slots(str(slots))
    assert [(path.name, path.stat().st_mtime_ns) for path in sorted(slots.iterdir())] == before


def test_no_directory_of_locks_is_no_lock(slots):
    assert _daemon_busy.locked_slots(str(slots / "none")) == []


# The whole module against a made-up Mac


class Mac(Runner):
    """launchd, ps and nix of a Mac: kickstart gives the daemon a new pid and the settings of the moment."""

    def __init__(self):
        super().__init__()
        self.pid = 383
        self.start = time.time() - HOUR
        self.settings = {"max-jobs": 1}
        self.read = dict(self.settings)
        self.below = []
        self.kicks = 0
        self.broken = ""
        self.kick_fails = 0
        self.answers = True

    def run(self, argv, **options):
        self.started += 1
        if os.path.basename(argv[0]) == "sysctl":
            return Completed(tuple(argv), 0, "hw.ncpu: 8\n", "")
        handler = {"launchctl": self.launchctl, "ps": self.ps, "nix": self.nix}[os.path.basename(argv[0])]
        options = {"bare": True} if "NIX_CONF_DIR" in (options.get("env") or {}) else {}
        rc, out, err = handler(list(argv[1:]), **options)
        return Completed(tuple(argv), rc, out, err)

    def launchctl(self, args):
        if args[0] == "kickstart":
            if self.kick_fails:
                self.kick_fails -= 1
                return 5, "", "Could not kickstart service: 5: Input/output error\n"
            assert args[1] == "-k"
            self.kicks += 1
            self.pid += 1
            self.start = time.time()
            self.read = dict(self.settings)
            return 0, "", ""
        if args[1] != f"system/{LABEL}":
            return 113, "", "Bad request.\n"
        return 0, f"system/{LABEL} = {{\n\tstate = running\n\n\tdomain = system\n\tpid = {self.pid}\n}}\n", ""

    def ps(self, _args):
        clock = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(self.start))
        lines = [f"{self.pid} 1 {clock} nix-daemon"]
        if self.below:
            lines += [
                f"700 {self.pid} {clock} nix-daemon 1",
                *(f"70{i} 700 {clock} {name}" for i, name in enumerate(self.below, 1)),
            ]
        return 0, "\n".join(lines) + "\n", ""

    def nix(self, args, bare=False):
        if "--version" in args:
            return 0, "nix (Nix) 2.26.3\n", ""
        if "ping" in args:
            return (0, "{}", "") if self.answers else (1, "", "error: cannot connect to socket\n")
        if bare:
            prompt = {"value": "included", "defaultValue": "", "aliases": []}
            return 0, json.dumps({"bash-prompt": prompt, "bash-prompt-suffix": prompt}), ""
        if self.broken:
            return 1, "", self.broken
        return (
            0,
            json.dumps({name: {"value": value, "defaultValue": None, "aliases": []} for name, value in self.settings.items()}),
            "",
        )


@pytest.fixture(name="mac")
def fixture_mac(monkeypatch, tmp_path):
    mac = Mac()
    conf = tmp_path / "nix.conf"
    conf.write_text("")
    mac.conf_changed = NOW
    program = tmp_path / "nix"
    program.write_text("")
    monkeypatch.setattr(_nix_note, "PATH", str(tmp_path / "answers.json"))
    monkeypatch.setattr(_daemon_state, "SOCKET", str(tmp_path / "socket"))
    monkeypatch.setattr(_daemon_state, "_runs", lambda pid: pid == mac.pid)
    monkeypatch.setattr(_daemon, "find_nix", lambda runner: _daemon.Nix(runner, str(program)))
    monkeypatch.setattr(_daemon, "daemon_label", lambda _layout: LABEL)
    monkeypatch.setattr(_daemon, "read_files", lambda _path: ["/etc/nix/nix.conf"])
    monkeypatch.setattr(_daemon, "changed_at", lambda _path: mac.conf_changed)
    monkeypatch.setattr(_daemon, "_POLL", 0.01)
    monkeypatch.setattr(_daemon, "RESTART_TIMEOUT", 0.5)
    monkeypatch.setattr(_daemon, "_AGE", 0.05)
    return mac


@pytest.fixture(name="run")
def fixture_run(mac, tmp_path):
    def run(check_mode=False, **options):
        options.setdefault("record", str(tmp_path / "db/daemon.json"))
        options.setdefault("drain_timeout", 0.05)
        return _daemon.Daemon(_daemon.Options(**options), mac).run(check_mode)

    return run


def edit(mac, **values):
    mac.settings.update(values)
    mac.conf_changed = time.time()


def test_an_unchanged_daemon_is_let_alone_and_remembered(mac, run, tmp_path):
    report = run()
    assert (report.decision.required, report.restarted, mac.kicks) == (False, False, 0)
    assert (tmp_path / "db/daemon.json").stat().st_mode & 0o777 == 0o600


def test_a_changed_configuration_restarts_once(mac, run):
    edit(mac, cores=2)
    assert run().restarted
    assert mac.read["cores"] == 2
    assert not run().restarted
    assert mac.kicks == 1


def test_a_run_that_was_interrupted_before_the_restart_is_picked_up(mac, run):
    run()
    edit(mac, cores=2)  # and the play dies here; the next one changes nothing itself
    report = run()
    assert report.restarted
    assert "cores" in report.decision.reason


def killed(*_args):
    raise KeyboardInterrupt


def test_a_run_that_was_interrupted_right_after_the_restart_does_not_restart_again(mac, run, monkeypatch):
    mac.start = time.time() - 120
    edit(mac, cores=2)
    mac.conf_changed = time.time() - 60
    with monkeypatch.context() as patch:
        patch.setattr(_daemon.Daemon, "_remember", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert mac.kicks == 1
    assert not run().decision.required


def test_a_touched_file_restarts_nothing(mac, run):
    run()
    mac.conf_changed = time.time()
    report = run()
    assert not report.decision.required
    assert mac.kicks == 0


def test_a_client_setting_restarts_nothing(mac, run):
    run()
    edit(mac, **{"warn-dirty": False})
    assert not run().restarted


def test_somebody_elses_restart_makes_the_record_worthless(mac, run):
    run()
    edit(mac, cores=2)
    mac.launchctl(["kickstart", "-k", f"system/{LABEL}"])
    mac.start += 30  # a moment later than the edit
    assert not run().restarted
    edit(mac, cores=4)
    assert run().restarted


def test_check_mode_changes_nothing(mac, run, tmp_path):
    edit(mac, cores=2)
    report = run(check_mode=True)
    assert (report.decision.required, report.restarted, mac.kicks) == (True, False, 0)
    assert not (tmp_path / "db").exists()


def test_under_a_build_the_restart_is_deferred_and_the_next_run_does_it(mac, run):
    edit(mac, cores=2)
    mac.below = ["bash"]
    report = run()
    assert (report.deferred, report.restarted, mac.kicks) == (True, False, 0)
    assert report.running == ["bash (pid 701)"]
    mac.below = []
    assert run().restarted


def test_it_waits_for_a_build_to_end(mac, run):
    edit(mac, cores=2)
    mac.below = ["bash"]
    looks = []
    ps = mac.ps

    def ending(args):
        looks.append(1)
        if len(looks) > 5:
            mac.below = []
        return ps(args)

    mac.ps = ending
    report = run(drain_timeout=5)
    assert (report.restarted, report.deferred, report.running) == (True, False, [])


def test_force_does_not_wait_and_tells_what_it_ended(mac, run):
    edit(mac, cores=2)
    mac.below = ["bash"]
    report = run(force=True, drain_timeout=600)
    assert (report.restarted, report.deferred, report.running) == (True, False, ["bash (pid 701)"])


def test_a_kickstart_that_fails_without_reason_is_tried_again(mac, run):
    edit(mac, cores=2)
    mac.kick_fails = 2
    assert run().restarted
    assert mac.kicks == 1


def test_a_daemon_that_does_not_come_back_is_an_error_that_names_it(mac, run):
    edit(mac, cores=2)
    mac.answers = False
    with pytest.raises(StateError, match="does not answer"):
        run()
    assert mac.kicks == 1


def test_a_broken_configuration_restarts_nothing(mac, run):
    edit(mac, cores=2)
    mac.broken = "error: syntax error in configuration line 'x'\n"
    with pytest.raises(CommandError, match="syntax error"):
        run()
    assert mac.kicks == 0


def test_an_unknown_label_is_an_error_with_its_command(run):
    with pytest.raises(StateError, match="launchctl bootstrap system"):
        run(label="org.example.none")


def test_forgetting_restarts_if_needed_and_leaves_no_file(mac, run, tmp_path):
    run()
    edit(mac, cores=2)
    report = run(forget=True)
    assert (report.restarted, report.forgotten) == (True, True)
    assert not (tmp_path / "db").exists()
    mac.conf_changed = NOW
    again = run(forget=True)
    assert (again.restarted, again.forgotten) == (False, False)
    assert not (tmp_path / "db").exists()


def test_forgetting_restarts_only_when_the_files_are_older_than_the_margin(mac, run, monkeypatch):
    """A second teardown has nothing but times to tell by: the daemon must be clearly younger than its files."""
    run()
    monkeypatch.setattr(_daemon, "_AGE", 0.4)
    edit(mac, cores=2)
    assert run(forget=True).restarted
    assert 0.4 <= time.time() - mac.conf_changed < 5


def test_forgetting_waits_for_no_time_in_the_future(mac, run, monkeypatch):
    run()
    monkeypatch.setattr(_daemon, "_AGE", 0.2)
    edit(mac, cores=2)
    mac.conf_changed = time.time() + 3600
    started = time.monotonic()
    assert run(forget=True).restarted
    assert time.monotonic() - started < 5


def test_forgetting_keeps_a_directory_that_holds_something_else(run, tmp_path):
    run()
    (tmp_path / "db/other").write_text("")
    run(forget=True)
    assert [path.name for path in (tmp_path / "db").iterdir()] == ["other"]


def test_a_deferred_restart_is_not_noted_as_done(mac, run):
    run()
    edit(mac, cores=2)
    mac.below = ["bash"]
    run()
    assert run().deferred


def test_a_run_without_need_costs_three_processes(mac, run):
    run()
    mac.started = 0
    run()
    assert mac.started == 3


def make_socket(path, when):
    path.unlink(missing_ok=True)
    path.write_text("")
    os.utime(path, (when, when))


def test_it_costs_one_where_the_daemon_made_its_socket_itself(mac, run, tmp_path):
    """Each start of such a daemon makes a new one, so the record's own is the process that is known."""
    make_socket(tmp_path / "socket", mac.start)
    assert not run().noted
    mac.started = 0
    report = run()
    assert (mac.started, report.noted, report.alive) == (1, True, True)
    edit(mac, cores=2)
    assert run(check_mode=True).decision.required


@pytest.mark.parametrize("change", ["another socket", "no process", "launchd's socket"])
def test_it_looks_where_that_is_not_certain(mac, run, tmp_path, change):
    made = mac.start if change != "launchd's socket" else mac.start - HOUR
    make_socket(tmp_path / "socket", made)
    run()
    if change == "another socket":
        make_socket(tmp_path / "socket", made + 60)
    if change == "no process":
        mac.pid += 1
    mac.started = 0
    run(check_mode=True)
    assert mac.started == 3


def test_the_answers_of_another_nix_count_for_nothing(mac, run, tmp_path):
    run()
    assert run().noted
    (tmp_path / "nix").write_text("an upgrade")
    assert not run(check_mode=True).noted
    assert not run().noted
    assert run().noted
    (tmp_path / "answers.json").write_text("{")
    assert not run(check_mode=True).noted


def test_check_mode_announces_the_restart_that_a_pending_change_brings(mac, run):
    report = run(check_mode=True, pending=True)
    assert (report.decision.required, mac.kicks) == (True, 0)
    assert not run(pending=True).decision.required
