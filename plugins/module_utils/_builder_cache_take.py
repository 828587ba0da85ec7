# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Taking from the fleet's own Nix store: whether it answers, and how Nix is told.

Its key is trusted by the one command that takes the builder's closure, and by nothing else on the Mac.
"""

from __future__ import annotations

import os
import pwd
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache import Cache
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint

IMPATIENT = ("--option", "connect-timeout", "15", "--option", "download-attempts", "2")
_PING_TIMEOUT = 120.0  # seconds
_FETCH_TIMEOUT = 3600.0  # seconds: a closure of some GiB
# What Nix says when it passes over a path whose signature it does not trust: since 2.20, and before.
_UNTRUSTED = ("not signed by any of the keys in 'trusted-public-keys'", "does not have a valid signature", "lacks a signature")


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
