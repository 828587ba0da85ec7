# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""state=started: the VM that is there runs again, as it is. Nothing is built or fetched, so it needs no other builder."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_journal, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_apply import exclusive
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change import restore_file
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_plan import (
    HARMLESS,
    READY,
    START,
    definition_in,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_tools import Tools
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import (
    ALIAS,
    PUBLIC_KEY_NAME,
    Layout,
    connect_address,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation, read_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import layout_from, parse_host_key
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

_LEAST = 10.0  # seconds that the guest gets for its first answer, however long its port took


class Stopped(t.NamedTuple):
    """A builder whose job launchd does not have: the job, and where its ssh will be."""

    definition: dict[str, t.Any]
    address: str
    port: int


def execute(params: dict[str, t.Any], tools: Tools, check_mode: bool, progress: Progress = SILENT) -> Outcome:
    """Start the builder where it is stopped, with the client's key and the host key that there are now."""
    layout = layout_from(params)
    with contextlib.nullcontext() if check_mode else exclusive(layout.profile, params["timeout"]):
        stopped = look(layout, tools, params)
        generation = read_generation(layout.profile)
        result: dict[str, t.Any] = {
            "store_path": generation.store_path,
            "generation": generation.number,
            "ready": False,
            "port": stopped.port if stopped is not None else None,
        }
        if stopped is not None and not check_mode:
            result.update(_start(stopped, layout, tools, params, progress))
    words = "" if stopped is None else "VM: {}loaded\n"
    return Outcome(stopped is not None, result, words.format("not "), words.format(""), layout.label)


def look(layout: Layout, tools: Tools, params: t.Mapping[str, t.Any]) -> Stopped | None:
    """The builder that is there and stopped; None where there is none, where its job is loaded, or in the midst of a change.

    A change that was killed (see _builder_change) is completed by state=running: half of its files may be new.
    """
    journal = _builder_journal.read(layout)
    if journal is not None and journal.phase not in HARMLESS:
        return None
    record = read_record(layout)
    job = tools.job(layout, tools.runner)
    definition = definition_in(job.read().content)
    there = record and definition is not None and read_generation(layout.profile).valid
    if not there or definition is None or job.look() is not None:
        return None
    overrides = record.get("overrides")
    made = overrides if isinstance(overrides, dict) else {}
    return Stopped(definition, str(made.get("host_address", params["host_address"])), int(made.get("port", params["port"])))


def _start(stopped: Stopped, layout: Layout, tools: Tools, params: t.Mapping[str, t.Any], progress: Progress) -> dict[str, t.Any]:
    """Start it and wait for its answer."""
    # The VM reads its keys when it boots, so what is known about them here has to be of now.
    restore_file(layout.known_hosts, f"{ALIAS} {parse_host_key(params['public_host_key'])}\n".encode(), 0o644)
    client = _files.read(params["client_key"] + ".pub", limit=65536).content
    if client is not None:
        restore_file(os.path.join(layout.keys, PUBLIC_KEY_NAME), client, 0o644)
    began = tools.clock()
    progress.phase(START)
    tools.job(layout, tools.runner).start(stopped.definition, connect_address(stopped.address), stopped.port, params["timeout"])
    progress.phase(READY)
    guest = Guest(layout, stopped.address, stopped.port, params["client_key"])
    ready = tools.ready(guest, tools.runner, max(_LEAST, params["timeout"] - (tools.clock() - began)))
    return {"ready": True, "boot_id": ready.boot_id, "seconds": ready.seconds}
