# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""A job's process: how it is started, and what it does.

It is a new interpreter, not a fork: macOS' system libraries do not promise to work in a forked child that goes on without
exec. It gets a copy of the module's code, because Ansible removes its own when the module ends. A session of its own
keeps it away from the signals that end a connection's processes; launchd ends a job's process group, and this is
another one.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (  # pylint: disable=unused-import
    _archive,  # noqa: F401  (for what it does when it is imported)
    _files,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import FileProgress

LOCK = "lock"
RECORD = "job.json"
STATUS = "status.json"
RESULT = "result.json"
PROCESS = "process.json"
OUTPUT = "output"
CODE = "code.zip"

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from {name} import main; main(sys.argv[2], sys.argv[3])"


def code() -> str | None:
    """Where this code was imported from: a zip file (of Ansible's) or a directory. None: from neither (Mitogen)."""
    tail = os.path.join("", *__name__.split(".")) + ".py"
    root = __file__[: -len(tail) - 1] if __file__.endswith(os.sep + tail) else ""
    return root if root and os.path.exists(root) else None


def start(directory: str, entry: str, record: t.Mapping[str, t.Any]) -> None:
    """Make the job's directory and start its process, which holds the lock when this returns.

    entry: `module:function`, called with (params, False, progress). FileError when it cannot be written.
    """
    root = code()
    if root is None:
        raise FileError(f"{__file__}: is not where Python can find it again. Nothing was started.")
    try:
        os.mkdir(directory, 0o700)
        if os.path.isfile(root):
            root = shutil.copyfile(root, os.path.join(directory, CODE))
        _write(os.path.join(directory, RECORD), record)
        lock = os.open(os.path.join(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise FileError(f"{directory}: cannot be made: {exc.strerror}. Free disk space, then run again.") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(os.path.join(directory, OUTPUT), "wb") as output:
            subprocess.Popen(  # pylint: disable=ansible-bad-function
                [sys.executable, "-I", "-c", _BOOT.format(name=__name__), root, directory, entry],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                pass_fds=(lock,),
                start_new_session=True,
            )
    except OSError as exc:
        raise FileError(f"{sys.executable}: cannot be started: {exc.strerror}. Check this Mac's Python.") from exc
    finally:
        os.close(lock)  # the process has it, and with it the lock


def main(directory: str, entry: str) -> None:
    """What the process does: the work, and its result into the job's directory."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    _write(os.path.join(directory, PROCESS), {"pid": os.getpid()})
    with open(os.path.join(directory, RECORD), encoding="utf-8") as stream:
        record = json.load(stream)
    _write(os.path.join(directory, RESULT), _result(entry, record["params"], os.path.join(directory, STATUS)))


def _end(number: int, _frame: t.Any) -> t.NoReturn:
    """Asked to end: unwinds, so that what was started ends too."""
    raise SystemExit(128 + number)


def _result(entry: str, params: dict[str, t.Any], status: str) -> dict[str, t.Any]:
    module, _colon, name = entry.partition(":")
    try:
        outcome = getattr(importlib.import_module(module), name)(params, False, FileProgress(status))
    except LinuxBuilderError as exc:
        return {"error": {"message": exc.message, "details": exc.details}}
    except OSError as exc:
        return {"os_error": [exc.errno, exc.strerror or str(exc), exc.filename]}
    except Exception:
        return {"crash": traceback.format_exc()}
    return {"outcome": vars(outcome)}


def _write(path: str, table: t.Mapping[str, t.Any]) -> None:
    _files.write(path, json.dumps(table, default=str).encode(), _files.Ownership(mode=0o600))
