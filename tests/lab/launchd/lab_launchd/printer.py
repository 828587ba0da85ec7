# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `launchctl print`, `list` and `print-disabled` show, laid out as recorded for each macOS era."""

from __future__ import annotations

import typing as t

from lab_launchd.facts import EXIT_NAMES, mac_signal, signal_words
from lab_launchd.spawn import DEFAULT_PATH, job_environment

if t.TYPE_CHECKING:
    from lab_launchd.job import Job
    from lab_launchd.manager import Domain

_SPAWN_TYPES = {"Background": "background (5)", "Adaptive": "adaptive (6)", "Interactive": "interactive (4)"}
_RESOURCE_NAMES = {
    "Core": "core",
    "CPU": "cpu",
    "Data": "data",
    "FileSize": "fsize",
    "MemoryLock": "memlock",
    "NumberOfFiles": "maxfiles",
    "NumberOfProcesses": "maxproc",
    "ResidentSetSize": "rss",
    "Stack": "stack",
}


def exit_line(job: Job) -> str:
    """`last exit code = ...`, or after a death by signal the line that stands in its place."""
    if job.status is None:
        return "last exit code = (never exited)"
    if job.exit_signal is not None:
        return f"last terminating signal = {signal_words(job.exit_signal)}"
    code = job.exit_code or 0
    named = f": {EXIT_NAMES[code]}" if code in EXIT_NAMES else ""
    return f"last exit code = {code}{named}"


def print_job(job: Job, era: int, broken_lwcr: bool = False) -> str:
    """The whole block of `launchctl print <domain>/<label>`."""
    target = job.label if era <= 10 else f"{job.domain.name}/{job.label}"
    lines = [f"{target} = {{"]
    lines += _head(job, era)
    lines += _environments(job, era)
    if broken_lwcr:
        lines += _broken_lwcr()
    lines += _facts(job, era)
    lines += [""]
    lines += _semaphores(job)
    lines += _event_triggers(job)
    lines += _sockets(job)
    if era >= 15:
        lines += _coalitions(job)
    lines += _tail(job, era)
    return "\n".join(lines) + "\n}\n"


def _block(name: str, rows: t.Iterable[str]) -> list[str]:
    return [f"\t{name} = {{", *("\t\t" + row for row in rows), "\t}", ""]


def _alive(job: Job) -> bool:
    return bool(job.pid) or job.gone_at is not None


def _head(job: Job, era: int) -> list[str]:
    definition = job.definition
    lines = [f"\tactive count = {_alive(job):d}"]
    if era <= 10:
        lines += ["\tcopy count = 0", "\tone shot = 0"]
    lines += [f"\tpath = {job.path}"]
    if era > 10:
        lines += [f"\ttype = {'LaunchDaemon' if job.domain.kind == 'system' else 'LaunchAgent'}"]
    lines += [f"\tstate = {job.state}", "", f"\tprogram = {definition.program}"]
    if definition.arguments:
        lines += _block("arguments", definition.arguments)
    else:
        lines += [""]
    if definition.text("WorkingDirectory"):
        lines += [f"\tworking directory = {definition.data['WorkingDirectory']}", ""]
    for key, word in (("StandardInPath", "stdin"), ("StandardOutPath", "stdout"), ("StandardErrorPath", "stderr")):
        if definition.text(key):
            lines += [f"\t{word} path = {definition.data[key]}"]
    return lines


def _environments(job: Job, era: int) -> list[str]:
    lines = []
    if job.domain.environment:
        lines += _block("inherited environment", _arrows(job.domain.environment))
    lines += _block("default environment", [f"PATH => {DEFAULT_PATH}"])
    lines += _block("environment", _arrows(job_environment(job.definition, era)))
    return lines


def _arrows(pairs: dict[str, str]) -> list[str]:
    return [f"{key} => {value}" for key, value in pairs.items()]


def _broken_lwcr() -> list[str]:
    return ["\tLWCR = {", '\t\t"launch-constraint" => {', '\t\t\t"$or" => [', "\t\t\t\t0 = \t\t\t]", "\t\t}", "\t}", ""]


def _facts(job: Job, era: int) -> list[str]:
    definition, domain = job.definition, job.domain
    suffix = f" [{domain.asid}]" if domain.kind == "gui" else ""
    rows = [f"domain = {domain.name}{suffix}"]
    if domain.uid is not None:
        rows.append(f"asid = {domain.asid}")
    elif definition.text("UserName"):
        rows.append(f"username = {definition.data['UserName']}")
    if domain.uid is None and definition.text("GroupName"):
        rows.append(f"group = {definition.data['GroupName']}")
    if definition.umask is not None:
        rows.append(f"umask = {definition.umask:o}")
    rows.append(f"minimum runtime = {definition.throttle}")
    rows.append(f"exit timeout = {definition.exit_timeout}")
    if "Nice" in definition.data:
        rows.append(f"nice = {definition.data['Nice']}")
    rows.append(f"runs = {job.runs}")
    if job.crashes or era <= 10:
        rows.append(f"successive crashes = {job.crashes}")
    if _alive(job):
        rows += _process_facts(job, era)
    rows.append(exit_line(job))
    return ["\t" + row for row in rows]


def _process_facts(job: Job, era: int) -> list[str]:
    rows = [f"pid = {job.pid or job.shown_pid}", f"immediate reason = {job.reason}"]
    # The stand-in does not count forks: a plausible constant, as the recorded numbers mean nothing to a reader.
    rows += ["forks = 0", "execs = 1", "initialized = 1", "trampolined = 1", "started suspended = 0"]
    rows.append("proxy started suspended = 0")
    if era >= 26:
        rows += ["checked allocations = 0 (queried = 1)", "checked allocations reason = no host"]
        rows.append("checked allocations flags = 0x0")
    return rows


def _semaphores(job: Job) -> list[str]:
    rows = []
    names = {"SuccessfulExit": "successful exit", "Crashed": "after crash"}
    for key, word in names.items():
        if key in job.definition.conditions:
            rows.append(f"{word} => {job.definition.conditions[key] is True:d}")
    for path, wanted in job.definition.path_state.items():
        rows.append(f"path {path} => {wanted is True:d}")
    return _block("semaphores", rows) if rows else []


def _trigger(name: str, job: Job, stream: str, descriptor: list[str]) -> list[str]:
    monitor = f"com.apple.UserEventAgent-{'System' if job.domain.kind == 'system' else 'Aqua'}"
    rows = [f"{name} => {{", "\tkeepalive = 0", f"\tservice = {job.label}"]
    rows += [f"\tstream = {stream}", f"\tmonitor = {monitor}", "\tdescriptor = {"]
    return rows + ["\t\t" + row for row in descriptor] + ["\t}", "}"]


def _channel(stream: str, watching: int) -> list[str]:
    rows = ["port = 0x3521b", "active = 0", "managed = 1", "reset = 0", "hide = 0", f"watching = {watching}"]
    return [f'"{stream}" = {{', *("\t" + row for row in rows), "}"]


def _event_triggers(job: Job) -> list[str]:
    definition = job.definition
    triggers: list[str] = []
    channels: list[str] = []
    if definition.watch_paths:
        stream = "com.apple.fsevents.matching"
        listed = [f'\t{number} = "{path}"' for number, path in enumerate(definition.watch_paths)]
        triggers += _trigger("com.apple.launchd.WatchPaths", job, stream, ['"WatchPaths" => [', *listed, "]"])
        channels += _channel(stream, 0)
    for number, entry in enumerate(definition.calendar):
        stream = "com.apple.launchd.calendarinterval"
        rows = [f'"{key}" => {value}' for key, value in entry.items()]
        triggers += _trigger(f"{job.label}.{268435456 + number}", job, stream, rows)
    if definition.calendar:
        channels += _channel("com.apple.launchd.calendarinterval", 1)
    if not triggers:
        return []
    return _block("event triggers", triggers) + _block("event channels", channels)


def _sockets(job: Job) -> list[str]:
    names = job.definition.data.get("Sockets", {})
    rows: list[str] = []
    for name in names:
        rows += [f'"{name}" = {{', "\ttype = stream", "\tpassive = 1", "}"]
    return _block("sockets", rows) if rows else []


def _coalitions(job: Job) -> list[str]:
    lines = []
    for offset, kind in enumerate(("resource", "jetsam")):
        rows = [f"ID = {397 + 2 * (job.shown_pid or 1) + offset}", f"type = {kind}", "state = active"]
        lines += _block(f"{kind} coalition", [*rows, "active count = 1", f"name = {job.label}"])
    return lines


def _tail(job: Job, era: int) -> list[str]:
    definition = job.definition
    kind = _SPAWN_TYPES.get(definition.text("ProcessType") or "", "daemon (3)")
    rows = [f"spawn type = {kind}", "jetsam priority = 40"]
    rows += [f"jetsam memory limit ({word}) = (unlimited)" for word in ("active", "inactive")]
    rows += ["jetsamproperties category = daemon", "jetsam thread limit = 32", "cpumon = default"]
    limits = _limits(job)
    if limits:
        # A blank line follows the block and another stands before the properties, as recorded.
        rows += ["resource limits = {", *("\t" + row for row in limits), "}"]
    lines = ["\t" + row for row in rows] + ([""] if limits else [])
    if definition.interval:
        lines.append(f"\trun interval = {definition.interval} seconds")
    if era in (13, 14):
        lines += ["\tprobabilistic guard malloc policy = {", "\t\tactivation rate = 1/1000", "\t\tsample rate = 1/0", "\t}"]
    if era <= 10:
        return [*lines, "", *_old_properties(job)]
    return [*lines, "", "\tproperties = " + " | ".join(_properties(job, era))]


def _limits(job: Job) -> list[str]:
    rows = []
    for key, word in (("SoftResourceLimits", "soft"), ("HardResourceLimits", "hard")):
        for name, value in job.definition.data.get(key, {}).items():
            rows.append(f"{_RESOURCE_NAMES.get(name, name)} ({word}) => {value}")
    return rows


def _properties(job: Job, era: int) -> list[str]:
    definition = job.definition
    words = []
    if definition.keep_alive is True:
        words.append("keepalive")
    if definition.run_at_load:
        words.append("runatload")
    if definition.data.get("LowPriorityIO") is True:
        words.append("low priority i/o")
    if definition.inferred:
        words.append("inferred program")
    system = job.domain.kind == "system"
    # As captured: 13 in the system domain, 14 in the gui domain too, never in user/<uid>.
    if system and era <= 14 or job.domain.kind == "gui" and era == 14:
        words.append("system service")
    if era == 14 and job.domain.kind != "user":
        words.append("tle system")
    if system and era >= 26:
        words += ["managed LWCR", "has LWCR"]
    return words


def _old_properties(job: Job) -> list[str]:
    definition = job.definition
    values = {"partial import": 0, "launchd bundle": 0, "xpc bundle": 0, "keepalive": definition.keep_alive is True}
    values.update({"runatload": definition.run_at_load, "low priority i/o": 0, "system support": 0})
    values.update({"abandon process group": definition.abandon_group, "one-shot": 0, "inferred program": definition.inferred})
    return ["\tproperties = {", *(f"\t\t{key} = {bool(value):d}" for key, value in values.items()), "\t}"]


def status_column(job: Job) -> str:
    """list's Status: the decoded exit code, or minus the signal."""
    if job.exit_signal is not None:
        return f"-{mac_signal(job.exit_signal)}"
    return str(job.exit_code or 0)


def print_domain(domain: Domain, overrides: dict[str, bool], era: int) -> str:
    """`launchctl print <domain>`: only the parts that were recorded."""
    jobs = list(domain.jobs.values())
    active = sum(1 for job in jobs if job.pid)
    lines = [f"{domain.name} = {{", f"\ttype = {'user' if domain.kind == 'user' else domain.kind}"]
    lines += [f"\thandle = {domain.uid or 0}", f"\tactive count = {len(jobs)}", f"\tservice count = {len(jobs)}"]
    lines += [f"\tactive service count = {active}", "\tcreator = launchd[1]", "\tcreator euid = 0", ""]
    rows = []
    for job in jobs:
        shown = "-" if job.status is None else status_column(job)
        rows.append(f"{job.pid or 0:>8} {shown:>6} \t{job.label}")
    lines += _block("services", rows) + _block("unmanaged processes", []) + _block("endpoints", [])
    lines += _block("disabled services", _disabled_rows(overrides, era))
    return "\n".join([*lines, "\tproperties = ", "}"]) + "\n"


def _disabled_rows(overrides: dict[str, bool], era: int) -> list[str]:
    words = ("true", "false") if era <= 12 else ("disabled", "enabled")
    return [f'"{label}" => {words[0] if disabled else words[1]}' for label, disabled in overrides.items()]


def print_disabled(overrides: dict[str, bool], era: int) -> str:
    """12 and older: `=> true` means disabled. 13 and later: words, a leading blank line, one tab more."""
    rows = _disabled_rows(overrides, era)
    if era <= 12:
        return "\n".join(["disabled services = {", *("\t" + row for row in rows), "}"]) + "\n"
    return "\n".join(["", "\tdisabled services = {", *("\t\t" + row for row in rows), "\t}"]) + "\n"


def list_all(domain: Domain) -> str:
    """`launchctl list`."""
    rows = ["PID\tStatus\tLabel"]
    rows += [f"{job.pid or '-'}\t{status_column(job)}\t{job.label}" for job in domain.jobs.values()]
    return "\n".join(rows) + "\n"


def list_one(job: Job) -> str:
    """`launchctl list <label>`: an old-style property list. LastExitStatus is the raw wait(2) status."""
    definition = job.definition
    session = "System" if job.domain.kind == "system" else "Aqua" if job.domain.kind == "gui" else "Background"
    rows: list[tuple[str, t.Any]] = []
    rows += [(key, definition.data[key]) for key in ("StandardOutPath", "StandardErrorPath") if definition.text(key)]
    rows += [("LimitLoadToSessionType", session), ("Label", job.label), ("OnDemand", definition.keep_alive is not True)]
    rows += [("LastExitStatus", _raw_status(job))]
    if job.pid:
        rows += [("PID", job.pid)]
    rows += [("Program", definition.program)]
    lines = ["{", *(f"\t{_quote(key)} = {_old_style(value)};" for key, value in rows)]
    if definition.arguments:
        lines += ['\t"ProgramArguments" = (', *(f"\t\t{_quote(word)};" for word in definition.arguments), "\t);"]
    return "\n".join([*lines, "};"]) + "\n"


def _raw_status(job: Job) -> int:
    if job.status is None:
        return 0
    return mac_signal(job.exit_signal) if job.exit_signal is not None else job.status


def _quote(text: str) -> str:
    return f'"{text}"'


def _old_style(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quote(str(value))
