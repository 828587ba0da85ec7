# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phases of a build from what Nix 2.26 said of one, with the seconds at which it said it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_log import BuildLog

DRV = "/nix/store/yyh17n4jbv10czh9sijdyg5amkmg6ffi-linux-builder-proof-d821efe488421d83.drv"
URI = "ssh-ng://builder@linux-builder"


def start(number, text, kind=0, fields=()):
    return {"action": "start", "id": number, "level": 4, "parent": 0, "text": text, "type": kind, "fields": list(fields)}


def stop(number):
    return {"action": "stop", "id": number}


RECORDED = [
    (0.046, start(64, "querying info about missing paths")),
    (0.066, start(69, f"connecting to '{URI}'")),
    (0.891, stop(69)),
    (0.892, start(70, f"building '{DRV}' on '{URI}'", 105, [DRV, URI, 1, 1])),
    (0.892, start(71, f"waiting for the upload lock to '{URI}'")),
    (0.892, stop(71)),
    (0.892, start(72, f"copying dependencies to '{URI}'")),
    (0.928, stop(72)),
    (1.113, start(80, f"building '{DRV}'", 105, [DRV, "", 1, 1])),
    (1.213, stop(80)),
    (1.216, start(81, f"copying outputs from '{URI}'")),
    (1.231, stop(81)),
    (1.235, stop(70)),
]


def log(events):
    now = [0.0]
    found = BuildLog(lambda: now[0])
    for seconds, event in events:
        now[0] = seconds
        found.take("@nix " + json.dumps(event))
    return found


def test_each_phase_has_its_seconds():
    found = log(RECORDED)
    assert found.phases == {"connect": 0.825, "copy": 0.036, "build": 0.288, "fetch": 0.015}
    assert found.built == (DRV, URI)


def test_a_builder_that_was_tried_in_vain_counts_as_connecting():
    found = log([(0.0, start(1, "connecting to 'ssh://a'")), (10.0, stop(1)), *((s + 10, e) for s, e in RECORDED)])
    assert found.phases["connect"] == 10.825


def test_a_nix_that_tells_nothing_has_no_phases():
    found = log([])
    found.take("building '/nix/store/x.drv' on 'ssh://a'...")
    found.take("@nix {broken")
    assert found.phases == {"connect": None, "copy": None, "build": None, "fetch": None}
    assert found.built == ("", "")
    assert "building" in found.text


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["action", "id", "text", "type", "fields", "msg", "level"]), st.one_of(
    st.none(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3), st.sampled_from(["start", "stop"])
)), max_size=12))  # fmt: skip
def test_no_line_raises(events):
    found = log(list(enumerate(events)))
    assert set(found.phases) == {"connect", "copy", "build", "fetch"}
