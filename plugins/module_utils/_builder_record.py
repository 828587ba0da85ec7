# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What is there of a builder that was made: its profile, and its record builder.json."""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

RECORD_VERSION = 1
_GENERATION = re.compile(r"-([0-9]+)-link$")


class Generation(t.NamedTuple):
    """What a profile points to: its number and store path, and whether that path is there. All empty: no profile."""

    number: int | None = None
    store_path: str | None = None
    valid: bool = False


def read_record(layout: Layout) -> dict[str, t.Any]:
    """The record of the last complete run; {} when there is none or it is from another version or damaged.

    A damaged record costs one realisation and harms nothing, so it is no error.
    """
    content = _files.read(layout.record).content
    try:
        record = json.loads(content) if content else {}
    except ValueError:
        record = {}
    return record if isinstance(record, dict) and record.get("version") == RECORD_VERSION else {}


def read_generation(profile: str) -> Generation:
    """Follow a Nix profile: `<profile>` -> `<profile>-<n>-link` -> store path. FileError when it is no link."""
    try:
        first = os.readlink(profile)
    except FileNotFoundError:
        return Generation()
    except OSError as exc:
        raise FileError(f"{profile}: is no Nix profile (no symbolic link). Name another profile, or move it away.") from exc
    match = _GENERATION.search(first)
    link = os.path.join(os.path.dirname(profile), first)
    try:
        store_path = os.readlink(link) if match else first
    except OSError:
        return Generation(int(match.group(1)) if match else None, None, False)
    return Generation(int(match.group(1)) if match else None, store_path, os.path.exists(store_path))


def recorded_host_key(record: t.Mapping[str, t.Any]) -> str | None:
    """V(stock) or V(per_mac): whose host key the recorded builder shows; None without a builder."""
    overrides = record.get("overrides")
    return str(overrides.get("host_key", "stock")) if isinstance(overrides, dict) else None
