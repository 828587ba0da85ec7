# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_conf against real Nix: for any file and request, what Nix itself reads before and after."""

from __future__ import annotations

import contextlib
import tempfile
import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import parse_settings
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_table import ask, elements, order_of
from ansible_collections.nixmac.linux_builder.tests.real.nix_under_test import EXAMPLES, FIXED, nix_under_test
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support

NIX = nix_under_test()
TABLE = ask(NIX)
OWNER = "nixmac.linux_builder"
ANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=FIXED)
GOLDEN = support.load("golden.json")


@contextlib.contextmanager
def directory(files: t.Mapping[str, bytes]) -> t.Iterator[Path]:
    """A directory that stands for /etc/nix."""
    with tempfile.TemporaryDirectory(prefix="etc-") as name:
        # The chroot's root is another user's view of the same directory.
        path = Path(name).resolve()
        for file, content in files.items():
            target = path / file
            (target if file.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
            if not file.endswith("/"):
                target.write_bytes(content)
        yield path


def real(path: Path) -> dict[str, t.Any]:
    """What Nix reads from the directory."""
    return {name: setting.value for name, setting in parse_settings(NIX.show(str(path))).items()}


def run(path: Path, target: str, owner: str | None, **options: t.Any) -> _nixconf.Outcome:
    return _nixconf.run({"path": str(path / target), "owner": owner, **options}, False, NIX)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, bytes], str, str | None, dict[str, t.Any]]:
    """(files, which of them is edited, owner, options)"""
    files = {
        "nix.conf": draw(support.conf([b"nix.custom.conf", b"d/more.conf"])),
        "nix.custom.conf": draw(support.conf([b"d/more.conf"])),
        "d/more.conf": draw(support.conf()),
    }
    target = draw(st.sampled_from(["nix.conf", "nix.conf", "nix.custom.conf"]))
    if target == "nix.custom.conf":
        include = b"!include nix.custom.conf\n"
        files["nix.conf"] = draw(st.sampled_from([include + files["nix.conf"], files["nix.conf"] + b"\n" + include]))
    return files, target, draw(st.sampled_from([None, OWNER])), draw(support.request())


def agrees(value: t.Any, wanted: t.Any) -> bool:
    """Whether a value that Nix printed is the one that was asked for."""
    if isinstance(value, dict):
        return bool(value == dict(item.split("=", 1) for item in wanted))
    if isinstance(value, list):
        return value == wanted or sorted(set(value)) == sorted(set(wanted))
    if isinstance(value, bool):
        return value == (wanted == "true")
    return wanted == "auto" or str(value) == wanted


def check(options: dict[str, t.Any], owner: str | None, before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
    """Property (a)."""
    exact = {TABLE.canonical(name): value for name, value in options["settings"].items()}
    more = {TABLE.canonical(name): value for name, value in options["append"].items()}
    less = {TABLE.canonical(name): value for name, value in options["absent"].items()}
    for name, value in after.items():
        if name in exact:
            assert agrees(value, exact[name]), (name, value, exact[name])
        elif name in more:
            assert set(more[name]) | set(elements(before[name])) <= set(elements(value)), name
        elif name not in less:
            assert value == before[name], name
        elif less[name] and owner is None:
            assert set(elements(value)) == set(elements(before[name])) - set(less[name]), name


@ANY
@given(cases())
def test_nix_reads_what_was_asked_for_and_all_else_as_before(
    case: tuple[dict[str, bytes], str, str | None, dict[str, t.Any]],
) -> None:
    files, target, owner, options = case
    with directory(files) as path:
        before = real(path)
        try:
            run(path, target, owner, **options)
        except ConfigError:
            assert real(path) == before
            assert (path / target).read_bytes() == files[target]
            return
        check(options, owner, before, real(path))


@ANY
@given(cases())
def test_second_run_changes_nothing_and_the_block_goes_without_a_trace(
    case: tuple[dict[str, bytes], str, str | None, dict[str, t.Any]],
) -> None:
    files, target, owner, options = case
    with directory(files) as path:
        try:
            run(path, target, owner, **options)
        except ConfigError:
            return
        started = NIX.runner.started
        assert not run(path, target, owner, **options).changed
        # What this Nix knows of settings was asked for by the first run; a run of its own asks once (unit tests of nix_conf).
        assert NIX.runner.started == started
        if owner is not None:
            run(path, target, owner, absent=[*options["settings"], *options["append"]])
            assert (path / target).read_bytes() == files[target]


@pytest.mark.parametrize(("number", "label"), list(enumerate(sorted(GOLDEN))))
def test_recorded_case_is_as_in_the_record_and_accepted_after_an_edit(number: int, label: str) -> None:
    files = {name: text.encode("latin-1") for name, text in GOLDEN[label]["files"].items()}
    target = "nix.custom.conf" if b"DETERMINATE" in files["nix.conf"] else "nix.conf"
    owner = OWNER if number % 2 else None
    with directory(files) as path:
        readable = NIX.show(str(path)).rc == 0
        assert readable == (nearest_record(label)["rc"] == 0), "this Nix differs from the recorded ones"
        try:
            run(path, target, owner, settings={"timeout": 7})
        except LinuxBuilderError:
            assert (path / target).read_bytes() == files[target]
            assert not readable, "a file that Nix reads was refused"
            return
        done = NIX.run(["--version"], timeout=60, env={"NIX_CONF_DIR": str(path)}, experimental=False)
        assert done.rc == 0, done.stderr
        run(path, target, owner, absent=["timeout"])
        assert (path / target).read_bytes() == files[target]


def nearest_record(label: str) -> dict[str, t.Any]:
    """The record of the newest version that is not newer than this Nix."""
    results = {tuple(int(part) for part in text.split(".")): result for text, result in GOLDEN[label]["results"].items()}
    older = [version for version in results if version <= NIX.version().numbers]
    return dict(results[max(older, default=min(results))])


def test_daemon_side_and_client_side_changes_are_told_apart() -> None:
    with directory({"nix.conf": b"# c\ncores = 2\n"}) as path:
        assert not run(path, "nix.conf", None, settings={"bash-prompt": "x"}).result["restart_required"]
        assert run(path, "nix.conf", None, settings={"cores": 3}).result["restart_required"]


def test_words_of_nix_name_the_original_file() -> None:
    with directory({"nix.conf": b"!include more.conf\n", "more.conf": b"cores = many\n"}) as path:
        with pytest.raises(ConfigError) as caught:
            run(path, "nix.conf", None, settings={"fallback": True})
        assert "many" in caught.value.message
        assert "nixmac-" not in caught.value.message


def test_setting_of_a_feature_that_is_off_is_refused() -> None:
    if "auto-allocate-uids" not in TABLE.settings:
        return
    with directory({"nix.conf": b""}) as path, pytest.raises(ConfigError, match="auto-allocate-uids"):
        run(path, "nix.conf", None, settings={"auto-allocate-uids": True})


def test_measured_order_of_includes_is_that_of_the_version() -> None:
    assert TABLE.order == order_of(NIX.version())
