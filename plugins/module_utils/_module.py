# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The only place that knows both AnsibleModule and the collection's errors."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (  # pylint: disable=unused-import
    _archive,  # noqa: F401  (for what it does when it is imported)
    _lock,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


def run_module(
    module: AnsibleModule,
    execute: t.Callable[[dict[str, t.Any], bool], Outcome],
    lock: t.Callable[[dict[str, t.Any]], tuple[str, float]] | None = None,
) -> t.NoReturn:
    """Call `execute(params, check_mode)` and leave through exit_json or fail_json.

    lock: of the params, the directory that no two runs may work on at once, and the seconds to wait for another run.
    """
    params, check_mode = dict(module.params), bool(module.check_mode)
    try:
        with contextlib.nullcontext() if check_mode or lock is None else _lock.held(*lock(params)):
            outcome = execute(params, check_mode)
    except LinuxBuilderError as exc:
        module.fail_json(msg=exc.message, **exc.details)
    except OSError as exc:
        # The areas convert theirs with better words; what slips through still names its file and ends without a traceback.
        module.fail_json(msg=f"{exc.filename or 'the system'}: {exc.strerror or exc}. Nothing more was done. Run again.")
    for warning in outcome.warnings:
        module.warn(warning)
    result = dict(outcome.result, changed=outcome.changed)
    if module._diff and outcome.before is not None and outcome.after is not None:
        result["diff"] = {
            "before": outcome.before,
            "after": outcome.after,
            "before_header": outcome.header,
            "after_header": outcome.header,
        }
    module.exit_json(**result)
