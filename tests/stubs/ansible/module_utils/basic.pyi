# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What this collection uses of ansible-core, which ships no types of its own.
import typing as t

class AnsibleModule:
    params: dict[str, t.Any]
    check_mode: bool
    _diff: bool
    def __init__(
        self,
        argument_spec: t.Mapping[str, t.Any],
        *,
        supports_check_mode: bool = ...,
        mutually_exclusive: t.Sequence[t.Sequence[str]] = ...,
        required_together: t.Sequence[t.Sequence[str]] = ...,
        required_one_of: t.Sequence[t.Sequence[str]] = ...,
        required_if: t.Sequence[t.Sequence[t.Any]] = ...,
        required_by: t.Mapping[str, t.Any] = ...,
    ) -> None: ...
    def warn(self, warning: str) -> None: ...
    def exit_json(self, **kwargs: t.Any) -> t.NoReturn: ...
    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn: ...
