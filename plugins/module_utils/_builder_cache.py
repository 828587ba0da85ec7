# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The fleet's own Nix store: its address and key, whether it answers, and how Nix is told to take from it.

Its key is trusted by the one command that takes the builder's closure, and by nothing else on the Mac.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import pwd
import re
import typing as t
import urllib.parse

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint

IMPATIENT = ("--option", "connect-timeout", "15", "--option", "download-attempts", "2")

_SCHEMES = ("s3", "http", "https", "ssh-ng", "ssh", "file")
_PING_TIMEOUT = 120.0  # seconds
_FETCH_TIMEOUT = 3600.0  # seconds: a closure of some GiB
_KEY = re.compile(r"^(?P<name>[^\s:]+):(?P<key>[A-Za-z0-9+/]+={0,2})$")
# What Nix says when it passes over a path whose signature it does not trust: since 2.20, and before.
_UNTRUSTED = ("not signed by any of the keys in 'trusted-public-keys'", "does not have a valid signature", "lacks a signature")
_HIGH_PRIORITY = 10  # cache.nixos.org says 40; the fleet's own is asked before


@dataclasses.dataclass(frozen=True)
class Cache:
    """A store to take from: URL as Nix takes it, and the public key `name:base64` that signed what it has."""

    url: str
    key: str

    @property
    def base(self) -> str:
        """The URL without parameters, as Nix' messages name the store."""
        return self.url.partition("?")[0].rstrip("/")

    @property
    def over_ssh(self) -> bool:
        """Whether Nix reaches it with ssh."""
        return self.url.startswith(("ssh://", "ssh-ng://"))

    @property
    def options(self) -> list[str]:
        """Options of a Nix command that make it take paths from this store too, and trust its key."""
        joint = "&" if "?" in self.url else "?"
        url = self.url if "priority=" in self.url else f"{self.url}{joint}priority={_HIGH_PRIORITY}"
        return ["--option", "extra-substituters", url, "--option", "extra-trusted-public-keys", self.key]


def cache_from(url: str | None, key: str | None) -> Cache | None:
    """The store that the options name; None for none. ConfigError for what Nix would misread, and without a key."""
    if not url or not url.strip():
        return None
    address = check_url(url.strip())
    if not key or not key.strip():
        raise ConfigError(
            f"cache_public_key: is missing, and nothing is taken from {address} without a signature. Give the public key "
            "(name:base64) of the pair that signs there; publish_image.yml shows it."
        )
    return Cache(address, check_key(key.strip()))


def check_url(url: str) -> str:
    """The URL, if it is one of a Nix store that can be told on a command line. ConfigError names the way out."""
    scheme, separator, _rest = url.partition("://")
    if not separator or scheme not in _SCHEMES or re.search(r"[\s\"'\\]", url):
        raise ConfigError(
            f"cache: {url!r} is no URL of a Nix store. Write one without blanks that begins with "
            f"{', '.join(scheme + '://' for scheme in _SCHEMES)}."
        )
    if scheme in ("http", "https", "s3") and _has_password(url):
        raise ConfigError(
            "cache: the URL has a password in it, which every process list and log would show. "
            "Put it into /etc/nix/netrc (http) or root's ~/.aws/credentials (s3) on the Mac."
        )
    return url


def _has_password(url: str) -> bool:
    try:
        return urllib.parse.urlsplit(url).password is not None
    except ValueError:
        return "@" in url


def check_key(key: str) -> str:
    """The public key, if it is one of Nix'. ConfigError when it is not, or is a secret one."""
    match = _KEY.match(key)
    try:
        size = len(base64.b64decode(match.group("key"), validate=True)) if match else 0
    except (binascii.Error, ValueError):
        size = 0
    if size == 64:
        raise ConfigError(
            "cache_public_key: is a secret key. Give the public half; make a new pair if others have seen this one."
        )
    if size != 32:
        raise ConfigError(
            "cache_public_key: is no public key of Nix (name:base64, as `nix key convert-secret-to-public` prints it)."
        )
    return key


def environment(env: t.Mapping[str, str]) -> dict[str, str]:
    """`env`, and where root's credentials for s3 lie: Nix gets a HOME of its own, in which they are not."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    files = {"AWS_SHARED_CREDENTIALS_FILE": f"{home}/.aws/credentials", "AWS_CONFIG_FILE": f"{home}/.aws/config"}
    return {**{name: path for name, path in files.items() if os.path.exists(path)}, **env}


def check_reachable(nix: Nix, cache: Cache, env: t.Mapping[str, str]) -> None:
    """CommandError unless the store answers. Nix itself would pass over it, and build for hours what lies there."""
    if cache.url.startswith("file://") and not os.path.isdir(cache.base[len("file://") :]):
        raise CommandError(f"cache: {cache.base[len('file://') :]} is no directory on this Mac. Mount it, or correct cache.")
    done = nix.run(["store", "ping", "--store", cache.url, *IMPATIENT], timeout=_PING_TIMEOUT, env=environment(env))
    if done.rc == 0:
        return
    words = complaint(done)
    if "does not appear to be a binary cache" in words:
        raise CommandError(
            f"cache: {cache.base} answers, but it is no binary cache (it has no nix-cache-info). "
            "Correct cache, or publish the image there first (playbook publish_image.yml)."
        )
    raise CommandError(
        f"cache: {cache.base} cannot be used: {words.rstrip('.')}. Start it, check the network, or run without cache."
    )


def watch(cache: Cache | None) -> t.Callable[[str], None] | None:
    """Takes Nix' messages, and stops Nix (ConfigError) when it passes over a path of this store for its signature."""
    if cache is None:
        return None

    def look(message: str) -> None:
        if any(mark in message for mark in _UNTRUSTED) and cache.base in message:
            raise ConfigError(
                f"cache: what {cache.base} has is not signed with cache_public_key {cache.key.partition(':')[0]}, so nothing is "
                f"taken from there. Give the key that signs there, or publish the image anew. Nix: {message}"
            )

    return look


def offer(
    nix: Nix, cache: Cache | None, what: t.Sequence[str], env: t.Mapping[str, str], through_builder: bool
) -> tuple[list[str], dict[str, str]]:
    """(options, environment) of the `nix build` of `what`, so that it takes from the store what the store has.

    through_builder: whether that command also reaches the running builder. CommandError when the store does not answer.
    """
    if cache is None:
        return [], dict(env)
    check_reachable(nix, cache, env)
    if cache.over_ssh and through_builder:
        fetch_first(nix, cache, what, env)
        return [], dict(env)
    return cache.options, environment(env)


def missing_there(cache: Cache | None) -> str:
    """What to do about a store that lacks what was wanted; a sentence to append."""
    if cache is None:
        return ""
    return f" {cache.base} does not have it: publish it from a Mac with the same settings (playbook publish_image.yml)."


def fetch_first(nix: Nix, cache: Cache, what: t.Sequence[str], env: t.Mapping[str, str]) -> None:
    """Take of `what` (arguments of `nix build`) all that the store has, and build nothing.

    For a store behind ssh: the options with which ssh reaches the running builder hold for all of a command's connections,
    so that the store and the builder cannot be in one command. What is missing afterwards is the next command's to say.
    """
    alone = ["--option", "builders", "", "--option", "max-jobs", "0", "--keep-going"]
    nix.work(
        ["--extra-experimental-features", "flakes", "build", "--no-link", *alone, *cache.options, *IMPATIENT, *what],
        timeout=_FETCH_TIMEOUT,
        env=environment(env),
        watch=watch(cache),
    )
