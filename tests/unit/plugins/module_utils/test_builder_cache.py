# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's store: which URLs and keys are taken, what Nix is told, and what a message of Nix means."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _publish
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache import Cache, cache_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache_take import (
    check_reachable,
    environment,
    missing_there,
    offer,
    watch,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix

KEY = "fleet-1:" + base64.b64encode(bytes(32)).decode()
SECRET = "fleet-1:" + base64.b64encode(bytes(64)).decode()
PATH = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-vm"
OTHER = "/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-kernel"


class Answering:
    """A runner that answers one command, and any other is one too many."""

    def __init__(self, rc: int, stderr: str = "") -> None:
        self.done = Completed((), rc, "", stderr)
        self.argv: list[str] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        assert not self.argv
        self.argv = list(argv)
        return self.done


@pytest.mark.parametrize("url", [None, "", "  "])
def test_no_cache_is_none(url: str | None) -> None:
    assert cache_from(url, None) is None
    assert cache_from(url, "nonsense") is None
    assert watch(None) is None


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket?region=eu-central-1&profile=nix",
        "http://cache.example.com:8080",
        "https://cache.example.com/builder",
        "ssh-ng://nix@cache.example.com",
        "ssh://cache.example.com",
        "file:///Volumes/cache",
    ],
)
def test_any_store_that_several_macs_can_reach(url: str) -> None:
    cache = cache_from(f" {url} ", f" {KEY}\n")
    assert cache == Cache(url, KEY)
    assert cache.over_ssh == url.startswith("ssh")


@pytest.mark.parametrize(
    "url", ["cache.example.com", "/srv/cache", "daemon", "ftp://x", "https://a b", "https://a\nb", 'http://x"y', "local"]
)
def test_what_nix_would_misread_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL of a Nix store"):
        cache_from(url, KEY)


@pytest.mark.parametrize("url", ["https://user:secret@cache.example.com", "s3://a:secret@bucket", "http://u:secret@[::1"])
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="has a password in it") as caught:
        cache_from(url, KEY)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("key", [None, "", " "])
def test_without_a_key_nothing_is_taken(key: str | None) -> None:
    with pytest.raises(ConfigError, match="cache_public_key: is missing"):
        cache_from("https://cache.example.com", key)


@pytest.mark.parametrize("key", ["fleet-1", "fleet-1:", "fleet-1:AAAA", ":" + KEY, "a b:" + KEY, KEY + "x", "fleet-1:===="])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="is no public key of Nix"):
        cache_from("https://cache.example.com", key)


def test_a_secret_key_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="is a secret key") as caught:
        cache_from("https://cache.example.com", SECRET)
    assert "AAAA" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://c.example.com", "https://c.example.com?priority=10"),
        ("s3://b?region=x", "s3://b?region=x&priority=10"),
        ("https://c.example.com?priority=70", "https://c.example.com?priority=70"),
    ],
)
def test_nix_is_told_of_it_by_options_of_one_command(url: str, told: str) -> None:
    options = Cache(url, KEY).options
    assert options == ["--option", "extra-substituters", told, "--option", "extra-trusted-public-keys", KEY]


MESSAGES = [
    f"warning: ignoring substitute for '{PATH}' from 'http://c:80', "
    "as it's not signed by any of the keys in 'trusted-public-keys'",
    f"warning: substituter 'http://c:80' does not have a valid signature for path '{PATH}'",
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("url", ["http://c:80", "http://c:80/?region=x"])
def test_an_untrusted_signature_stops_nix(message: str, url: str) -> None:
    look = watch(Cache(url, KEY))
    assert look is not None
    with pytest.raises(ConfigError, match="is not signed with cache_public_key fleet-1"):
        look(message)


def test_other_messages_and_other_stores_do_not() -> None:
    look = watch(Cache("http://fleet.example.com", KEY))
    assert look is not None
    for message in (*MESSAGES, "warning: http://fleet.example.com is slow", "error: no space left"):
        look(message)


def test_a_store_that_answers_is_fine() -> None:
    runner = Answering(0)
    check_reachable(Nix(t.cast(t.Any, runner), "nix"), Cache("https://c", KEY), {})
    assert runner.argv[3:7] == ["store", "ping", "--store", "https://c"]


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            "error: unable to download 'https://c/nix-cache-info': Couldn't connect (7)",
            "cannot be used: error: unable to download",
        ),
        ("error: 'https://c' does not appear to be a binary cache", "publish the image there first"),
        ("error: don't know how to open Nix store with scheme 's3'", "cannot be used: error: don't know how to open"),
        ("", "cannot be used: exit status 1"),
    ],
)
def test_a_store_that_does_not_is_told(stderr: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        check_reachable(Nix(t.cast(t.Any, Answering(1, stderr)), "nix"), Cache("https://c", KEY), {})
    assert words in caught.value.message
    assert caught.value.message.startswith("cache: https://c ")


def test_a_directory_that_is_not_there_is_not_made() -> None:
    runner = Answering(0)
    with pytest.raises(CommandError, match="/nonexistent/cache is no directory on this Mac"):
        check_reachable(Nix(t.cast(t.Any, runner), "nix"), Cache("file:///nonexistent/cache?x=y", KEY), {})
    assert runner.argv == []


def test_the_given_environment_wins() -> None:
    assert environment({"HOME": "/x", "AWS_CONFIG_FILE": "/y"})["AWS_CONFIG_FILE"] == "/y"


class Recording:
    """A runner under which all ends well; keeps each command and its environment."""

    def __init__(self) -> None:
        self.commands: list[tuple[list[str], dict[str, str]]] = []

    def run(self, argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, **_options: t.Any) -> Completed:
        self.commands.append((list(argv[3:]), dict(env or {})))
        return Completed(tuple(argv), 0, "", "")

    def stream(self, argv: t.Sequence[str], _on_line: t.Any, env: t.Mapping[str, str] | None = None, **_o: t.Any) -> Completed:
        return self.run([*argv[:3], *argv[6:]], env)


WHAT = ["--expr", "1"]


def test_a_store_is_offered_to_the_command_that_builds() -> None:
    runner = Recording()
    cache = Cache("https://c.example.com", KEY)
    options, env = offer(Nix(t.cast(t.Any, runner), "nix"), cache, WHAT, {"HOME": "/x"}, True)
    assert options == cache.options
    assert env["HOME"] == "/x"
    assert [argv[:2] for argv, _env in runner.commands] == [["store", "ping"]]


def test_a_store_behind_ssh_is_asked_before_since_ssh_cannot_reach_store_and_builder_alike() -> None:
    runner = Recording()
    cache = Cache("ssh-ng://cache.example.com", KEY)
    options, _env = offer(Nix(t.cast(t.Any, runner), "nix"), cache, WHAT, {"HOME": "/x"}, True)
    assert options == []
    _ping, (fetch, env) = runner.commands
    assert fetch[-2:] == WHAT
    assert " ".join(cache.options) in " ".join(fetch)
    assert "--option builders  --option max-jobs 0" in " ".join(fetch)
    assert env["HOME"] == "/x"
    assert "NIX_SSHOPTS" not in env
    # Without a builder in the same command there is nothing to keep apart.
    assert offer(Nix(t.cast(t.Any, Recording()), "nix"), cache, WHAT, {}, False)[0] == cache.options


def test_no_store_asks_nobody() -> None:
    runner = Recording()
    assert offer(Nix(t.cast(t.Any, runner), "nix"), None, WHAT, {"HOME": "/x"}, True) == ([], {"HOME": "/x"})
    assert runner.commands == []
    assert missing_there(None) == ""
    assert "https://c does not have it" in missing_there(Cache("https://c", KEY))


# --- publishing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "copied", "signed"),
    [
        ({}, (PATH, OTHER), ()),
        ({PATH: ["fleet-1:x"], OTHER: ["fleet-1:x"]}, (), ()),
        ({PATH: ["fleet-1:x"]}, (OTHER,), ()),
        ({PATH: [], OTHER: ["other-1:x", "fleet-1:y"]}, (), (PATH,)),
        ({OTHER: ["fleet-12:y"]}, (PATH,), (OTHER,)),
    ],
)
def test_what_a_store_lacks(there: dict[str, list[str]], copied: tuple[str, ...], signed: tuple[str, ...]) -> None:
    plan = _publish.plan(PATH, [OTHER, PATH], there, "fleet-1")
    assert (plan.copied, plan.signed) == (copied, signed)
    assert plan.changed == bool(copied or signed)


@pytest.mark.parametrize(
    "printed",
    [
        {PATH: {"signatures": ["fleet-1:x"]}, OTHER: None},
        [{"path": PATH, "signatures": ["fleet-1:x"], "valid": True}, {"path": OTHER, "valid": False}],
        [{"path": PATH, "signatures": ["fleet-1:x"]}],
    ],
)
def test_what_path_info_prints_in_every_version(printed: t.Any) -> None:
    assert _publish.read_paths(json.dumps(printed)) == {PATH: ["fleet-1:x"]}


@pytest.mark.parametrize("printed", ["", "1", "null", "[1]", '[{"x": 1}]', '{"a": 1}', '{"a": {"signatures": 1}}'])
def test_what_path_info_never_prints_is_an_error(printed: str) -> None:
    with pytest.raises(CommandError, match="printed nothing usable"):
        _publish.read_paths(printed)
