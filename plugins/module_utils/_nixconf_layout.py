# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Who manages this Mac's nix.conf, which file settings belong in, and which must be left alone."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import Document
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import include_path

CONF_DIR = "/etc/nix"
DETERMINATE = "/usr/local/bin/determinate-nixd"
SIZE_LIMIT = 1024 * 1024  # bytes
_CUSTOM = "nix.custom.conf"
_STORE, _STATIC = "/nix/store/", "/etc/static/"
_DARWIN_HEADER = b"# WARNING: this file is generated from the nix.* options in"
_DETERMINATE_HEADER = b"# DETERMINATE NIX CONFIG"

# What determinate-nixd sets itself; its own nix-darwin module refuses these in nix.custom.conf.
FORBIDDEN = frozenset(
    "bash-prompt-prefix external-builders extra-nix-path nix-path netrc-file ssl-cert-file upgrade-nix-store-path-url".split()
)


class Layout(t.NamedTuple):
    """root: the nix.conf that Nix reads. path: the file to edit, by the name Nix uses. target: the same, symlinks resolved.

    manager: plain | installer (nix.custom.conf is included) | determinate.
    """

    root: str
    path: str
    target: str
    manager: str


def resolve(path: str) -> str:
    """The file behind a symlink. FileError for one that leads in a circle."""
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise FileError(f"{path}: the symlink leads in a circle. Remove it.", path=path)
    return target


def hops(path: str) -> t.Iterator[str]:
    """Every name on the way from a symlink to its file, so that a dangling one also tells who made it."""
    for _count in range(40):
        yield path
        if not os.path.islink(path):
            return
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))


def nix_darwin_owns(path: str, content: bytes | None = None) -> bool:
    """Whether nix-darwin makes this file: a symlink into its /etc/static or the store, or its header."""
    names = [*hops(path), os.path.realpath(path)]
    linked = any(name.startswith((_STORE, _STATIC, "/private" + _STATIC)) for name in names[1:])
    return linked or (content is not None and content.startswith(_DARWIN_HEADER))


def choose(
    path: str | None, names: t.Sequence[str], conf_dir: str = CONF_DIR, determinate: str = DETERMINATE, *, writes: bool = True
) -> Layout:
    """The file to edit. ConfigError when it is nix-darwin's or Determinate's own, naming what to use instead.

    path: what the user asked for, None to choose. names: the settings at hand, for the message. writes: whether
    an edit is certain; if not, nix-darwin's file is no error yet, see `refuse_nix_darwin`.
    """
    root = os.path.join(conf_dir, "nix.conf")
    if path is not None:
        root = _root_of(path, root)
    content = read(root).content
    is_determinate = _is_determinate(root, content, conf_dir, determinate)
    included = _includes(root, content)
    if path is None:
        path = os.path.join(conf_dir, _CUSTOM) if is_determinate or included else root
    if writes:
        refuse_nix_darwin(path, root, content, names)
    if is_determinate:
        _not_determinate(path, root, names)
    manager = "determinate" if is_determinate else "installer" if included else "plain"
    return Layout(root, path, resolve(path), manager)


def _root_of(path: str, default: str) -> str:
    """The nix.conf that a given path belongs to: itself, the one beside it, or the host's."""
    if not os.path.isabs(path):
        raise ConfigError(f"path: {path!r} is not absolute.", path=path)
    if os.path.basename(path) == "nix.conf":
        return path
    beside = os.path.join(os.path.dirname(path), "nix.conf")
    return next((root for root in (beside, default) if _includes(root, read(root).content, path)), _alone(path, beside))


def _alone(path: str, beside: str) -> str:
    return beside if os.path.exists(beside) else path


def _includes(root: str, content: bytes | None, path: str | None = None) -> bool:
    """Whether a nix.conf includes `path` (its own nix.custom.conf) directly."""
    wanted = path or os.path.join(os.path.dirname(root), _CUSTOM)
    lines = Document.of(content or b"").lines
    return any(line.kind == "include" and include_path(root, line.words[1]) == os.path.normpath(wanted) for line in lines)


def _is_determinate(root: str, content: bytes | None, conf_dir: str, determinate: str) -> bool:
    if content is not None and content.lstrip().startswith(_DETERMINATE_HEADER):
        return True
    return os.path.dirname(root) == conf_dir and os.path.exists(determinate)


def refuse_nix_darwin(path: str, root: str, content: bytes | None, names: t.Sequence[str]) -> None:
    """ConfigError when `path`, or the nix.conf `root` with this content, is made by nix-darwin."""
    if path != root and nix_darwin_owns(path):
        option = "determinateNix.customSettings"
    elif nix_darwin_owns(root, content):
        option = "nix.settings"
    else:
        return
    wanted = ", ".join(f"{option}.{name}" for name in names) or option
    raise ConfigError(
        f"{path}: is made by nix-darwin, which would undo any edit. Set {wanted} in the nix-darwin configuration.", path=path
    )


def _not_determinate(path: str, root: str, names: t.Sequence[str]) -> None:
    if path == root:
        raise ConfigError(
            f"{path}: is rewritten by determinate-nixd. Omit `path` to use {os.path.join(os.path.dirname(root), _CUSTOM)}.",
            path=path,
        )
    forbidden = [name for name in names if name in FORBIDDEN]
    if forbidden:
        raise ConfigError(
            f"{path}: {', '.join(forbidden)}: reserved by Determinate Nix and refused in this file. Remove it from the request.",
            path=path,
        )


def read(path: str) -> _files.Snapshot:
    """The file (symlinks followed), with a limit and without NUL bytes. FileError names what is wrong."""
    snapshot = _files.read(resolve(path), SIZE_LIMIT)
    if snapshot.content is not None and b"\0" in snapshot.content:
        line = snapshot.content[: snapshot.content.index(b"\0")].count(b"\n") + 1
        raise FileError(f"{path}:{line}: has a NUL byte, so it is no text file. Restore it from a backup.", path=path)
    return snapshot


def reader(path: str) -> bytes | t.Literal[False] | None:
    """Content for the include stream: None for a missing file, False for what Nix silently ignores (directory, no right)."""
    try:
        return read(path).content
    except FileError:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            raise
        return False
