# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs, with real processes: handed in, asked after, killed, found again by the next run."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
import typing as t
import zipfile
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _job, _job_start
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._job import ANSWER, PARAMETER, Desk, Job, detachable
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import job_work

LONG = 60.0  # seconds: a machine under load takes its time; nothing here waits that long when all is well


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def params(tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    yield {"folder": str(tmp_path), "how": "well"}
    (tmp_path / "gate").touch()  # nothing is left waiting, whatever became of the test


@pytest.fixture
def desk(root: Path, params: dict[str, t.Any]) -> Desk:
    return Desk(str(root), job_work.execute, params)


def gate(params: dict[str, t.Any]) -> Path:
    return Path(params["folder"], "gate")


def started(params: dict[str, t.Any], count: int = 1) -> list[list[int]]:
    """[process, its session] of each time that the work began, once there are `count`."""
    log = Path(params["folder"], "log")
    deadline = time.monotonic() + LONG
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [[int(word) for word in line.split()] for line in log.read_text().splitlines()]


def test_short_work_has_its_result_at_once_and_leaves_nothing(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    gate(params).touch()
    outcome = desk.hand_in(LONG)
    assert (outcome.changed, outcome.result, outcome.warnings) == (True, {"runs": 1}, ["careful"])
    assert (outcome.before, outcome.after, outcome.header) == ("", "done\n", "work")
    assert not root.exists()


def test_long_work_is_asked_after(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    answer = desk.hand_in(0).result[ANSWER]
    assert answer["state"] == "running"
    started(params)
    deadline = time.monotonic() + LONG
    while answer.get("phase") != "build" or not answer.get("done"):
        assert time.monotonic() < deadline
        answer = desk.look_in(answer["token"], 0).result[ANSWER]
    assert (answer["done"], answer["total"], answer["unit"]) == (1, 4, "derivations")
    assert answer["seconds"] >= 0
    gate(params).touch()
    outcome = desk.look_in(answer["token"], LONG)
    assert (outcome.changed, outcome.result) == (True, {"runs": 1})
    assert not root.exists()


def test_the_directory_is_for_its_owner_only(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    desk.hand_in(0)
    started(params)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(desk.job.directory).stat().st_mode) == 0o700
    for name in (_job_start.RECORD, _job_start.LOCK):
        assert stat.S_IMODE(Path(desk.job.path(name)).stat().st_mode) == 0o600


def test_the_work_has_a_session_of_its_own(desk: Desk, params: dict[str, t.Any]) -> None:
    desk.hand_in(0)
    process, session = started(params)[0]
    assert process == session != os.getsid(0)


def test_a_hangup_does_not_end_it(desk: Desk, params: dict[str, t.Any]) -> None:
    desk.hand_in(0)
    process = started(params)[0][0]
    os.kill(process, signal.SIGHUP)
    gate(params).touch()
    assert desk.hand_in(LONG).result["runs"] == 1


def test_the_next_run_picks_running_work_up(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    first = desk.hand_in(0)
    assert "picked_up" not in first.result
    started(params)
    other = Desk(str(root), job_work.execute, dict(params))
    second = other.hand_in(0)
    assert second.result["picked_up"] is True
    assert second.result[ANSWER]["token"] == first.result[ANSWER]["token"]
    gate(params).touch()
    outcome = other.hand_in(LONG)
    assert (outcome.changed, outcome.result) == (True, {"runs": 1, "picked_up": True})


def test_other_parameters_are_other_work(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    desk.hand_in(0)
    other = Desk(str(root), job_work.execute, {**params, "more": 1})
    assert other.job != desk.job
    assert "picked_up" not in other.hand_in(0).result
    started(params, 2)


def test_a_result_nobody_read_counts_but_is_not_believed(desk: Desk, params: dict[str, t.Any]) -> None:
    token = desk.hand_in(0).result[ANSWER]["token"]
    gate(params).touch()
    assert desk.job.wait(LONG)
    outcome = desk.hand_in(LONG)
    # Done again, which finds it done; what the first one changed is told.
    assert outcome.result == {"runs": 2, "picked_up": True}
    assert outcome.changed
    assert (outcome.before, outcome.after) == ("done\n", "done\ndone\n")
    assert desk.look_in(token, 0).result == {ANSWER: {"state": "gone"}}


def test_a_failure_nobody_read_is_a_warning_and_tried_again(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    desk = Desk(str(root), job_work.execute, {**params, "how": "error"})
    desk.hand_in(0)
    gate(params).touch()
    assert desk.job.wait(LONG)
    gate(params).unlink()
    outcome = desk.hand_in(0)
    assert outcome.result[ANSWER]["state"] == "running"
    assert "had failed" in outcome.warnings[0]
    assert "nothing: is as it should be" in outcome.warnings[0]


def test_work_that_was_undone_is_reported_once_and_then_tried_again(root: Path, params: dict[str, t.Any]) -> None:
    desk = Desk(str(root), job_work.execute, {**params, "how": "rolled back"})
    desk.hand_in(0)
    gate(params).touch()
    assert desk.job.wait(LONG)
    with pytest.raises(LinuxBuilderError, match="one from before was put back.* an earlier run's work") as caught:
        desk.hand_in(LONG)
    assert caught.value.details == {"rolled_back": True, "phase": "ready", "picked_up": True}
    assert len(started(params)) == 1
    assert not root.exists()
    with pytest.raises(LinuxBuilderError) as caught:
        desk.hand_in(LONG)
    assert len(started(params, 2)) == 2
    assert "earlier" not in caught.value.message
    assert "picked_up" not in caught.value.details


def test_a_failure_of_work_that_was_picked_up_says_so(root: Path, params: dict[str, t.Any]) -> None:
    desk = Desk(str(root), job_work.execute, {**params, "how": "rolled back"})
    desk.hand_in(0)
    gate(params).touch()
    with pytest.raises(LinuxBuilderError) as caught:
        desk.look_in(str(desk.job.record()["token"]), LONG)
    assert "picked_up" not in caught.value.details
    gate(params).unlink()
    desk.hand_in(0)
    started(params, 2)
    threading.Timer(0.5, gate(params).touch).start()
    with pytest.raises(LinuxBuilderError) as caught:
        desk.hand_in(LONG)
    assert (caught.value.details["picked_up"], len(started(params))) == (True, 2)


def test_running_work_is_found_and_ended_with_what_it_started(root: Path, params: dict[str, t.Any]) -> None:
    assert _job.running(str(root), "job_work") == []
    desk = Desk(str(root), job_work.execute, {**params, "how": "child"})
    desk.hand_in(0)
    process = started(params)[0][0]
    assert _job.running(str(root), "job_work") == [desk.job]
    assert _job.running(str(root), "job") == []
    assert desk.job.process == process
    child = Path(params["folder"], "child")
    deadline = time.monotonic() + LONG
    while not child.exists() or not child.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert desk.job.end(LONG)
    assert _job.running(str(root), "job_work") == []
    while Path(f"/proc/{child.read_text().strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_work_is_told_and_begun_anew_by_the_next_run(desk: Desk, params: dict[str, t.Any], root: Path) -> None:
    token = desk.hand_in(0).result[ANSWER]["token"]
    process = started(params)[0][0]
    deadline = time.monotonic() + LONG
    while desk.look_in(token, 0).result[ANSWER].get("phase") != "build":
        assert time.monotonic() < deadline
    os.kill(process, signal.SIGKILL)
    with pytest.raises(StateError, match="was killed in phase build") as caught:
        desk.look_in(token, LONG)
    assert "Run again" in caught.value.message
    assert not root.exists()
    gate(params).touch()
    assert desk.hand_in(LONG).result == {"runs": 2}


def test_work_that_is_asked_to_end_takes_what_it_started_with_it(root: Path, params: dict[str, t.Any]) -> None:
    desk = Desk(str(root), job_work.execute, {**params, "how": "child"})
    token = desk.hand_in(0).result[ANSWER]["token"]
    process = started(params)[0][0]
    child = Path(params["folder"], "child")
    deadline = time.monotonic() + LONG
    while not child.exists() or not child.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process, signal.SIGTERM)
    with pytest.raises(StateError, match="was killed"):
        desk.look_in(token, LONG)
    while Path(f"/proc/{child.read_text().strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_work_that_nobody_asked_after_is_begun_anew_with_a_warning(desk: Desk, params: dict[str, t.Any]) -> None:
    desk.hand_in(0)
    os.kill(started(params)[0][0], signal.SIGKILL)
    assert desk.job.wait(LONG)
    gate(params).touch()
    outcome = desk.hand_in(LONG)
    assert outcome.result == {"runs": 2, "picked_up": True}
    assert any("was killed" in warning for warning in outcome.warnings)


def test_a_restart_of_the_mac_leaves_no_job(desk: Desk, params: dict[str, t.Any]) -> None:
    token = desk.hand_in(0).result[ANSWER]["token"]
    started(params)
    os.rename(desk.job.directory, desk.job.directory + ".gone")
    assert desk.look_in(token, LONG).result == {ANSWER: {"state": "gone"}}


@pytest.mark.parametrize("cut", [_job_start.RECORD, _job_start.LOCK])
def test_a_start_that_was_cut_short_is_begun_anew(desk: Desk, params: dict[str, t.Any], root: Path, cut: str) -> None:
    Path(desk.job.directory).mkdir(parents=True, mode=0o700)
    root.chmod(0o700)
    if cut == _job_start.LOCK:
        Path(desk.job.path(_job_start.RECORD)).write_text('{"token"')
    gate(params).touch()
    assert desk.hand_in(LONG).result["runs"] == 1


def test_an_error_of_the_work_is_the_callers(root: Path, params: dict[str, t.Any]) -> None:
    gate(params).touch()
    with pytest.raises(LinuxBuilderError, match="nothing: is as it should be") as caught:
        Desk(str(root), job_work.execute, {**params, "how": "error"}).hand_in(LONG)
    assert caught.value.details == {"hint": "none"}
    with pytest.raises(OSError, match="No space left") as failed:
        Desk(str(root), job_work.execute, {**params, "how": "os_error"}).hand_in(LONG)
    assert (failed.value.errno, failed.value.filename) == (28, "/nix/store/x")
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a mistake of ours"):
        Desk(str(root), job_work.execute, {**params, "how": "crash"}).hand_in(LONG)
    assert not root.exists()


def test_a_directory_of_somebody_elses_is_refused(desk: Desk, root: Path) -> None:
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(FileError, match="others may look into it"):
        desk.hand_in(0)
    root.rmdir()
    root.symlink_to("/tmp")
    with pytest.raises(FileError, match="Remove it"):
        desk.hand_in(0)


def test_the_code_may_vanish_once_the_work_has_begun(
    desk: Desk, params: dict[str, t.Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ansible's zip does at the module's end."""
    found = _job_start.code()
    assert found is not None
    package = Path("ansible_collections/nixmac/linux_builder")
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for folder in ("plugins/module_utils", "tests/unit/plugins/module_utils"):
            for source in sorted(Path(found, package, folder).glob("*.py")):
                target.write(source, str(package / folder / source.name))
        for folder in (
            "",
            "plugins",
            "plugins/module_utils",
            "tests",
            "tests/unit",
            "tests/unit/plugins",
            "tests/unit/plugins/module_utils",
        ):
            target.writestr(str(package / folder / "__init__.py"), "")
        for folder in ("ansible_collections", "ansible_collections/nixmac"):
            target.writestr(folder + "/__init__.py", "")
    monkeypatch.setattr(_job_start, "code", lambda: str(archive))
    token = desk.hand_in(0).result[ANSWER]["token"]
    archive.unlink()
    gate(params).touch()
    assert desk.look_in(token, LONG).result == {"runs": 1}


def test_without_the_action_plugin_the_module_does_it_itself(params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_job, "ROOT", "/nonexistent/root")
    gate(params).touch()
    execute = detachable(job_work.execute)
    assert execute({**params, PARAMETER: None}, False).result == {"runs": 1}
    # Check mode too, and code that Python could not find again (Mitogen's).
    assert execute({**params, PARAMETER: {"wait": 1}}, True).result == {"runs": 2}
    monkeypatch.setattr(_job_start, "code", lambda: None)
    assert execute({**params, PARAMETER: {"wait": 1}}, False).result == {"runs": 3}
    assert all(process == os.getpid() for process, _session in started(params))


def test_with_the_action_plugin_it_is_a_job(params: dict[str, t.Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_job, "ROOT", str(root))
    execute = detachable(job_work.execute)
    answer = execute({**params, PARAMETER: {"wait": 0}}, False).result[ANSWER]
    gate(params).touch()
    assert execute({**params, PARAMETER: {"wait": 59.0, "token": answer["token"]}}, False).result == {"runs": 1}
    assert started(params)[0][0] != os.getpid()


def test_a_jobs_name_says_what_it_is() -> None:
    desk = Desk("/var/run/x", job_work.execute, {"b": 1, "a": [2]})
    assert desk.job == Desk("/var/run/x", job_work.execute, {"a": [2], "b": 1}).job
    assert Path(desk.job.directory).name.startswith("job_work-")


def test_a_damaged_record_is_no_job(tmp_path: Path) -> None:
    (tmp_path / _job_start.RECORD).write_text("[1]")
    assert Job(str(tmp_path)).record() == {}
    assert not Job(str(tmp_path)).running()


def test_the_interpreter_is_the_modules_own(desk: Desk, params: dict[str, t.Any]) -> None:
    desk.hand_in(0)
    process = started(params)[0][0]
    assert Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode() == sys.executable
    # What the work has to know is in a file, not on a command line that everybody reads.
    assert str(params["folder"]) not in Path(f"/proc/{process}/cmdline").read_bytes().decode().replace(desk.job.directory, "")
    assert json.loads(Path(desk.job.path(_job_start.RECORD)).read_text())["params"] == params
