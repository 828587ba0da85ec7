# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_vm's way from a reference to a profile, with the real Nix of a stand-in and the stand-in's builder flake."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from builder_under_test import forget, parameters

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder, _builder_apply
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_look import read_spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import find_nix

LAB_BUILDER = "/opt/lab/builder"


class Counting(Runner):
    """A real runner that remembers which programs were started."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[str] = []

    def run(self, argv: t.Sequence[str], **options: t.Any) -> Completed:
        self.programs.append(os.path.basename(argv[0]))
        return super().run(argv, **options)


@pytest.fixture(name="params")
def fixture_params(tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    """A builder of the test's own, removed in the end; the flake is a copy that the test may change."""
    flake = tmp_path / "flake"
    shutil.copytree(LAB_BUILDER, flake)
    profile = f"/nix/var/nix/profiles/test-{tmp_path.name}-{os.getpid()}"
    yield {
        **parameters(tmp_path, "test-builder", 31022),
        "state": "present",
        "package": f"path:{flake}#darwin.linux-builder",
        "profile": profile,
        "working_directory": f"{tmp_path}/new/lib/linux-builder",
        "memory_mib": None,
        "cores": None,
        "disk_mib": None,
    }
    forget(profile)


def run(params: dict[str, t.Any], check_mode: bool = False, **changes: t.Any) -> _builder.Outcome:
    return _builder.execute({**params, **changes}, check_mode)


def script(report: _builder.Outcome) -> str:
    return Path(report.result["store_path"], "bin/run-nixos-vm").read_text(encoding="utf-8")


def test_a_flake_becomes_a_locked_rooted_generation_that_listens_on_loopback_alone(params: dict[str, t.Any]) -> None:
    report = run(params, disk_mib=4096)
    assert report.changed
    assert "narHash=" in report.result["package"]
    assert report.result["generation"] == 1
    assert os.path.realpath(params["profile"]) == report.result["store_path"]
    assert "hostfwd=tcp:127.0.0.1:31022-:22" in script(report)
    assert "4096M" in script(report)
    nix_store = os.path.join(os.path.dirname(find_nix().path), "nix-store")
    roots = subprocess.run([nix_store, "-q", "--roots", report.result["store_path"]], stdout=subprocess.PIPE, check=True).stdout
    assert f"{params['profile']}-1-link" in roots.decode()


def test_a_second_run_starts_no_nix_and_changes_nothing(params: dict[str, t.Any]) -> None:
    first = run(params)
    runner = Counting()
    spec = read_spec(params, runner)
    plan, _current, _realised = _builder_apply.Deployment(spec, runner).run(False)
    assert not plan.changed
    assert set(runner.programs) <= {"sysctl"}
    assert plan.definition == first.result["definition"]


def test_nix_leaves_nothing_in_the_home_of_root_or_in_temporary_directories(params: dict[str, t.Any]) -> None:
    def strewn() -> set[str]:
        home = Path(os.path.expanduser("~root"))
        return {str(path) for path in (*home.rglob("*"), *Path("/var/tmp").iterdir())}

    before = strewn()
    run(params)
    assert strewn() == before
    assert not os.path.exists(f"{params['working_directory']}/nix-home")


def test_a_source_that_moved_is_followed_only_when_asked(params: dict[str, t.Any], tmp_path: Path) -> None:
    first = run(params)
    vm = tmp_path / "flake/scripts/run-nixos-vm.sh"
    vm.write_text(vm.read_text(encoding="utf-8") + "# moved\n", encoding="utf-8")
    assert not run(params).changed
    assert run(params, check_mode=True, update=True).changed
    report = run(params, update=True)
    assert report.changed
    assert report.result["package"] != first.result["package"]
    assert report.result["generation"] == 2
    assert script(report).endswith("# moved\n")
    assert not run(params, update=True).changed


def test_another_port_is_built_from_the_recorded_lock(params: dict[str, t.Any], tmp_path: Path) -> None:
    first = run(params)
    report = run(params, port=31023)
    assert report.result["package"] == first.result["package"]
    assert "127.0.0.1:31023-:22" in script(report)
    assert report.result["generation"] == 2


def test_a_source_that_no_longer_fits_its_lock_is_not_built_in_silence(params: dict[str, t.Any], tmp_path: Path) -> None:
    first = run(params)
    vm = tmp_path / "flake/scripts/run-nixos-vm.sh"
    vm.write_text(vm.read_text(encoding="utf-8") + "# moved\n", encoding="utf-8")
    with pytest.raises(CommandError, match="run once with update: true") as caught:
        run(params, port=31023)
    assert "while evaluating" not in caught.value.message
    assert os.path.realpath(params["profile"]) == first.result["store_path"]
    assert "127.0.0.1:31023-:22" in script(run(params, port=31023, update=True))


def test_the_old_builder_is_refused_for_its_port_and_its_address_until_both_are_accepted(params: dict[str, t.Any]) -> None:
    old = params["package"].replace("linux-builder", "builder")
    with pytest.raises(ConfigError, match="Set port: 22"):
        run(params, package=old)
    with pytest.raises(ConfigError, match="all interfaces"):
        run(params, package=old, port=22)
    assert not os.path.lexists(params["profile"])
    report = run(params, package=old, port=22, accept_any_address=True)
    assert report.result["generation"] == 1
    assert "hostfwd=tcp::22-:22" in script(report)


def test_a_store_path_of_vm_or_package_is_taken_without_evaluation(params: dict[str, t.Any]) -> None:
    vm = run(params).result["store_path"]
    report = run(params, package=vm)
    assert (report.result["store_path"], report.result["package"], report.result["generation"]) == (vm, vm, 1)
    nix = find_nix()
    package = nix.run(
        ["--extra-experimental-features", "flakes", "build", "--no-link", "--print-out-paths", params["package"]], timeout=300
    ).stdout.strip()
    with pytest.raises(ConfigError, match="all interfaces"):
        run(params, package=package)
    assert run(params, package=package, accept_any_address=True).result["store_path"].endswith("-nixos-vm")


def test_a_lost_profile_comes_back_without_a_new_evaluation(params: dict[str, t.Any]) -> None:
    first = run(params)
    os.unlink(params["profile"])
    runner = Counting()
    plan, _current, _realised = _builder_apply.Deployment(read_spec(params, runner), runner).run(False)
    assert plan.switch
    assert runner.programs.count("nix") == 1
    assert os.path.realpath(params["profile"]) == first.result["store_path"]


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("path:/nonexistent#darwin.linux-builder", "cannot be resolved"),
        ("path:/opt/lab/builder#darwin.no-builder", "Check what follows the #"),
        ("/nix/store/00000000000000000000000000000000-none", "copy it first"),
    ],
)
def test_a_package_that_cannot_be_had_is_named_and_leaves_no_trace(params: dict[str, t.Any], package: str, words: str) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        run(params, package=package)
    assert package.partition("#")[0] in caught.value.message
    assert not os.path.lexists(params["profile"])
    assert not os.path.exists(params["working_directory"])


def test_check_mode_touches_nothing_and_real_mode_does_what_it_named(params: dict[str, t.Any], tmp_path: Path) -> None:
    foreseen = run(params, check_mode=True)
    assert foreseen.changed
    assert not (tmp_path / "new").exists()
    assert not os.path.lexists(params["profile"])
    done = run(params)
    named = {line.split(": ")[0] for line in str(foreseen.after).splitlines() if line.startswith(("file ", "directory "))}
    assert named == {line.split(": ")[0] for line in str(done.after).splitlines() if line.startswith(("file ", "directory "))}
    assert all(os.path.exists(line.split(" ", 1)[1]) for line in named)


def test_absent_leaves_the_mac_as_before(params: dict[str, t.Any], tmp_path: Path) -> None:
    before = {str(path) for path in tmp_path.rglob("*")}
    run(params)
    run(params, port=31023)
    assert run(params, state="absent").changed
    assert {str(path) for path in tmp_path.rglob("*")} == before
    assert not [name for name in os.listdir("/nix/var/nix/profiles") if name.startswith(os.path.basename(params["profile"]))]
    assert not run(params, state="absent").changed
