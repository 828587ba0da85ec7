# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's options as its documentation has them, those of its doc fragments included."""

from __future__ import annotations

import importlib
import types
import typing as t

import yaml

_COLLECTION = "nixmac.linux_builder."
_FRAGMENTS = "ansible_collections.nixmac.linux_builder.plugins.doc_fragments."


def options(module: types.ModuleType) -> dict[str, dict[str, t.Any]]:
    """Name -> what is written of it; a module's own words come before a fragment's."""
    document = yaml.safe_load(module.DOCUMENTATION)
    merged: dict[str, dict[str, t.Any]] = {}
    for reference in document.get("extends_documentation_fragment", []):
        name, _dot, variant = reference[len(_COLLECTION) :].partition(".")
        fragment = importlib.import_module(_FRAGMENTS + name).ModuleDocFragment
        merged.update(yaml.safe_load(getattr(fragment, variant.upper() or "DOCUMENTATION"))["options"])
    for name, own in document.get("options", {}).items():
        merged[name] = {**merged.get(name, {}), **own}
    return merged
