# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The one exception family of the collection.

Everything below `module_utils` raises a `LinuxBuilderError`; `_module.run_module` turns it into
`fail_json` in one place. Each message names the file or host, what is wrong, and what to do next.
"""

from __future__ import annotations

import typing as t


class LinuxBuilderError(Exception):
    """Base of all errors that a user can act on.

    `details` goes into the module's result beside `msg`; it never holds a secret.
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, t.Any] = details


class CommandError(LinuxBuilderError):
    """A program is missing, ended with an unexpected status, or ran past its deadline."""


class FileError(LinuxBuilderError):
    """A file cannot be read or written, or is not what it has to be."""


class ConfigError(LinuxBuilderError):
    """What the user asked for is malformed or contradicts itself or the host."""


class StateError(LinuxBuilderError):
    """The host did not reach the state that was asked for."""
