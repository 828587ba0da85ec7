# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""ssh_host_key up to its plan: options to wish, what is there, what would be done, return values. Changes nothing."""

from __future__ import annotations

import base64
import dataclasses
import grp
import os
import pwd
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import (
    PublicKey,
    clean_comment,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import (
    Plan,
    Wish,
    check_given,
    check_type_and_size,
    describe_plan,
    make_plan,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_read import PairReader


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


def foretell(params: t.Mapping[str, t.Any], store: PairReader | None = None) -> Report:
    """What would be done to the pair, and what is returned then."""
    wish = wish_of(params)
    store = store or PairReader(wish.path)
    with store.locked():
        pair = store.read()
        plan = make_plan(wish, pair)
    return report(plan, describe_plan(plan, wish, pair, owner), wish, params["host"], [])


def wish_of(params: t.Mapping[str, t.Any]) -> Wish:
    """The checked options."""
    check_host(params["host"])
    return make_wish(params)


def report(plan: Plan, texts: tuple[list[str], list[str]], wish: Wish, host: str | None, backups: list[str]) -> Report:
    """After the plan was carried out, or instead of it. texts: what describe_plan said before."""
    before, after = texts
    result = _result(plan, wish, host, backups)
    return Report(plan.changed, result, _text(before), _text(after if plan.changed else before), plan.warnings)


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


def owner(uid: int, gid: int) -> str:
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
