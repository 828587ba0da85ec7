# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_nixos_modules as modules
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import GuestConfig, guest_from, loopback
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

KEY = "cache.example-1:" + base64.b64encode(bytes(32)).decode()


def test_nothing_asked_for_is_the_stock_image_and_no_module() -> None:
    assert guest_from({}) == GuestConfig()
    assert GuestConfig().stock
    empty = {
        "config": "", "min_free_mib": None, "max_free_mib": 0, "proxy": "", "no_proxy": [], "substituters": [],
        "trusted_public_keys": [], "time_sync": False, "time_servers": [], "grow_file_system": False,
    }  # fmt: skip
    assert guest_from(empty) == GuestConfig()
    assert guest_from({"config": " \n"}) == guest_from({"config": {}}) == GuestConfig()
    assert modules.render(GuestConfig(), per_mac=False) == ()
    assert modules.digest(GuestConfig(), per_mac=False) is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_free_mib": 2048}, "virtualisation.darwin-builder.min-free = lib.mkForce 2147483648;"),
        ({"max_free_mib": 4096}, "virtualisation.darwin-builder.max-free = lib.mkForce 4294967296;"),
        (
            {"substituters": ["https://a.example/x?y=1"]},
            'nix.settings.substituters = lib.mkForce [ ("https://a.example/x?y=1") ];',
        ),
        ({"trusted_public_keys": [KEY]}, f'nix.settings.trusted-public-keys = [ ("{KEY}") ];'),
        ({"time_servers": ["ntp.example.com"]}, 'services.timesyncd.servers = [ ("ntp.example.com") ];'),
        ({"proxy": "http://p.example:3128/"}, 'networking.proxy.default = "http://p.example:3128";'),
        (
            {"proxy": "http://p.example:3128", "no_proxy": [".corp.example", "10.0.0.0/8"]},
            'networking.proxy.noProxy = "127.0.0.1,localhost,.corp.example,10.0.0.0/8";',
        ),
        ({"config": "{ a = 1; } # end"}, 'import (builtins.toFile "linux-builder-config.nix" "{ a = 1; } # end")'),
        ({"config": {"a": {"b.c": True}}}, '"{ \\"a\\" = { \\"b.c\\" = true; }; }"'),
    ],
)
def test_each_option_comes_with_what_every_configured_guest_has(options: dict[str, t.Any], text: str) -> None:
    found = modules.render(guest_from(options), per_mac=False)
    assert found[0] == modules.BASE_MODULE
    assert text in found[-1]


def test_switches_alone_give_the_base_module_and_a_host_key_comes_first() -> None:
    assert modules.render(guest_from({"time_sync": True}), per_mac=False) == (modules.BASE_MODULE,)
    assert modules.render(guest_from({"grow_file_system": True}), per_mac=False) == (modules.BASE_MODULE,)
    assert modules.render(GuestConfig(), per_mac=True) == (modules.HOST_KEY_MODULE, modules.BASE_MODULE)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://127.0.0.1:3128", "http://10.0.2.2:3128"),
        ("http://localhost:3128", "http://10.0.2.2:3128"),
        ("socks5h://[::1]:1080", "socks5h://10.0.2.2:1080"),
        ("http://127.8.9.1", "http://10.0.2.2"),
    ],
)
def test_a_proxy_on_the_mac_itself_has_another_address_in_the_guest(url: str, seen: str) -> None:
    assert loopback(url)
    text = modules.render(guest_from({"proxy": url}), per_mac=False)[-1]
    assert f'else "{seen}";' in text
    assert "virtualisation ? vz then throw" in text
    assert not loopback("http://proxy.example.com:3128")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("proxy", "http://user:hunter2@p.example:3128", "user name or password"),
        ("proxy", "http://hunter2@p.example:3128", "user name or password"),
        ("proxy", "p.example:3128", "begins with none of"),
        ("proxy", "ftp://p.example", "begins with none of"),
        ("proxy", "http://user:hunter2", "malformed"),
        ("proxy", "http://p.example:3128/path", "more than scheme, host and port"),
        ("proxy", "http://", "names no host"),
        ("proxy", 'http://p.example:3128";evil', "blank, quote"),
        ("substituters", ["https://user:hunter2@cache.example"], "user name or password"),
        ("substituters", ["https://a.example https://b.example"], "blank, quote"),
        ("substituters", ["file:///nix"], "begins with none of"),
        ("no_proxy", ["a,b"], "no host name"),
        ("time_servers", ["ntp example"], "no host name"),
        ("trusted_public_keys", ["x"], "no public key"),
        ("trusted_public_keys", ["cache-1:" + base64.b64encode(bytes(64)).decode()], "no public key"),
        ("min_free_mib", -1, "not between"),
        ("max_free_mib", 2**40, "not between"),
        ("config", ["a"], "neither text nor a mapping"),
        ("config", "x" * 70000, "more than 65536 bytes"),
        ("config", "a\0b", "NUL"),
    ],
)
def test_what_cannot_work_is_refused_with_its_option_and_without_its_secret(option: str, value: t.Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        guest_from({option: value})
    assert option in caught.value.message or "NUL" in words
    assert "hunter2" not in caught.value.message


def test_a_collection_that_would_end_before_it_begins_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_free_mib: is not above"):
        guest_from({"min_free_mib": 2048, "max_free_mib": 2048})
    assert guest_from({"min_free_mib": 1, "max_free_mib": 2}).max_free == 2 * 1024 * 1024


@given(st.text(max_size=200))
def test_no_text_of_the_users_module_leaves_its_string(text: str) -> None:
    try:
        found = modules.render(guest_from({"config": text}), per_mac=False)
    except ConfigError:
        assert "\0" in text
        return
    if not text.strip():
        assert found == ()
        return
    before, literal = found[-1].split(' "', 1)[0], found[-1].split('linux-builder-config.nix" ', 1)[1]
    assert before == "import (builtins.toFile"
    assert literal.startswith('"')
    assert literal.endswith('")')
    assert not [
        n for n in range(1, len(literal) - 2) if literal[n] == '"' and (len(literal[:n]) - len(literal[:n].rstrip("\\"))) % 2 == 0
    ]


@given(st.text(max_size=60))
def test_no_url_breaks_the_check_and_none_with_credentials_passes(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}@host:1"):
        try:
            guest = guest_from({"proxy": url, "substituters": [url]})
        except ConfigError:
            continue
        assert "@" not in guest.proxy
        assert '"' not in guest.proxy
