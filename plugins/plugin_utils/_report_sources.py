# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""Where reports that others wrote come from: a file or an address of one, or a place where each Mac leaves its own.

A report that was named is taken whole, and must be one. In a place of many each file stands for the one Mac whose name it
has: what it says of others is dropped, and one that is no report is a row that says so, not the end of all others' report.
"""

from __future__ import annotations

import json
import os
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.urls import open_url

from ansible_collections.nixmac.linux_builder.plugins.plugin_utils import _report

LIMIT = 256 * 1024 * 1024  # bytes of a named report: some 100,000 Macs
OWN_LIMIT = 1024 * 1024  # bytes of one Mac's own
TIMEOUT = 30  # seconds for one answer
_HINT = "Name reports of earlier runs in `merge`."
_SUFFIX = ".json"


def rows(source: str, hosts: t.Iterable[str]) -> list[_report.Row]:
    """The rows of one entry of `merge`. hosts: whose files are asked for at an address that ends in a slash. ReportError."""
    if source.startswith(("http://", "https://")):
        if source.endswith("/"):
            own = ((host, _fetch(f"{source}{urllib.parse.quote(host, safe='')}{_SUFFIX}", OWN_LIMIT)) for host in hosts)
            return [_own(host, body) for host, body in own if body is not None]
        body = _fetch(source, LIMIT)
        if body is None:
            raise _report.ReportError(f"{source}: is not there (404). {_HINT}")
        return _parsed(body, source)
    if os.path.isdir(source):
        names = sorted(name for name in os.listdir(source) if name.endswith(_SUFFIX) and not name.startswith("."))
        return [_own(name[: -len(_SUFFIX)], _load(os.path.join(source, name), OWN_LIMIT)) for name in names]
    return _parsed(_load(source, LIMIT), source)


def _parsed(body: bytes, source: str) -> list[_report.Row]:
    try:
        data = json.loads(body.decode("utf-8"))
    except ValueError as exc:
        raise _report.ReportError(f"{source}: is no JSON ({to_native(exc)}). {_HINT}") from exc
    return _report.rows_of(data, source)


def _own(host: str, body: bytes) -> _report.Row:
    try:
        found = [row for row in _parsed(body, f"{host}{_SUFFIX}") if row["name"] == _report.text(host)]
    except _report.ReportError as exc:
        return _report.unread(host, "failed", str(exc))
    return found[0] if found else _report.unread(host, "failed", f"{host}{_SUFFIX}: says nothing of this Mac.")


def _load(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError as exc:
        raise _report.ReportError(f"{path}: cannot be read: {exc.strerror}. {_HINT}") from exc


def _fetch(url: str, limit: int) -> bytes | None:
    """None where there is nothing at that address."""
    try:
        with open_url(url, timeout=TIMEOUT, headers={"Accept": "application/json"}) as answer:
            body: bytes = answer.read(limit)
            return body
    except urllib.error.HTTPError as exc:
        if exc.code == 404:
            return None
        raise _report.ReportError(f"{url}: cannot be read: the server says {exc.code} {exc.reason}. {_HINT}") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise _report.ReportError(f"{url}: cannot be read: {to_native(reason)}. Is the server up? {_HINT}") from exc
