# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The collection's files out of Ansible's zip, each compiled once. Imported before all the others, for what it does then.

A module reaches a Mac as a zip, from which Python imports and in which it keeps no compiled files. Its importer compiles a
file to tell where it lies, throws that away, and compiles it again to run it (seen in Python 3.9 to 3.13). Here the place is
told without compiling; all else is left to the very same importer. Of a module that changes nothing, compiling is most of the
work. Only this collection's own files are looked for, and outside of a zip nothing happens.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import types
import typing as t
import zipimport

PACKAGE = __name__.rpartition(".")[0]


class Finder:
    """Finds files of PACKAGE in a zip. importer: Python's own for that zip. directory: the package's, inside the zip."""

    def __init__(self, importer: zipimport.zipimporter, directory: str) -> None:
        self._importer = importer
        self._directory = directory

    def find_spec(
        self, name: str, _path: t.Sequence[str] | None = None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As an importer's of sys.meta_path; None leaves it to those that come after."""
        package, _dot, tail = name.rpartition(".")
        if package != PACKAGE:
            return None
        try:
            if self._importer.is_package(name):
                return None
        except ImportError:
            return None
        path = os.path.join(self._directory, f"{tail}.py")
        return importlib.util.spec_from_file_location(name, path, loader=self._importer)


def install(spec: importlib.machinery.ModuleSpec | None) -> bool:
    """Put the finder before the others if the file of that spec came out of a zip; whether it did."""
    if spec is None or not isinstance(spec.loader, zipimport.zipimporter) or spec.origin is None:
        return False
    sys.meta_path.insert(0, t.cast(t.Any, Finder(spec.loader, os.path.dirname(spec.origin))))
    return True


install(__spec__)
