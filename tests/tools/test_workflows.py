# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflows' steps, run here as far as that means anything: what GitHub itself does is not to be had here.

A release is made from beginning to end in a scratch clone, and published to a Galaxy of the test's own.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
IDENTITY = {f"GIT_{who}_{what}": "nobody@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def load(name: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text()))


def shells(workflow: Path) -> list[tuple[str, dict[str, t.Any]]]:
    """(name, step) of each step that runs a shell."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [(step.get("name", step["run"]), step) for job in jobs for step in job["steps"] if "run" in step]


def step(workflow: str, name: str) -> str:
    """The shell of the step with that name."""
    return str(dict(shells(ROOT / ".github" / "workflows" / f"{workflow}.yml"))[name]["run"])


STEPS = [pytest.param(one["run"], id=f"{path.stem}: {name}") for path in WORKFLOWS for name, one in shells(path)]


def run(shell: str, folder: Path, **environment: str) -> str:
    """What a step says that GitHub's default shell runs there; it has to succeed."""
    done = attempt(shell, folder, **environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def attempt(shell: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", shell],
        cwd=folder,
        env={**os.environ, **IDENTITY, "NO_COLOR": "1", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=600,
        check=False,
    )


def program(folder: Path, name: str, shell: str) -> Path:
    """A program of that name in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{shell}\n")
    path.chmod(0o755)
    return path


def in_front(folder: Path) -> str:
    return f"{folder}:{os.environ['PATH']}"


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", STEPS)
def test_the_shell_of_each_step_is_sound(shell: str, tmp_path: Path) -> None:
    (tmp_path / "step.sh").write_text(f"#!/bin/bash\nset -e\n{shell}\n")
    run("shellcheck step.sh", tmp_path)
    # GitHub writes expressions into the text of the shell; what comes from outside belongs into `env`.
    assert "${{" not in shell


@pytest.mark.parametrize("shell", STEPS)
def test_each_script_that_a_step_runs_is_there(shell: str) -> None:
    for word in re.findall(r"(?:tests/tools/|\.ci/)[\w./-]+", shell):
        assert os.access(ROOT / word, os.X_OK), word


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_workflow_is_bounded_and_says_that_it_has_not_run(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert "Not yet run at GitHub" in path.read_text()
    assert workflow["permissions"] == {"contents": "write" if path.stem == "release" else "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for one in job["steps"]:
            if one.get("uses", "").startswith("actions/checkout@"):
                assert one["with"]["persist-credentials"] is False


# --- test.yml --------------------------------------------------------------------------------------------------------


def test_logs_are_kept_also_where_a_run_ended_before_the_pictures(tmp_path: Path) -> None:
    program(tmp_path / "bin", "sudo", 'exec "$@"')
    (tmp_path / ".cache" / "logs").mkdir(parents=True)
    (tmp_path / ".cache" / "logs" / "Lint.log").write_text("all is well\n")
    run(step("test", "Keep the logs and the pictures of the fleet report"), tmp_path, PATH=in_front(tmp_path / "bin"))
    with tarfile.open(tmp_path / "logs.tar.gz") as archive:
        assert ".cache/logs/Lint.log" in archive.getnames()


# --- macos.yml -------------------------------------------------------------------------------------------------------


def test_both_kinds_of_mac_are_asked_for() -> None:
    """By hand and by schedule the same ones."""
    workflow = load("macos")
    default = json.loads(workflow["on"]["workflow_dispatch"]["inputs"]["runners"]["default"])
    scheduled = re.search(r"'(\[.*\])'", workflow["jobs"]["macos"]["strategy"]["matrix"]["runner"])
    assert scheduled is not None
    assert json.loads(scheduled[1]) == default
    assert {"macos-15", "macos-26"} <= {name for name in default if not name.endswith("-intel")}
    assert any(name.endswith("-intel") for name in default)


@pytest.fixture
def mac(tmp_path: Path) -> t.Callable[[str, str], str]:
    """Runs a step of macos.yml in a checkout; Ansible lists the tasks instead of running them."""
    (tmp_path / "tests" / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "tools" / "macos.sh", tmp_path / "tests" / "tools")
    for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles", "tests/macos", "tests/requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    controller = tmp_path / ".cache" / "macos" / "controller" / "bin"
    program(controller, "python", 'echo "$*" >>"$0.log"')
    program(controller, "ansible-playbook", 'echo "ansible-playbook $*"\nexec ansible-playbook --list-tasks "$@"')

    def call(name: str, virtualization: str) -> str:
        program(tmp_path / "bin", "sysctl", f'[ "$*" = "-n kern.hv_support" ] && echo {virtualization}')
        said = run(step("macos", name), tmp_path, PATH=in_front(tmp_path / "bin"))
        assert re.search(r"ansible-core==[\d.]+$", (controller / "python.log").read_text(), re.MULTILINE)
        return said

    return call


def test_modules_are_tried_on_the_mac_itself(mac: t.Callable[[str, str], str]) -> None:
    said = mac("Modules against this Mac's launchd and Nix", "0")
    assert "--inventory localhost, --connection local" in said
    assert "ansible_python_interpreter=/usr/bin/python3 tests/macos/modules.yml" in said
    for name in ("Start a job", "Set it", "Make it"):
        assert f"{name}\t" in said, name


@pytest.mark.parametrize(
    ("virtualization", "plays"),
    [("1", ["site", "teardown"]), ("0", ["site --check --diff", "site --tags credentials,trusted_users"])],
)
def test_site_runs_as_far_as_the_mac_allows(mac: t.Callable[[str, str], str], virtualization: str, plays: list[str]) -> None:
    said = mac("site.yml, as far as this runner's virtualisation allows", virtualization)
    # The lines with a colon are tasks of the roles that a playbook imports.
    assert re.findall(r"nixmac\.linux_builder\.(\w+[^:\n]*)$", said, re.MULTILINE) == plays
    assert "Make the Mac what it shall be\t" in said


# --- release.yml -----------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with this checkout as its only commit, on its way to a release."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    repository = tmp_path / "repository"
    for name in filter(None, files.split("\0")):
        if not name.startswith(("tests/lab/", "tests/unit/")) and (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    run("git init -q -b main && git add --all && git commit -q -m 'As it is'", repository)
    (repository / ".cache").mkdir()
    (repository / ".cache" / "venv").symlink_to(ROOT / ".cache" / "venv")
    return repository


@pytest.fixture
def galaxy() -> t.Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """(address, uploads as (path, authorization, body)) of a Galaxy that takes everything."""
    uploads: list[tuple[str, str, bytes]] = []

    class Galaxy(http.server.BaseHTTPRequestHandler):
        def answer(self, document: t.Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if "imports" in self.path:
                self.answer({"state": "completed", "finished_at": "2026-11-23T00:00:00Z", "messages": []})
            else:
                self.answer({"available_versions": {"v3": "v3/"}, "current_version": "v3"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            uploads.append((self.path, self.headers["Authorization"], body))
            self.answer({"task": "/api/v3/imports/collections/1/"})

        def log_message(self, *_arguments: t.Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Galaxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/", uploads
        server.shutdown()


def test_a_tag_becomes_a_release_with_its_changelog_and_artifact(
    clone: Path, tmp_path: Path, galaxy: tuple[str, list[tuple[str, str, bytes]]]
) -> None:
    version = yaml.safe_load((clone / "galaxy.yml").read_text())["version"]
    fragment = yaml.safe_load((clone / "changelogs" / "fragments" / f"{version}.yml").read_text())
    run(f"antsibull-changelog release --version {version}", clone)
    run(f"git add --all && git commit -q -m 'Release {version}' && git tag v{version}", clone)
    checkout = tmp_path / "checkout"
    run(f"git clone -q --depth 1 --branch v{version} file://{clone} {checkout} 2>&1", tmp_path)
    (checkout / ".cache").mkdir()
    (checkout / ".cache" / "venv").symlink_to(ROOT / ".cache" / "venv")
    tag = {"GITHUB_REF_NAME": f"v{version}"}
    run("antsibull-changelog lint", checkout)

    run(step("release", "Check the tag, build the artifact, take its changelog"), checkout, **tag)
    artifact = checkout / ".cache" / "release" / f"nixmac-linux_builder-{version}.tar.gz"
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
        manifest = json.loads(t.cast("t.IO[bytes]", archive.extractfile("MANIFEST.json")).read())
    assert manifest["collection_info"]["version"] == version
    assert artifact.stat().st_size < 20_000_000
    assert "CHANGELOG.md" in names
    assert not [name for name in names if name.startswith(("tests/lab", ".github", "changelogs/fragments/0"))]
    notes = (checkout / ".cache" / "release" / "notes.md").read_text()
    # Markdown writes a backslash before each full stop.
    assert fragment["release_summary"].split(".")[0] in " ".join(notes.split())

    program(tmp_path / "bin", "gh", 'printf "%s\\n" "$@"; for file in "${@:4:1}" "${@: -1}"; do [ -s "$file" ]; done')
    words = run(step("release", "Publish at GitHub"), checkout, PATH=in_front(tmp_path / "bin"), GH_TOKEN="x", **tag).split()
    assert words[:4] == ["release", "create", f"v{version}", f".cache/release/{artifact.name}"]

    address, uploads = galaxy
    settings = {"ANSIBLE_GALAXY_SERVER_LIST": "galaxy", "ANSIBLE_GALAXY_SERVER_GALAXY_URL": address}
    publish = step("release", "Publish on Galaxy")
    assert "not published" in run(publish, checkout, ANSIBLE_GALAXY_SERVER_GALAXY_TOKEN="", **settings)
    assert uploads == []
    said = run(publish, checkout, ANSIBLE_GALAXY_SERVER_GALAXY_TOKEN="token-of-the-test", **settings)
    assert "token-of-the-test" not in said + publish
    ((path, authorization, body),) = uploads
    assert path.endswith("/artifacts/collections/")
    assert authorization == "Token token-of-the-test"
    assert hashlib.sha256(artifact.read_bytes()).hexdigest().encode() in body


@pytest.mark.parametrize(
    ("tag", "words"),
    [("v9.9.9", "The tag is v9.9.9, but galaxy.yml has version"), ("", "has no release|Fragments are left")],
)
def test_a_tag_that_does_not_fit_is_no_release(clone: Path, tag: str, words: str) -> None:
    version = yaml.safe_load((clone / "galaxy.yml").read_text())["version"]
    (clone / "changelogs" / "fragments" / "left.yml").write_text("minor_changes:\n  - left\n")
    shell = step("release", "Check the tag, build the artifact, take its changelog")
    done = attempt(shell, clone, GITHUB_REF_NAME=tag or f"v{version}")
    assert done.returncode != 0
    assert re.search(words, done.stdout), done.stdout
    assert not (clone / ".cache" / "release").exists()
