# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""nix_conf: read, plan, let Nix check, apply."""

from __future__ import annotations

import grp
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_layout as _layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as _table
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import (
    CommandError,
    ConfigError,
    FileError,
    LinuxBuilderError,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import CLIENT_SETTINGS, Nix, daemon_settings, find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_edit import Plan, Site, plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_mask import (
    MASK,
    SECRET_SETTINGS,
    Masker,
    secrets_in,
    secrets_of,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_parse import decode
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_request import Request, check_owner, parse_request
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome

RequestOf = t.Callable[[Site, "str | None"], Request]


def lock(params: t.Mapping[str, t.Any]) -> tuple[str, float]:
    """What no two runs may do at once in one directory of Nix' configuration; see `_module.run_module`."""
    return os.path.dirname(params.get("path") or os.path.join(_layout.CONF_DIR, "nix.conf")), _lock.WAIT


def run(params: t.Mapping[str, t.Any], check_mode: bool, nix: Nix | None = None, request_of: RequestOf | None = None) -> Outcome:
    """Carry out one task of nix_conf. Raises LinuxBuilderError, its message free of secrets.

    nix: the Nix to ask; None finds the host's. request_of: makes the request from the file's state (and the
    owner) instead of from the options `settings`, `append` and `absent`.
    """
    masker = Masker(secrets_of(params.get("settings"), params.get("append"), params.get("absent")))
    try:
        return _run(params, check_mode, nix, masker, request_of)
    except LinuxBuilderError as exc:
        raise type(exc)(masker.clean(exc.message), **masker.clean_data(exc.details)) from None


def _run(
    params: t.Mapping[str, t.Any], check_mode: bool, nix: Nix | None, masker: Masker, request_of: RequestOf | None
) -> Outcome:
    owner = check_owner(params["owner"]) if params.get("owner") else None
    asked = [str(name) for option in ("settings", "append") for name in (params.get(option) or {})]
    # Where settings are only removed there may be nothing to do, on a Mac of nix-darwin's above all.
    writes = bool(asked) or request_of is not None
    layout = _layout.choose(params.get("path"), asked, writes=writes)
    snapshot = _layout.read(layout.path)
    masker.learn(secrets_in(decode(snapshot.content or b"")))
    warnings: list[str] = []
    nix = nix or _find(bool(params.get("validate", True)), warnings)
    table = _table.without_nix() if nix is None else _table.ask(nix)
    site = Site(layout.root, layout.path, snapshot.content, _cached(masker), table)
    request = (request_of or _request_of(params))(site, owner)
    edit = plan(site, request, owner)
    restart = False
    if edit.changed:
        _layout.refuse_nix_darwin(layout.path, layout.root, _layout.read(layout.root).content, asked)
        validating = nix if params.get("validate", True) else None
        restart = _accepted(validating, site, request, edit)
    result = _result(layout, request, edit, restart)
    if edit.changed and not check_mode:
        _apply(snapshot, edit, bool(params.get("backup")), result)
    warnings += _remarks(layout, snapshot)
    fresh = secrets_in(decode(edit.after or b"")) - secrets_in(decode(edit.before or b""))
    before, after = masker.clean_file(edit.before), masker.clean_file(edit.after, fresh)
    return Outcome(
        edit.changed, masker.clean_data(result), before, after, layout.target, [masker.clean(text) for text in warnings]
    )


def _request_of(params: t.Mapping[str, t.Any]) -> RequestOf:
    def parse(site: Site, _owner: str | None) -> Request:
        options = (params.get("settings"), params.get("append"), params.get("absent"))
        return parse_request(*options, site.table, bool(params.get("allow_unknown")))

    return parse


def _find(validate: bool, warnings: list[str]) -> Nix | None:
    try:
        return find_nix(Runner())
    except CommandError as exc:
        if validate:
            raise CommandError(
                f"no Nix on this host ({exc.message}) Without it the file cannot be checked; "
                "set `validate: false` to write it unchecked."
            ) from exc
        warnings.append("No Nix on this host: names and values of settings were not checked.")
        return None


def _cached(masker: Masker) -> t.Callable[[str], t.Any]:
    """Reads each included file once, so that the whole plan is made from one state of the host."""
    known: dict[str, t.Any] = {}

    def read(path: str) -> t.Any:
        if path not in known:
            known[path] = _layout.reader(path)
            masker.learn(secrets_in(decode(known[path] or b"")))
        return known[path]

    return read


def _accepted(nix: Nix | None, site: Site, request: Request, edit: Plan) -> bool:
    """Let Nix read the candidate; returns whether the daemon's configuration changes. ConfigError when Nix disagrees."""
    ours = {name for name in request.names if edit.stream_before.value(name) != edit.stream_after.value(name)}
    if nix is None:
        return bool(ours - CLIENT_SETTINGS)
    # Not at the top of the file: a Mac would compile it in each run that edits nothing.
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_check as _check

    before = _check.read_or_none(nix, site.root, edit.stream_before)
    reading = _check.check(nix, site.root, edit.stream_after)
    for name, feature in _check.ignored(reading, set(request.settings) | set(request.append), site.table):
        raise ConfigError(
            f"{site.path}: Nix ignores {name} unless the experimental feature {feature} is on. Append that to the features.",
            setting=name,
        )
    if before is None or reading.effective is None:
        return bool(ours - CLIENT_SETTINGS) or before is None
    wrong = _check.disagreements(reading.effective, edit.stream_after, [*request.settings, *request.append])
    if wrong:
        raise ConfigError(f"{site.path}: Nix reads {', '.join(wrong)} otherwise than it was asked for. Nothing was installed.")
    strays = _check.unexpected(before, reading.effective, request.names)
    if strays:
        raise ConfigError(
            f"{site.path}: the edit would also change {', '.join(strays)}; nothing was installed. Report this as a defect."
        )
    # This command needs the feature nix-command itself, so Nix' answer tells nothing about features.
    return "experimental-features" in ours or daemon_settings(before) != daemon_settings(reading.effective)


def _result(layout: _layout.Layout, request: Request, edit: Plan, restart: bool) -> dict[str, t.Any]:
    table = edit.stream_after.table
    effective: dict[str, t.Any] = {}
    for name in request.names:
        value = edit.stream_after.value(name)
        if value is not None and name in SECRET_SETTINGS:
            value = tuple(f"{item.partition('=')[0]}={MASK}" for item in value)
        effective[name] = None if value is None else list(value) if table.is_list(name) else " ".join(value)
    return {
        "path": layout.path,
        "effective": effective,
        "restart_required": restart,
        "overridden": [
            {"name": line.name, "value": " ".join(line.values), "path": line.path, "line": line.index + 1}
            for line in edit.overridden
        ],
        "backup_file": None,
    }


def _apply(snapshot: _files.Snapshot, edit: Plan, backup: bool, result: dict[str, t.Any]) -> None:
    if backup and snapshot.content is not None:
        result["backup_file"] = _files.back_up(snapshot)
    if edit.after is not None:
        _files.write(snapshot.path, edit.after, new_ownership(snapshot), expected=snapshot, keep_acl=True)
    elif not snapshot.unchanged():
        raise FileError(
            f"{snapshot.path}: was changed by somebody else meanwhile; it was not removed. Run again.", path=snapshot.path
        )
    else:
        _files.remove(snapshot.path)


def new_ownership(snapshot: _files.Snapshot) -> _files.Ownership:
    """An existing file keeps its own; a new one is readable by all (a client that cannot read it ignores it silently)."""
    if snapshot.content is not None:
        return _files.Ownership()
    if os.geteuid() != 0:
        return _files.Ownership(mode=0o644)
    return _files.Ownership(group=grp.getgrgid(0).gr_name, mode=0o644)


def _remarks(layout: _layout.Layout, snapshot: _files.Snapshot) -> list[str]:
    remarks = []
    if (snapshot.content or b"").startswith(b"\xef\xbb\xbf"):
        remarks.append(
            f"{layout.path}:1: begins with a byte order mark, so Nix does not apply the setting in this line. Remove the mark."
        )
    if layout.path != layout.root and os.path.islink("/etc/static"):
        remarks.append(f"{layout.path}: nix-darwin is on this Mac; darwin-rebuild stops at an edited {layout.path}.")
    return remarks
