# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""ssh_host_key as a whole: what _sshkey_look planned is carried out."""

from __future__ import annotations

import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import (
    PrivateKey,
    parse_private,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_keygen import SshKeygen
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_look import Report, foretell, owner, report, wish_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import (
    GENERATE,
    INSTALL,
    REMOVE,
    Pair,
    Plan,
    Wish,
    describe_plan,
    make_plan,
    mismatch,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_store import Change, PairStore
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError, normalise


def ensure(params: t.Mapping[str, t.Any], check_mode: bool, keygen: SshKeygen, store: PairStore | None = None) -> Report:
    """Bring the pair to what is asked for; in check mode only say what would be done."""
    if check_mode:
        return foretell(params, store)
    wish = wish_of(params)
    store = store or PairStore(wish.path)
    with store.locked():
        pair = store.read()
        plan = make_plan(wish, pair)
        texts = describe_plan(plan, wish, pair, owner)
        manifest = Manifest() if params.get("manifest") and wish.state == "present" else None
        if manifest is not None:
            # Also where nothing changes: that the pair was there before is what teardown has to know.
            manifest.claim("credentials", {wish.path: None, f"{wish.path}.pub": None})
        backups = apply(plan, wish, pair, store, keygen, manifest)
    return report(plan, texts, wish, params["host"], backups)


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
