# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Private keys of the builder that others than root can read: in the Nix store, or with loose modes.

nixpkgs' own start script adds the directory with the client's key pair to the Nix store, where every user reads it.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import parse_private
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError

STORE = "/nix/store"
CLIENT = "builder_ed25519"
HOST = "ssh_host_ed25519_key"
# Working directories that nixpkgs' documentation and nix-darwin have used.
DIRECTORIES = ("/var/lib/linux-builder", "/var/lib/darwin-builder")
_LIMIT = 64 * 1024  # bytes; no private key is longer


class Exposed(t.TypedDict):
    """A private key that can be read. store_path: what to delete, None outside the store. in_use: whether it is one of ours."""

    path: str
    store_path: str | None
    mode: str
    in_use: bool
    message: str


def exposed_keys(client_key: str, working_directory: str, root: str = "/") -> list[Exposed]:
    """Every exposed private key that is found. root: another root directory, for tests only."""
    host_key = os.path.join(working_directory, "keys", HOST)
    ours = {_public(_inside(root, path)) for path in (client_key, host_key)} - {None}
    found = [_in_store(path, store_path, root, ours) for path, store_path in _store_candidates(_inside(root, STORE), root)]
    loose = [client_key, host_key]
    loose += [os.path.join(directory, "keys", CLIENT) for directory in dict.fromkeys((working_directory, *DIRECTORIES))]
    found += [_loose(path, root, ours) for path in dict.fromkeys(loose)]
    return [key for key in found if key is not None]


def _inside(root: str, path: str) -> str:
    return path if root == "/" else os.path.join(root, path.lstrip("/"))


def _store_candidates(store: str, root: str) -> t.Iterator[tuple[str, str]]:
    """(path, store path), both as the Mac sees them, of what has the name of one of the builder's private keys."""
    try:
        names = sorted(os.listdir(store))
    except OSError:
        return
    for name in names:
        if name.endswith((".drv", ".lock")):
            continue
        store_path = f"{STORE}/{name}"
        if name.endswith((f"-{CLIENT}", f"-{HOST}")):
            yield store_path, store_path
        for inner in (CLIENT, HOST):
            if os.path.lexists(os.path.join(store, name, inner)):
                yield f"{store_path}/{inner}", store_path


def _in_store(path: str, store_path: str, root: str, ours: t.AbstractSet[bytes | None]) -> Exposed | None:
    key = _public(_inside(root, path))
    # The image holds nixpkgs' published host key under that name: no secret, and none of ours.
    if key is None or (os.path.basename(path).endswith(HOST) and key not in ours):
        return None
    return Exposed(
        path=path,
        store_path=store_path,
        mode=_mode(_inside(root, path)),
        in_use=key in ours,
        message=f"{path}: a private key of the builder{_use(key in ours)} lies in the Nix store, where every user of this Mac "
        "reads it. The role credentials deletes it there and makes a new one if it is in use.",
    )


def _loose(path: str, root: str, ours: t.AbstractSet[bytes | None]) -> Exposed | None:
    mode = _mode(_inside(root, path))
    key = _public(_inside(root, path))
    if key is None or not int(mode, 8) & 0o077:
        return None
    return Exposed(
        path=path,
        store_path=None,
        mode=mode,
        in_use=key in ours,
        message=f"{path}: a private key of the builder{_use(key in ours)} has mode {mode}, so others than root may have read it. "
        "The role credentials makes a new one if it is in use; remove the file otherwise.",
    )


def _use(in_use: bool) -> str:
    return " (the one in use)" if in_use else ""


def _mode(path: str) -> str:
    try:
        return f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    except OSError:
        return "0000"


def _public(path: str) -> bytes | None:
    """The public half that belongs to a private key file; None when there is no private key that can be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as stream:
            return parse_private(stream.read(_LIMIT)).public.blob
    except (OSError, KeyFormatError):
        return None
