# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For any file and any request: the value that was asked for, all else unchanged, idempotent, and back to the same bytes."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as tables
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_edit import Plan, Site, plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_request import Request, parse_request
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support

OWNER = "nixmac.linux_builder"
SITES = st.sampled_from(
    [
        ("nix.conf", tables.INLINE, "2.8.0"),
        ("nix.conf", tables.INLINE, "2.26.3"),
        ("nix.conf", tables.INLINE, "2.34.8"),
        ("nix.conf", tables.DEFERRED, "2.26.3"),
        ("nix.conf", tables.LOST, "2.26.3"),
        ("nix.custom.conf", tables.INLINE, "2.26.3"),
        ("nix.custom.conf", tables.DEFERRED, "2.26.3"),
    ]
)
ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Site, dict[str, bytes], dict[str, t.Any], str | None]:
    """(site, files, options, owner)"""
    name, order, version = draw(SITES)
    files = {
        "nix.conf": draw(support.conf([b"nix.custom.conf", b"d/more.conf"])),
        "nix.custom.conf": draw(support.conf([b"d/more.conf"])),
        "d/more.conf": draw(support.conf()),
    }
    if name == "nix.custom.conf":
        files["nix.conf"] = draw(
            st.sampled_from(
                [b"!include nix.custom.conf\n" + files["nix.conf"], files["nix.conf"] + b"\n!include nix.custom.conf\n"]
            )
        )
    if draw(st.integers(0, 9)) == 0:
        del files[name]
    owner = draw(st.sampled_from([None, OWNER]))
    return support.site(files, f"/etc/nix/{name}", version=version, order=order), files, draw(support.request()), owner


def planned(site: Site, options: t.Mapping[str, t.Any], owner: str | None) -> tuple[Request, Plan]:
    request = parse_request(options["settings"], options["append"], options["absent"], site.table)
    try:
        return request, plan(site, request, owner)
    except ConfigError as exc:
        # Only these may be refused: what another file or Nix itself decides.
        known = any(words in exc.message for words in ("after", "comes from", "another value", "does not read"))
        if not known or "defect" in exc.message:
            raise
        assume(False)
        raise


def again(site: Site, content: bytes | None) -> Site:
    return Site(site.root, site.path, content, lambda path: content if path == site.path else site.files(path), site.table)


def same(site: Site, name: str, real: t.Any, tokens: tuple[str, ...]) -> bool:
    if isinstance(real, dict):
        return bool(real == dict(token.split("=", 1) for token in tokens))
    return real == (list(tokens) if isinstance(real, list) else " ".join(tokens))


@ANY
@given(cases())
def test_result_has_what_was_asked_for_and_all_else_is_unchanged(
    case: tuple[Site, dict[str, bytes], dict[str, t.Any], str | None],
) -> None:
    site, files, options, owner = case
    request, done = planned(site, options, owner)
    before = support.reading(site, site.content, files)
    after = support.reading(site, done.after, files)
    for name in site.table.settings:
        real = after.of(name)
        if name in request.settings:
            assert same(site, name, real, request.settings[name]), name
        elif name in request.append or name in request.remove:
            have = support.tables.elements(real)
            assert set(request.append.get(name, ())) <= set(have)
            if owner is None:
                assert not set(request.remove.get(name, ())) & set(have)
            kept = [item for item in support.tables.elements(before.of(name)) if item not in request.remove.get(name, ())]
            assert set(kept) <= set(have)
        elif name not in request.absent:
            assert real == before.of(name), name


@ANY
@given(cases())
def test_second_run_changes_nothing(case: tuple[Site, dict[str, bytes], dict[str, t.Any], str | None]) -> None:
    site, _files, options, owner = case
    request, done = planned(site, options, owner)
    assert not plan(again(site, done.after), request, owner).changed


@ANY
@given(cases())
def test_removing_the_block_gives_the_original_bytes(case: tuple[Site, dict[str, bytes], dict[str, t.Any], str | None]) -> None:
    site, _files, options, _owner = case
    request, done = planned(site, options, OWNER)
    back = Request({}, {}, frozenset(request.names), {})
    assert plan(again(site, done.after), back, OWNER).after == site.content


@ANY
@given(cases())
def test_removing_what_was_added_in_place_gives_the_original_bytes(
    case: tuple[Site, dict[str, bytes], dict[str, t.Any], str | None],
) -> None:
    site, files, options, _owner = case
    before = site.stream(site.content)
    own = [line.name for line in before.assignments if line.path == site.path]
    # Only additions: settings that the file does not set, elements that are not there.
    options = {"settings": {}, "append": options["append"], "absent": {}} | {
        "settings": {name: value for name, value in options["settings"].items() if site.table.canonical(name) not in own}
    }
    assume(options["settings"] or options["append"])
    request, done = planned(site, options, None)
    added = {
        name: tuple(item for item in values if item not in (before.value(name) or ())) for name, values in request.append.items()
    }
    present = {name for name in request.settings if before.of(name)}
    back = Request({}, {}, frozenset(set(request.settings) - present), {name: items for name, items in added.items() if items})
    assume(not present)
    result = plan(again(site, done.after), back, None).after
    assert result == site.content


@pytest.mark.parametrize("version", support.VERSIONS)
def test_independent_reading_agrees_with_the_records_of_real_nix(version: str) -> None:
    table = support.table(version)
    for label, case in support.load("golden.json").items():
        result = case["results"][version]
        if result["rc"] != 0:
            continue
        files = {f"/etc/nix/{name}": text.encode("latin-1") for name, text in case["files"].items()}
        reading = support.Reading(files, table)
        reading.apply(support.ROOT)
        for name, value in result["changed"].items():
            if isinstance(value, (list, dict)) and name != "experimental-features":
                assert reading.of(name) == value, (label, name)
