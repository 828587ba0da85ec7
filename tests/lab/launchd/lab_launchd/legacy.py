# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The legacy verbs: load, unload, start, stop, remove, list, getenv, setenv, unsetenv."""

from __future__ import annotations

import os
import typing as t

from lab_launchd import printer
from lab_launchd.call import Call, Refused
from lab_launchd.definition import read_definition
from lab_launchd.facts import EALREADY, EIO, NO_SERVICE, LaunchError, describe
from lab_launchd.job import Job
from lab_launchd.manager import Domain

_LOAD_HINT = "Try running `launchctl bootstrap` as root for richer errors."
_UNLOAD_HINT = "Try running `launchctl bootout` as root for richer errors."


def _split(call: Call, command: str) -> tuple[str, list[str]]:
    """Flags and paths. `-S session` and `-D domain` take a value that the stand-in does not need."""
    flags, paths, words = "", [], list(call.words)
    while words:
        word = words.pop(0)
        if word in ("-S", "-D") and words:
            words.pop(0)
        elif word.startswith("-"):
            flags += word[1:]
        else:
            paths.append(call.path(word))
    if not paths:
        # Exit status and text of launchctl without paths are not recorded.
        raise Refused(f"Usage: launchctl {command} <service-path, service-path2, ...>", 1)
    return flags, [item for path in paths for item in _expand(path)]


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".plist")]
    return [path]


def load(call: Call) -> None:
    """load [-wF] <path>... : exit status 0 even when it fails, as recorded."""
    flags, paths = _split(call, "load")
    domain = call.session()
    lines = []
    for path in paths:
        if call.root and "/LaunchAgents/" in path and call.era >= 11:
            words = "Expecting a LaunchDaemons path since the command was ran as root. Got LaunchAgents instead."
            lines.append(f"Warning: {words}")
        try:
            if "w" in flags:
                call.manager.overrides(domain.uid).write(read_definition(path).label, False)
            call.manager.load(domain, path, force="F" in flags)
        except LaunchError as error:
            call.manager.log(f"Load of {path} failed ({error.number}: {error.detail})")
            lines += _load_failure(call, path, error.number)
    call.answer("", "".join(line + "\n" for line in lines), 0)


def _load_failure(call: Call, path: str, number: int) -> list[str]:
    if call.era <= 10:
        words = "service already loaded" if number == EALREADY else describe(number)
        return [f"{path}: {words}"]
    return [f"Load failed: 5: {describe(EIO)}", _LOAD_HINT]


def unload(call: Call) -> None:
    """unload [-w] <path>... : answers when the jobs are gone; exit status 0 even when it fails."""
    flags, paths = _split(call, "unload")
    domain = call.session()
    lines: list[str] = []
    waiting: list[Job] = []
    for path in paths:
        label = _label(path)
        if "w" in flags and label:
            call.manager.overrides(domain.uid).write(label, True)
        job = _by_path(domain, path, label)
        if job is None:
            lines += _unload_failure(call, path)
        else:
            waiting.append(job)
    _Removal(call, waiting, "".join(line + "\n" for line in lines))


def _label(path: str) -> str:
    try:
        return read_definition(path).label
    except LaunchError:
        return ""


def _by_path(domain: Domain, path: str, label: str) -> Job | None:
    for job in domain.jobs.values():
        if job.path == path:
            return job
    return domain.jobs.get(label)


def _unload_failure(call: Call, path: str) -> list[str]:
    if call.era <= 10:
        return [f"{path}: {describe(NO_SERVICE)}"]
    number = NO_SERVICE if call.root else EIO
    lines = [f"Unload failed: {number}: {describe(number)}"]
    return lines if call.root else [*lines, _UNLOAD_HINT]


class _Removal:
    """Answers one unload when the last of its jobs is gone."""

    def __init__(self, call: Call, jobs: list[Job], text: str) -> None:
        self.call = call
        self.text = text
        self.left = len(jobs) + 1
        for job in jobs:
            job.on_gone.append(self.one_less)
            job.remove()
        self.one_less()

    def one_less(self) -> None:
        """One job is gone."""
        self.left -= 1
        if not self.left:
            self.call.answer("", self.text, 0)


def _own_job(call: Call) -> Job | None:
    label = call.words[-1] if call.words else ""
    return call.session().jobs.get(label)


def start(call: Call) -> None:
    """start <label>: unknown label is 3, without a word."""
    job = _own_job(call)
    if job is None:
        call.fail("", 3)
        return
    job.held = False
    job.demanded = True
    job.demand("non-ipc demand")
    call.ok()


def stop(call: Call) -> None:
    """stop <label>: SIGTERM; a KeepAlive job comes back."""
    job = _own_job(call)
    if job is None:
        call.fail("", 3)
        return
    job.terminate()
    call.ok()


def remove(call: Call) -> None:
    """remove <label>"""
    job = _own_job(call)
    if job is None:
        call.fail("", 3 if call.era <= 10 else NO_SERVICE)
        return
    job.remove()
    call.ok()


def list_jobs(call: Call) -> None:
    """list [label]: only the caller's own domain."""
    domain = call.session()
    if not call.words:
        call.ok(printer.list_all(domain))
        return
    job = domain.jobs.get(call.words[-1])
    if job is None:
        raise Refused(f'Could not find service "{call.words[-1]}" in domain for port', NO_SERVICE)
    call.ok(printer.list_one(job))


def getenv(call: Call) -> None:
    """getenv <name>"""
    value = call.session().environment.get(call.words[-1] if call.words else "")
    call.ok(f"{value}\n" if value is not None else "")


def setenv(call: Call) -> None:
    """setenv <name> <value>"""
    if len(call.words) != 2:
        raise Refused("Usage: launchctl setenv <key> <value>", 64)
    call.session().environment[call.words[0]] = call.words[1]
    call.ok()


def unsetenv(call: Call) -> None:
    """unsetenv <name>"""
    call.session().environment.pop(call.words[-1] if call.words else "", None)
    call.ok()


TABLE: dict[str, t.Callable[[Call], None]] = {
    "load": load,
    "unload": unload,
    "start": start,
    "stop": stop,
    "remove": remove,
    "list": list_jobs,
    "getenv": getenv,
    "setenv": setenv,
    "unsetenv": unsetenv,
}
