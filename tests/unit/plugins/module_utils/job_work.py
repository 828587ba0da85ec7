# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work for the tests of jobs; a job's process imports it."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress


def execute(params: dict[str, t.Any], check_mode: bool, progress: Progress = SILENT) -> Outcome:
    """Adds a line to `log`, waits for the file `gate`, then does what `how` says.

    A test that opens no gate leaves nothing behind for ever: the wait ends with the test's folder, or after five minutes.
    """
    folder = pathlib.Path(params["folder"])
    with open(folder / "log", "a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()} {os.getsid(0)}\n")
    progress.phase("build")
    progress.detail(1, 4, "derivations")
    if params.get("how") == "child":
        Runner().run(["/bin/sh", "-c", f"echo $$ > {folder}/child; exec sleep 600"], timeout=600)
    deadline = time.monotonic() + 300.0
    while not (folder / "gate").exists() and folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    how = params.get("how", "well")
    if how == "rolled back":
        raise StateError("the new one did not answer; the one from before was put back", rolled_back=True, phase="ready")
    if how == "error":
        raise StateError("nothing: is as it should be", hint="none")
    if how == "os_error":
        raise OSError(28, "No space left on device", "/nix/store/x")
    if how == "crash":
        raise ZeroDivisionError("a mistake of ours")
    first = not (folder / "done").exists()
    (folder / "done").touch()
    return Outcome(
        changed=first,
        result={"runs": len((folder / "log").read_text().splitlines())},
        before="" if first else "done\n",
        after="done\n",
        header="work",
        warnings=["careful"],
    )
