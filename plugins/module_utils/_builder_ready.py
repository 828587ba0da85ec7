# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Waiting until the builder answers, and the words for one that does not: the job, its log, the likely cause."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_causes, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import CUT, Answer, Guest, ask
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]+")

_POLL = 1.0  # seconds between two questions
_POLL_REFUSED = 10.0  # seconds after a refused key: guests count these
_MOST_REFUSALS = 3  # the keys directory is there before sshd is, so a refusal does not heal by waiting


class Ready(t.NamedTuple):
    """The guest's boot id and the seconds that were waited."""

    boot_id: str
    seconds: float


def wait_until_ready(
    guest: Guest,
    runner: Runner,
    timeout: float,
    *,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Ready:
    """Ask until the guest and its Nix daemon answer. timeout: seconds.

    StateError at once when the host key is not the pinned one, after three refusals when the client's key is
    not taken, else at the deadline, with the job's state, the last lines of the log and the likely cause.
    """
    start = clock()
    refusals = 0
    told: Answer | None = None
    while True:
        answer = ask(guest, runner, max(1.0, timeout - (clock() - start)))
        if answer.kind == "ready" and answer.boot_id is not None:
            return Ready(answer.boot_id, round(clock() - start, 1))
        if answer.kind == "wrong-host-key":
            raise _wrong_host_key(guest, runner, answer)
        told = answer if answer.words != CUT else told
        refusals = refusals + 1 if answer.kind == "key-refused" else 0
        pause = _POLL_REFUSED if refusals else _POLL
        if refusals >= _MOST_REFUSALS or clock() - start + pause >= timeout:
            # Where the deadline cut the last question off, what the guest said before tells more.
            raise _not_ready(guest, runner, told or answer, clock() - start)
        sleep(pause)


def _wrong_host_key(guest: Guest, runner: Runner, answer: Answer) -> StateError:
    offered = _FINGERPRINT.search(answer.words)
    facts = _facts(guest, runner, answer)
    return StateError(
        f"{guest.host_address} port {guest.port}: what listens there "
        + (f"shows host key {offered.group(0)}, which is" if offered else "has a host key that is")
        + f" not the pinned host key {_pinned_fingerprint(guest)} of {guest.layout.known_hosts}. So it is another builder or "
        f"somebody else's program. Find it with `lsof -nP -iTCP:{guest.port} -sTCP:LISTEN`; if it is your builder "
        "with a key of its own, give that key as public_host_key (or set linux_builder_host_key: per_mac). "
        f"Job {guest.layout.label}: {facts['job']}.",
        ssh=answer.words,
        **facts,
    )


def _pinned_fingerprint(guest: Guest) -> str:
    """Fingerprint as ssh prints it, of the key in our known_hosts; empty when the file is damaged."""
    fields = (_files.read(guest.layout.known_hosts).content or b"").split()
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (IndexError, binascii.Error):
        return "(unreadable)"
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


# --- why not -----------------------------------------------------------------------------------------------------

_KINDS = {
    "booting": "nothing answers ssh there",
    "no-daemon": "ssh works, but the guest's Nix daemon does not answer",
    "key-refused": "the guest refuses the client key",
}


def job_words(label: str, runner: Runner) -> str:
    """The launchd job's state in words, for a message."""
    try:
        job = Launchctl(runner).print_service(f"system/{label}")
    except LinuxBuilderError as exc:
        return f"state unknown ({exc.message})"
    if job is None:
        return "not loaded; start it with launchd_service (state: started)"
    facts = [job.state or "state unknown"]
    facts += [f"pid {job.pid}"] if job.pid else []
    facts += [f"{job.runs} runs"] if job.runs is not None else []
    facts += [f"last exit code {job.last_exit_code}"] if job.last_exit_code is not None else []
    facts += [f"last signal {job.last_signal}"] if job.last_signal is not None else []
    return ", ".join(facts)


def _not_ready(guest: Guest, runner: Runner, answer: Answer, seconds: float) -> StateError:
    layout = guest.layout
    facts = _facts(guest, runner, answer)
    tail = facts["log"]
    return StateError(
        f"the builder at {guest.host_address} port {guest.port} is not ready after {seconds:.0f} s: {_KINDS[answer.kind]}"
        f" ({answer.words or 'no words of ssh'}). Job {layout.label}: {facts['job']}."
        + (f" Likely cause: {facts['cause']}." if facts["cause"] else "")
        + f" Last lines of {layout.log_path}: "
        + (" | ".join(tail[-3:]) or "none"),
        **facts,
    )


def _facts(guest: Guest, runner: Runner, answer: Answer) -> dict[str, t.Any]:
    """What goes into the result beside the message: the job in words, the log's last lines, the likely cause and its name."""
    log = _builder_causes.read_log(guest.layout.log_path)
    job = job_words(guest.layout.label, runner)
    cause = _builder_causes.likely(_builder_causes.Symptoms(answer.kind, answer.words, job, log))
    return {
        "job": job,
        "log": _builder_causes.tail(log),
        "cause": cause.says(guest.port) if cause else None,
        "cause_name": cause.name if cause else None,
    }
