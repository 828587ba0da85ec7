# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs of launchctl 2 (bootstrap, bootout, kickstart, print ...), with recorded messages and exit codes."""

from __future__ import annotations

import os
import typing as t

from lab_launchd import printer
from lab_launchd.call import Call, Refused, Target, UsageError
from lab_launchd.facts import (
    BAD_ACTION,
    EALREADY,
    EINPROGRESS,
    EIO,
    MULTIPLE,
    NO_DOMAIN,
    NO_SERVICE,
    SIP,
    LaunchError,
    describe,
    parse_signal,
)
from lab_launchd.job import Job
from lab_launchd.manager import Domain

_TARGET_HELP = (
    "<service-target> takes a form of <domain-target>/<service-id>.\n"
    "Please refer to `man launchctl` for explanation of the <domain-target> specifiers."
)
SLOW_BOOTOUT_SECONDS = 0.5  # 10.15 and 11 answer 36 when the job is not gone by then


def _usage(command: str, arguments: str) -> str:
    return f"Usage: launchctl {command} {arguments}\n{_TARGET_HELP}"


USAGE = {
    "bootstrap": _usage("bootstrap", "<domain-target> [service-path, service-path2, ...]"),
    "bootout": _usage("bootout", "<domain-target> [service-path1, service-path2, ...] | <service-target>"),
    "enable": _usage("enable", "<service-target>"),
    "disable": _usage("disable", "<service-target>"),
    "kickstart": _usage("kickstart", "[-k] [-p] [-s] <service-target>"),
    "kill": _usage("kill", "<signal-number|signal-name> <service-target>"),
    "blame": _usage("blame", "<service-target>"),
    "print": _usage("print", "<domain-target> | <service-target>"),
    "print-disabled": _usage("print-disabled", "<domain-target>"),
}


# bootstrap


def bootstrap(call: Call) -> None:
    """bootstrap <domain> <path>..."""
    if len(call.words) < 2:
        raise UsageError(USAGE["bootstrap"])
    target = _domain_word(call, USAGE["bootstrap"])
    fault = call.manager.faults.take("bootstrap", _label_of(call.words[1]))
    if fault:
        call.answer("", f"Bootstrap failed: {fault['rc']}: {describe(fault['rc'])}\n", fault["rc"])
        return
    domain = _domain_for(call, target, "Bootstrap failed: ")
    if not call.may_change(target):
        raise Refused("\n".join(_bootstrap_text(call, call.words[1], EIO)), EIO)
    failures = _bootstrap_all(call, domain)
    lines = [line for path, number in failures for line in _bootstrap_text(call, path, number)]
    numbers = {_bootstrap_number(call, number) for dummy, number in failures}
    if not numbers:
        call.ok()
    elif len(failures) > 1:
        call.fail("\n".join([*lines, f"Bootstrap failed: {MULTIPLE}: {describe(MULTIPLE)}"]), MULTIPLE)
    else:
        call.fail("\n".join(lines), numbers.pop())


def _label_of(path: str) -> str:
    # Faults are bound to labels; by convention the file is named after its label.
    name = os.path.basename(path)
    return name[: -len(".plist")] if name.endswith(".plist") else name


def _domain_word(call: Call, usage: str) -> Target:
    first = Call(call.manager, [call.command, call.words[0]], call.uid, call.cwd, call.answer)
    return first.target(usage, want_label=False)


def _domain_for(call: Call, target: Target, prefix: str) -> Domain:
    try:
        return call.manager.domain(target.kind, target.uid)
    except LaunchError:
        # bootstrap and bootout answer 125 where print answers 112.
        raise Refused(f"{prefix}{BAD_ACTION}: {describe(BAD_ACTION)}", BAD_ACTION) from None


def _bootstrap_all(call: Call, domain: Domain) -> list[tuple[str, int]]:
    failures = []
    for word in call.words[1:]:
        for path in _expand(call.path(word)):
            try:
                call.manager.load(domain, path)
            except LaunchError as error:
                call.manager.log(
                    f"Bootstrap by launchctl for {path} failed ({error.number}: {describe(error.number)}) {error.detail}"
                )
                failures.append((path, error.number))
    return failures


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".plist")]
    return [path]


def _rich(call: Call) -> bool:
    # From 14 on even root gets 5 for everything; before, root alone is told more. 10.15 tells everybody.
    return call.era <= 10 or (call.root and call.era <= 13)


def _bootstrap_number(call: Call, number: int) -> int:
    return number if _rich(call) else EIO


def _bootstrap_text(call: Call, path: str, number: int) -> list[str]:
    if not _rich(call):
        lines = [f"Bootstrap failed: 5: {describe(EIO)}"]
        return lines if call.root or call.era < 12 else [*lines, "Try re-running the command as root for richer errors."]
    words = "service already loaded" if number == EALREADY else describe(number)
    lines = [f"{path}: {words}"]
    return lines if call.era <= 10 else [*lines, f"Bootstrap failed: {number}: {describe(number)}"]


# bootout


def bootout(call: Call) -> None:
    """bootout <domain>/<label> | <domain> <path>... ; --wait only from 26 on."""
    words = list(call.words)
    wait = call.era >= 26 and "--wait" in words
    if wait:
        words.remove("--wait")
    if not words:
        raise UsageError(USAGE["bootout"])
    call.words = words
    target = _domain_word(call, USAGE["bootout"])
    domain = _domain_for(call, target, "Boot-out failed: ")
    if not call.may_change(target):
        raise Refused(f"Boot-out failed: 1: {describe(1)}", 1)
    if target.label is None:
        if len(words) < 2:
            raise Refused(f"Boot-out failed: {BAD_ACTION}: {describe(BAD_ACTION)}", BAD_ACTION)
        job = _job_by_path(call, domain, words[1])
    elif target.label in domain.jobs:
        job = domain.jobs[target.label]
    else:
        raise Refused(f"Boot-out failed: 3: {describe(3)}", 3)
    _refuse_apple(call, job, "Boot-out failed: ")
    _remove(call, job, wait)


def _job_by_path(call: Call, domain: Domain, word: str) -> Job:
    path = os.path.realpath(call.path(word))
    for job in domain.jobs.values():
        if os.path.realpath(job.path) == path:
            return job
    if call.era <= 10:
        raise Refused(f"{call.path(word)}: {describe(NO_SERVICE)}", NO_SERVICE)
    raise Refused(f"Boot-out failed: 5: {describe(EIO)}", EIO)


def _remove(call: Call, job: Job, wait: bool) -> None:
    in_progress = f"Boot-out failed: {EINPROGRESS}: {describe(EINPROGRESS)}"
    fault = call.manager.faults.take("bootout", job.label)
    already = job.removing
    job.remove()
    if fault:
        call.fail(f"Boot-out failed: {fault['rc']}: {describe(fault['rc'])}", fault["rc"])
    elif job.label not in job.domain.jobs:
        call.ok()
    elif wait:
        job.on_gone.append(call.ok)
    elif already:
        call.fail(in_progress, EINPROGRESS)
    elif call.era <= 11:
        once = Once(call)
        job.on_gone.append(once.ok)
        call.manager.after(SLOW_BOOTOUT_SECONDS, lambda: once.fail(in_progress, EINPROGRESS))
    else:
        call.ok()


class Once:
    """Two events race for one answer: the first wins."""

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def ok(self) -> None:
        """Success, unless answered."""
        call, self.call = self.call, None
        if call:
            call.ok()

    def fail(self, text: str, number: int) -> None:
        """Failure, unless answered."""
        call, self.call = self.call, None
        if call:
            call.fail(text, number)


def _refuse_apple(call: Call, job: Job, prefix: str) -> None:
    # Apple's own services are protected; the stand-in's sshd is meant to be one of them only by name.
    if job.label.startswith("com.apple.") and job.path.startswith(call.manager.places.system_library):
        number = 1 if call.era <= 14 else SIP
        raise Refused(f"{prefix}{number}: {describe(number)}", number)


# enable, disable


def _override(call: Call, disabled: bool) -> None:
    target = call.target(USAGE[call.command])
    if not call.may_change(target):
        raise Refused(f"Could not {call.command} service: 1: {describe(1)}", 1)
    if target.kind not in ("system", "gui", "user"):
        raise Refused(f"Could not {call.command} service: {NO_DOMAIN}: {describe(NO_DOMAIN)}", NO_DOMAIN)
    # Only the database is written: an unknown label is fine, nothing starts or stops.
    call.manager.overrides(target.uid).write(target.label or "", disabled)
    call.ok()


def enable(call: Call) -> None:
    """enable <domain>/<label>"""
    _override(call, False)


def disable(call: Call) -> None:
    """disable <domain>/<label>"""
    _override(call, True)


# kickstart, kill, blame


def kickstart(call: Call) -> None:
    """kickstart [-kps] <domain>/<label>"""
    flags = "".join(word[1:] for word in call.words if word.startswith("-"))
    target = call.target(USAGE["kickstart"])
    if target.kind == "gui" and f"gui/{target.uid}" not in call.manager.domains:
        _domain_for(call, target, f'Could not kickstart service "{target.label}": ')
    job = call.find(target)
    prefix = f'Could not kickstart service "{job.label}": '
    if not call.may_change(target):
        raise Refused(f"{prefix}1: {describe(1)}", 1)
    _refuse_apple(call, job, prefix)
    fault = call.manager.faults.take("kickstart", job.label)
    if fault:
        raise Refused(f"{prefix}{fault['rc']}: {describe(fault['rc'])}", fault["rc"])
    if job.pid and "k" not in flags:
        call.answer(f"service already running with pid: {job.pid}\n" if "p" in flags else "", "", EALREADY)
        return
    if job.removing:
        raise Refused(f"{prefix}{EINPROGRESS}: {describe(EINPROGRESS)}", EINPROGRESS)
    once = Once(call)
    throttled = not call.manager.config.kickstart_beats_throttle and not job.pid

    def started() -> None:
        reply, once.call = once.call, None
        if reply:
            reply.ok(f"service spawned with pid: {job.shown_pid}\n" if "p" in flags else "")

    job.kickstart("k" in flags, started)
    if throttled:
        once.ok()


def kill(call: Call) -> None:
    """kill <signal> <domain>/<label>"""
    target = call.target(USAGE["kill"])
    number = parse_signal(call.words[0]) if len(call.words) == 2 else None
    if number is None:
        raise UsageError(USAGE["kill"])
    job = call.find(target)
    if not call.may_change(target):
        raise Refused(f"Could not signal service: 1: {describe(1)}", 1)
    if not job.pid:
        raise Refused("No process to signal.", 3)
    os.kill(job.pid, number)
    call.ok()


def blame(call: Call) -> None:
    """blame <domain>/<label>: the same word as print's `immediate reason`."""
    job = call.find(call.target(USAGE["blame"]))
    call.ok(f"{job.reason or '(not running)'}\n")


# print and friends


def print_target(call: Call) -> None:
    """print <domain>[/<label>]"""
    target = call.target(USAGE["print"], want_label=False)
    # The oldest captures have no `Bad request.` line.
    prefix = "" if call.era <= 10 else "Bad request.\n"
    if target.label is None:
        domain = call.find_domain(target, prefix)
        call.ok(printer.print_domain(domain, call.manager.overrides(domain.uid).read(), call.era))
        return
    job = call.find(target, prefix)
    broken = call.manager.faults.take("broken-lwcr", job.label) is not None
    call.ok(printer.print_job(job, call.era, broken))


def print_disabled(call: Call) -> None:
    """print-disabled <domain>"""
    target = call.target(USAGE["print-disabled"], want_label=False)
    domain = call.find_domain(target, "Bad request.\n")
    call.ok(printer.print_disabled(call.manager.overrides(domain.uid).read(), call.era))


def managername(call: Call) -> None:
    """System for root, Background over SSH, Aqua where the configuration says so."""
    aqua = call.uid in call.manager.config.aqua_callers
    call.ok(f"{'System' if call.root else 'Aqua' if aqua else 'Background'}\n")


def manageruid(call: Call) -> None:
    """The caller's uid."""
    call.ok(f"{call.uid}\n")


def managerpid(call: Call) -> None:
    """launchd's pid."""
    call.ok(f"{os.getpid()}\n")


def error(call: Call) -> None:
    """error <number>"""
    word = call.words[-1] if call.words else ""
    if not word.isdigit():
        raise UsageError("Usage: launchctl error [posix|mach|bootstrap] <code>")
    call.ok(f"{word}: {describe(int(word))}\n")


def version(call: Call) -> None:
    """Says what this is, so that nobody takes it for a Mac."""
    call.ok(f"nixmac lab launchd stand-in, macOS era {call.era}\n")


TABLE: dict[str, t.Callable[[Call], None]] = {
    "bootstrap": bootstrap,
    "bootout": bootout,
    "enable": enable,
    "disable": disable,
    "kickstart": kickstart,
    "kill": kill,
    "blame": blame,
    "print": print_target,
    "print-disabled": print_disabled,
    "managername": managername,
    "manageruid": manageruid,
    "managerpid": managerpid,
    "error": error,
    "version": version,
}
