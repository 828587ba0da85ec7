# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""ssh_host_key as a whole: options to wish, read, plan, apply, return values."""

from __future__ import annotations

import base64
import dataclasses
import grp
import os
import pwd
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import (
    PrivateKey,
    PublicKey,
    clean_comment,
    parse_private,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import (
    GENERATE,
    INSTALL,
    REMOVE,
    Pair,
    Plan,
    Wish,
    check_given,
    check_type_and_size,
    describe_plan,
    make_plan,
    mismatch,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_store import Change, PairStore
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError, normalise


@dataclasses.dataclass
class Report:
    """changed, the module's return values, the diff's texts and the warnings."""

    changed: bool
    result: dict[str, t.Any]
    before: str
    after: str
    warnings: list[str]


def make_wish(params: t.Mapping[str, t.Any]) -> Wish:
    """Check the module's options; ConfigError for what cannot be, FileError for an unknown owner or group."""
    path = params["path"]
    if not os.path.isabs(path) or path.endswith((".pub", "/", "~")):
        raise ConfigError(f"path: {path!r} is not the absolute path of a private key (without .pub).")
    comment = params["comment"]
    if comment is not None and clean_comment(comment) != comment:
        raise ConfigError("comment: has to be one line without blanks around it, as it stands on the .pub line.")
    check_type_and_size(params["type"], params["size"])
    given = params["private_key"]
    uid, gid = Ownership(params["owner"], params["group"]).ids()
    present = params["state"] == "present"
    return Wish(
        path=os.path.normpath(path),
        state=params["state"],
        type=params["type"],
        size=params["size"],
        comment=comment,
        uid=uid,
        gid=gid,
        mode=_mode(params["mode"]),
        regenerate=params["regenerate"],
        given=check_given(given, params["type"], params["size"]) if present and given is not None else None,
        backup=present if params["backup"] is None else params["backup"],
        remove_backups=bool(params["remove_backups"]) and not present,
        caller=(os.geteuid(), os.getegid()),
    )


def _mode(value: t.Any) -> int:
    """0600 or 0400: ssh ignores a private key that anybody but its owner may read."""
    try:
        mode = value if isinstance(value, int) else int(str(value), 8)
    except ValueError:
        mode = -1
    if mode not in (0o600, 0o400):
        raise ConfigError(
            f"mode: {value!r} is not possible for a private key: ssh ignores one that others may read. "
            "Use '0600' or '0400', in quotes."
        )
    return mode


def check_host(host: str | None) -> None:
    """ConfigError when the name cannot stand at the beginning of a known_hosts line."""
    if host is not None and (not host or host.startswith(("#", "@", "|")) or not host.isprintable() or " " in host):
        raise ConfigError(f"host: {host!r} cannot stand in a known_hosts line. Name one host, as 'name' or '[name]:port'.")


def ensure(params: t.Mapping[str, t.Any], check_mode: bool, keygen: SshKeygen, store: PairStore | None = None) -> Report:
    """Bring the pair to what is asked for; in check mode only say what would be done."""
    check_host(params["host"])
    wish = make_wish(params)
    store = store or PairStore(wish.path)
    with store.locked():
        pair = store.read()
        plan = make_plan(wish, pair)
        before, after = describe_plan(plan, wish, pair, _owner)
        backups: list[str] = []
        if not check_mode:
            manifest = Manifest() if params.get("manifest") and wish.state == "present" else None
            if manifest is not None:
                # Also where nothing changes: that the pair was there before is what teardown has to know.
                manifest.claim("credentials", {wish.path: None, f"{wish.path}.pub": None})
            backups = apply(plan, wish, pair, store, keygen, manifest)
    result = _result(plan, wish, params["host"], backups)
    return Report(plan.changed, result, _text(before), _text(after if plan.changed else before), plan.warnings)


def apply(plan: Plan, wish: Wish, pair: Pair, store: PairStore, keygen: SshKeygen, manifest: Manifest | None = None) -> list[str]:
    """Carry out the plan and return the backups; fills in the public half of a generated key.

    manifest: learns the contents before they are written; None for a pair that no teardown has to know.
    """
    backups = store.recover() if plan.recover else []
    if plan.fix_private:
        store.set_access("private", pair.private, plan.private_access)
    if plan.fix_public:
        store.set_access("public", pair.public, plan.public_access)
    if plan.key == REMOVE or plan.replaces_private or plan.public_text is not None:
        backups += _replace(plan, wish, pair, store, keygen, manifest)
    store.remove_backups(plan.remove)
    return backups


def _replace(plan: Plan, wish: Wish, pair: Pair, store: PairStore, keygen: SshKeygen, manifest: Manifest | None) -> list[str]:
    workspace = store.workspace()
    try:
        private = _private_content(plan, wish, pair, workspace, store, keygen)
    except BaseException:
        store.recover()
        raise
    changes = []
    if plan.key == REMOVE or private is not None:
        changes.append(Change("private", private, plan.private_access, pair.private, plan.back_up_private))
    if plan.key == REMOVE or plan.public_text is not None:
        public = None if plan.key == REMOVE else (plan.public_text or "").encode()
        changes.append(Change("public", public, plan.public_access, pair.public, plan.back_up_public))
    if manifest is not None:
        targets = {"private": wish.path, "public": f"{wish.path}.pub"}
        manifest.claim("credentials", {targets[change.name]: change.content for change in changes})
    return store.replace(changes)


def _private_content(plan: Plan, wish: Wish, pair: Pair, workspace: str, store: PairStore, keygen: SshKeygen) -> bytes | None:
    """What goes into the private file; None when it stays as it is, or goes."""
    if plan.key == GENERATE:
        keygen.generate(workspace, wish.new_type, wish.new_size, plan.comment)
        key = _check_generated(store.take_generated(), wish)
        plan.public = key.public
        plan.public_text = key.public.line(plan.comment) + "\n"
        return key.text.encode()
    if plan.key == INSTALL:
        return t.cast(PrivateKey, wish.given).text.encode()
    if plan.replaces_private:
        return normalise(pair.private.content or b"").encode()
    return None


def _check_generated(content: bytes, wish: Wish) -> PrivateKey:
    """What ssh-keygen wrote has to be the key that was asked for, before it replaces anything."""
    try:
        key = parse_private(content)
        problem = mismatch(wish.new_type, wish.new_size, key.public)
    except KeyFormatError as exc:
        problem = exc.message
    if problem:
        raise StateError(f"{wish.path}: the key that ssh-keygen made {problem}. Nothing was changed; check ssh-keygen.")
    return key


def _result(plan: Plan, wish: Wish, host: str | None, backups: list[str]) -> dict[str, t.Any]:
    public = plan.public if wish.state == "present" else None
    result: dict[str, t.Any] = {"path": wish.path, "backup_files": backups}
    result.update(_public_forms(public, plan.comment, host))
    return result


def _public_forms(public: PublicKey | None, comment: str, host: str | None) -> dict[str, t.Any]:
    """Every public form that Nix and ssh want; None for all while the key does not exist."""
    if public is None:
        forms = ("type", "bits", "public_key", "public_key_base64", "fingerprint", "known_hosts_line")
        return dict.fromkeys(forms)
    line = public.line(comment)
    return {
        "type": public.type,
        "bits": public.bits,
        "public_key": line,
        "public_key_base64": base64.b64encode(f"{line}\n".encode()).decode(),
        "fingerprint": public.fingerprint,
        "known_hosts_line": None if host is None else f"{host} {public.line()}",
    }


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _owner(uid: int, gid: int) -> str:
    """owner:group, by name where the host knows it."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return f"{user}:{group}"
