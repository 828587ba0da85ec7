# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The diagnosis as modules use it: from their options, to their results or into the message of an error."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Result
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import Question

# The rules are imported where a diagnosis is made: a third of what builder_info and builder_verify are made of, which a Mac
# would compile anew in each run that needs none.


def question_of(params: t.Mapping[str, t.Any]) -> Question:
    """The question of a diagnosis from a module's options; what the module has no option for is left to the default."""
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import Question

    changes: dict[str, t.Any] = {
        "uri": params["uri"],
        "key": params["key"],
        "log": params["log_path"],
        "public_host_key": params.get("public_host_key") or "",
        "trusted_users": tuple(params.get("trusted_users") or ()),
    }
    for name in ("alias", "host_address", "port", "label", "working_directory", "profile", "minimum_macos", "max_clock_skew"):
        if params.get(name):
            changes[name] = params[name]
    for name in ("systems", "features"):
        if params.get(name):
            changes[name] = tuple(params[name])
    return dataclasses.replace(Question(), **changes)


def links(params: t.Mapping[str, t.Any], seconds: float) -> dict[str, t.Any]:
    """The results `links`, `broken` and `report` of a module. seconds: that it may take."""
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose

    results = _run(params, seconds)
    first = _diagnose.first_broken(results)
    return {
        "links": [result.as_dict() for result in results],
        "broken": first.link.name if first else None,
        "report": report(results),
    }


def _run(params: t.Mapping[str, t.Any], seconds: float) -> list[Result]:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import BoundedRunner

    return _diagnose.run(question_of(params), BoundedRunner(float(seconds)))


def report(results: t.Sequence[Result]) -> list[str]:
    """One line for each link, and a last one that says where to begin."""
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose

    width = max(len(result.link.name) for result in results)
    lines = []
    for result in results:
        words = result.link.checks if result.state == "ok" else result.evidence
        if result.cause is not None:
            words = f"{result.cause.says} {result.evidence.rstrip('.')}. {result.fix}"
        lines.append(f"{result.state.replace('_', ' '):11} {result.link.name:{width}} {words}")
    first = _diagnose.culprit(results)
    lines.append(f"Begin with {first.sentence}" if first else "No link is broken.")
    return lines


def explained(error: LinuxBuilderError, params: t.Mapping[str, t.Any], seconds: float) -> LinuxBuilderError:
    """The error with the first broken link in its message, and all links in its details."""
    if seconds <= 0:
        return error
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose

    results = _run(params, seconds)
    first = _diagnose.culprit(results)
    words = f" First broken link: {first.sentence}" if first else " Diagnosis: every link that could be looked at is sound."
    return type(error)(
        f"{error.message}{words}",
        **{
            **error.details,
            "links": [result.as_dict() for result in results],
            "broken": first.link.name if first else None,
        },
    )
