# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Secrets in nix.conf: found, so that no diff, result or message shows them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import decode

MASK = "********"
FRESH = "********(new)"

# Settings whose elements are `key=secret`.
SECRET_SETTINGS = frozenset({"access-tokens", "impure-env"})

_LINE = re.compile(r"((?:extra-)?(?:access-tokens|impure-env)\s*[=:]?)(.*)", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)([^/\s:@]+):([^/\s@]+)(?=@)")


def secrets_in(text: str) -> set[str]:
    """Every secret text in a file or value: what follows access-tokens (also in comments), passwords in URLs."""
    found = {match[1] for match in _USERINFO.findall(text)}
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is not None:
            found.update(secret_of(element) for element in match[2].split())
    return {secret for secret in found if len(secret) > 1}


def secret_of(element: str) -> str:
    """The secret half of `key=secret`, or all of it."""
    return element.partition("=")[2] or element


def secrets_of(*requests: t.Any) -> set[str]:
    """Secrets in what a user asked for (options of nix_conf: maps from names to values)."""
    found: set[str] = set()
    for request in requests:
        for name, value in request.items() if isinstance(request, t.Mapping) else ():
            found |= secrets_in(" ".join(_texts(value)))
            if str(name).replace("extra-", "", 1) in SECRET_SETTINGS:
                found |= {secret_of(element) for text in _texts(value) for element in text.split()}
    return {secret for secret in found if len(secret) > 1}


def _texts(value: t.Any) -> list[str]:
    if isinstance(value, t.Mapping):
        return [f"{key}={item}" for key, item in value.items()]
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


class Masker:
    """Replaces known secrets in any text; longest first, so that no part of one stays."""

    def __init__(self, secrets: t.Iterable[str] = ()) -> None:
        self.secrets: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: t.Iterable[str]) -> None:
        """Know more secrets from here on."""
        self.secrets = sorted({*self.secrets, *secrets}, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """A message without known secrets and passwords in URLs."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return _USERINFO.sub(lambda match: f"{match[1]}:{MASK}", text)

    def clean_file(self, content: bytes | None, fresh: t.Collection[str] = ()) -> str:
        """A file's bytes as text for a diff; whatever stands behind a secret setting's name is hidden too.

        fresh: secrets that get another mask, so that the diff shows that they are not the old ones.
        """
        text = decode(content or b"").encode("utf-8", "replace").decode("utf-8", "replace")
        for secret in sorted(fresh, key=len, reverse=True):
            text = text.replace(secret, FRESH)
        return "\n".join(_LINE.sub(_hide, line) for line in self.clean(text).split("\n"))

    def clean_data(self, data: t.Any) -> t.Any:
        """A result (dicts, lists, texts) without secrets."""
        if isinstance(data, dict):
            return {key: self.clean_data(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self.clean_data(value) for value in data]
        return self.clean(data) if isinstance(data, str) else data


def _hide(match: t.Match[str]) -> str:
    hidden = re.sub(r"[^\s]+", lambda word: _keep_key(word[0]), match[2])
    return match[1] + hidden


def _keep_key(word: str) -> str:
    if word == "=":
        return word
    key, equals, secret = word.partition("=")
    if secret.startswith(MASK):
        return word
    return f"{key}={MASK}" if equals and key else MASK
