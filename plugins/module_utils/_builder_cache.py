# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The fleet's own Nix store: its address and key."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t
import urllib.parse

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

_SCHEMES = ("s3", "http", "https", "ssh-ng", "ssh", "file")
_KEY = re.compile(r"^(?P<name>[^\s:]+):(?P<key>[A-Za-z0-9+/]+={0,2})$")
_HIGH_PRIORITY = 10  # cache.nixos.org says 40; the fleet's own is asked before


class Cache(t.NamedTuple):
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
