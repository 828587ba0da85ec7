# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind fleet_report: what it writes, what it refuses, when it fails."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import stat
import threading

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsibleError

from ansible_collections.nixmac.linux_builder.plugins.action import fleet_report
from ansible_collections.nixmac.linux_builder.plugins.modules import fleet_report as documentation
from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _report

LOST = {"unreachable": True, "msg": "timed out"}


class Task:
    """As much of a task as an action looks at."""

    async_val = 0
    check_mode = False

    def __init__(self, args, check_mode=False):
        self.args = args
        self.check_mode = check_mode
        self.action = "nixmac.linux_builder.fleet_report"


class Connection:
    """None that leads anywhere."""

    class _shell:
        tmpdir = "/nowhere"


class Screen:
    """Keeps what is displayed."""

    shown: list[str] = []

    def display(self, text):
        self.shown.append(text)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the action for Macs `a` and `b`, of which only `a` has an answer; its options beside the path."""
    monkeypatch.setattr(fleet_report, "Display", Screen)
    monkeypatch.setattr(Screen, "shown", [])

    def run(check_mode=False, **options):
        args = {"hosts": ["a", "b"], "variable": "mac", "path": str(tmp_path / "out"), **options}
        action = fleet_report.ActionModule(Task(args, check_mode), Connection(), None, None, None, None)
        return action.run(task_vars={"hostvars": {"a": {"mac": LOST}, "b": {}}})

    return run


def test_both_files_are_written_and_the_table_is_shown(run, tmp_path):
    result = run()
    assert result["changed"] is False
    assert not result.get("failed")
    assert result["summary"]["macs"] == 2
    report = json.loads((tmp_path / "out" / "fleet.json").read_text())
    assert {mac["name"]: mac["state"] for mac in report["macs"]} == {"a": "unreachable", "b": "failed"}
    assert "timed out" in (tmp_path / "out" / "fleet.html").read_text()
    assert sorted(os.listdir(tmp_path / "out")) == ["fleet.html", "fleet.json"]
    assert stat.S_IMODE(os.stat(result["html"]).st_mode) == 0o644
    assert "2 Macs: 0 well" in Screen.shown[0]


def test_check_mode_writes_nothing(run, tmp_path):
    assert run(check_mode=True)["summary"]["macs"] == 2
    assert not (tmp_path / "out").exists()
    assert len(Screen.shown) == 1
    run(check_mode=True, table=False)
    assert len(Screen.shown) == 1


def test_it_fails_for_what_was_named_and_after_it_has_written(run, tmp_path):
    assert not run(fail_on=["drift"]).get("failed")
    (tmp_path / "out" / "fleet.json").unlink()
    result = run(fail_on=["unreachable", "drift"])
    assert result["failed"] is True
    assert result["msg"] == "1 of 2 Macs need a look: a: unreachable."
    assert (tmp_path / "out" / "fleet.json").exists()


def test_a_relative_path_begins_where_the_user_is(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(path="here")["json"] == str(tmp_path / "here" / "fleet.json")


def test_reports_are_merged(run, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(_report.report([_report.row("c", LOST, 1795427400)], 1795427400, "x")))
    assert run(merge=[str(other)])["summary"]["macs"] == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[]", "is no fleet report of format 1"),
    ],
)
def test_what_cannot_be_merged_is_named(run, tmp_path, content, words):
    other = tmp_path / "other.json"
    if content is not None:
        other.write_bytes(content)
    with pytest.raises(AnsibleActionFail, match=f"{other}: {words}"):
        run(merge=[str(other)])
    assert not (tmp_path / "out").exists()


def reported(*names, seen=1795427400):
    """The bytes of a report in which these Macs were unreachable."""
    return json.dumps(_report.report([_report.row(name, LOST, seen) for name in names], seen, "x")).encode()


@pytest.fixture
def place(tmp_path):
    """A directory of Macs' own reports: `a` with a forged row of `b`, a broken one, one without its Mac, and what is none."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "a.json").write_bytes(reported("a", "b"))
    (place / "broken.json").write_bytes(b"{")
    (place / "other.json").write_bytes(reported("b"))
    (place / ".a.json.tmp.json").write_bytes(b"{")
    (place / "readme.txt").write_bytes(b"{")
    return place


def macs(tmp_path):
    """Name -> (state, message) of the report that was written."""
    report = json.loads((tmp_path / "out" / "fleet.json").read_text())
    return {mac["name"]: (mac["state"], mac["message"]) for mac in report["macs"]}


def test_each_file_of_a_directory_stands_for_its_own_mac(run, place, tmp_path):
    run(asked=False, merge=[str(place)])
    found = macs(tmp_path)
    assert found["a"] == ("unreachable", "timed out")
    assert found["b"] == ("unreachable", "This Mac has left no report.")
    assert found["other"] == ("failed", "other.json: says nothing of this Mac.")
    assert found["broken"][0] == "failed"
    assert "broken.json: is no JSON" in found["broken"][1]
    assert len(found) == 4


def test_who_was_asked_is_newer_than_any_report(run, place, tmp_path):
    run(merge=[str(place)])
    assert macs(tmp_path)["b"] == ("failed", "The Mac was not asked: the play ended before.")


def test_a_mac_that_was_seen_long_ago_is_unreachable(run, place, tmp_path):
    (place / "a.json").write_bytes(reported("a", seen=1000000000))
    run(asked=False, merge=[str(place)], max_age=48)
    assert macs(tmp_path)["a"] == ("unreachable", "Last heard of at 2001-09-09T01:46:40Z, more than 48 hours ago.")
    assert macs(tmp_path)["b"][1] == "This Mac has left no report."


@contextlib.contextmanager
def served(directory):
    """The directory over HTTP; a path with `teapot` in it is refused."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if "teapot" in self.path:
                self.send_error(418)
            else:
                super().do_GET()

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_reports_come_over_http(run, place, tmp_path):
    with served(place) as url:
        run(asked=False, merge=[f"{url}/"])
        assert macs(tmp_path) == {"a": ("unreachable", "timed out"), "b": ("unreachable", "This Mac has left no report.")}
        run(asked=False, merge=[f"{url}/other.json"])
        assert macs(tmp_path)["b"] == ("unreachable", "timed out")
        for address, words in (
            ("missing.json", r"is not there \(404\)"),
            ("teapot/", "the server says 418"),
        ):
            with pytest.raises(AnsibleActionFail, match=words):
                run(asked=False, merge=[f"{url}/{address}"])
    with pytest.raises(AnsibleActionFail, match="cannot be read: .*Is the server up"):
        run(asked=False, merge=[f"{url}/"])


def test_a_directory_that_cannot_be_made_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail, match="cannot be written: .* Name another linux_builder_report_path"):
        run(path=str(tmp_path / "file" / "out"))


def test_an_unknown_reason_is_refused(run):
    with pytest.raises(AnsibleError, match="value of fail_on must be one or more of"):
        run(fail_on=["rain"])


def test_the_documentation_names_every_reason():
    options = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert options["fail_on"]["choices"] == list(_report.REASONS)
    assert any("nixmac.linux_builder.fleet_report" in task for task in yaml.safe_load(documentation.EXAMPLES))
