# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_config as config
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import GuestConfig, guest_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.spec_sample import SPEC, with_

NETWORK = {"proxy": "http://p.example:3128", "no_proxy": [".example"], "substituters": ["https://a.example", "https://b.example"]}


@pytest.mark.parametrize(
    ("spec", "grows"),
    [
        (SPEC, False),
        (with_(guest=GuestConfig(grow_file_system=True)), True),
        (with_(guest=GuestConfig(config="{ }")), True),
        (with_(per_mac=True), True),
        (with_(guest=GuestConfig(config="{ }"), vz=True), False),
        (with_(guest=guest_from({**NETWORK, "stock_guest": True})), False),
    ],
)
def test_a_guest_grows_where_it_has_the_module_for_it(spec: Spec, grows: bool) -> None:
    assert config.guest_grows(spec) is grows
    assert bool(config.guest_modules(spec)) is (grows or spec.vz)


@pytest.mark.parametrize("stock", [False, True])
def test_the_macs_own_nix_gets_proxy_and_caches_whatever_the_guest_is(stock: bool) -> None:
    spec = with_(guest=guest_from({**NETWORK, "config": "{ }", "stock_guest": stock}))
    assert config.proxy_environment(spec) == {
        "http_proxy": "http://p.example:3128",
        "https_proxy": "http://p.example:3128",
        "no_proxy": "127.0.0.1,localhost,.example",
    }
    assert config.substituter_options(spec) == ["--option", "extra-substituters", "https://a.example https://b.example"]
    assert bool(config.guest_modules(spec)) is not stock


def test_without_them_nix_is_told_nothing() -> None:
    assert config.proxy_environment(SPEC) == {}
    assert config.substituter_options(SPEC) == []
