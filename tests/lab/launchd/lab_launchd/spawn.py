# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting a job's process: session, user, directory, files, limits, then exec."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import select
import signal
import typing as t

from lab_launchd.definition import Definition
from lab_launchd.facts import EX_CONFIG

DEFAULT_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_LIMITS = {
    "Core": resource.RLIMIT_CORE,
    "CPU": resource.RLIMIT_CPU,
    "Data": resource.RLIMIT_DATA,
    "FileSize": resource.RLIMIT_FSIZE,
    "MemoryLock": resource.RLIMIT_MEMLOCK,
    "NumberOfFiles": resource.RLIMIT_NOFILE,
    "NumberOfProcesses": resource.RLIMIT_NPROC,
    "ResidentSetSize": resource.RLIMIT_RSS,
    "Stack": resource.RLIMIT_STACK,
}


class Identity:
    """Who a job runs as. `passwd` is None for a plain root daemon (then HOME and USER stay unset)."""

    def __init__(self, definition: Definition, domain_uid: int | None) -> None:
        user = definition.text("UserName") if domain_uid is None else None
        group = definition.text("GroupName") if domain_uid is None else None
        self.passwd: pwd.struct_passwd | None = None
        if user is not None:
            self.passwd = pwd.getpwnam(user)
        elif domain_uid is not None:
            self.passwd = pwd.getpwuid(domain_uid)
        self.gid: int | None = self.passwd.pw_gid if self.passwd else None
        if group is not None:
            self.gid = grp.getgrnam(group).gr_gid


def job_environment(definition: Definition, era: int) -> dict[str, str]:
    """The `environment` block of print: what the job gets on top of the default environment."""
    environment: dict[str, str] = {}
    if era >= 15:
        environment["OSLogRateLimit"] = "64"
    environment.update(definition.environment)
    environment["XPC_SERVICE_NAME"] = definition.label
    return environment


def full_environment(definition: Definition, identity: Identity, era: int, session: dict[str, str]) -> dict[str, str]:
    """Everything in the process' environment, nothing of launchd's own."""
    environment = {"PATH": DEFAULT_PATH}
    if identity.passwd:
        name = identity.passwd.pw_name
        environment.update(HOME=identity.passwd.pw_dir, SHELL=identity.passwd.pw_shell, LOGNAME=name, USER=name)
    environment.update(session)
    environment.update(job_environment(definition, era))
    return environment


def _make_log_directory(path: str) -> None:
    # launchd makes missing directories itself, as root and with mode 0744 (measured), before it becomes the user.
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        _make_log_directory(parent)
        os.mkdir(parent, 0o744)
        os.chmod(parent, 0o744)


def _open_onto(path: str, flags: int, target: int) -> None:
    descriptor = os.open(path, flags, 0o666)
    os.dup2(descriptor, target)
    if descriptor != target:
        os.close(descriptor)


def _limits(definition: Definition) -> None:
    for key, position in (("SoftResourceLimits", 0), ("HardResourceLimits", 1)):
        for name, value in definition.data.get(key, {}).items():
            if name in _LIMITS and isinstance(value, int):
                pair = list(resource.getrlimit(_LIMITS[name]))
                pair[position] = value
                if pair[1] != resource.RLIM_INFINITY:
                    pair[0] = min(pair[0], pair[1])
                try:
                    resource.setrlimit(_LIMITS[name], (pair[0], pair[1]))
                except (ValueError, OSError):
                    continue


def _become(definition: Definition, identity: Identity) -> None:
    if identity.gid is not None:
        if identity.passwd and definition.data.get("InitGroups", True):
            os.initgroups(identity.passwd.pw_name, identity.gid)
        else:
            os.setgroups([identity.gid])
        os.setgid(identity.gid)
    if identity.passwd:
        os.setuid(identity.passwd.pw_uid)


def _child(definition: Definition, identity: Identity, environment: dict[str, str]) -> None:
    os.setsid()
    paths = [definition.text(key) for key in ("StandardInPath", "StandardOutPath", "StandardErrorPath")]
    for path in paths:
        if path and not (identity.passwd and os.geteuid() != 0):
            _make_log_directory(path)
    _limits(definition)
    if "Nice" in definition.data:
        os.setpriority(os.PRIO_PROCESS, 0, definition.data["Nice"])
    if definition.text("RootDirectory"):
        os.chroot(definition.data["RootDirectory"])
    _become(definition, identity)
    os.umask(definition.umask if definition.umask is not None else 0o022)
    os.chdir(definition.text("WorkingDirectory") or "/")
    _open_onto(paths[0] or "/dev/null", os.O_RDONLY | (os.O_CREAT if paths[0] else 0), 0)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    _open_onto(paths[1] or "/dev/null", append, 1)
    _open_onto(paths[2] or "/dev/null", append, 2)
    # All other descriptors are closed by the exec: Python opens none of them inheritable.
    arguments = definition.arguments or [definition.program]
    if definition.inferred:
        # A bare name is looked up in the default path, as execvp(3) does.
        os.execvpe(definition.program, arguments, environment)
    os.execve(definition.program, arguments, environment)


# A log path may be a FIFO without a reader: then the daemon stops waiting for the exec and goes on.
_SPAWN_SECONDS = 5.0


def spawn(definition: Definition, identity: Identity, environment: dict[str, str]) -> tuple[int, str]:
    """Fork and exec. Returns the pid and, when the job could not be set up, why (its exit code is then 78).

    Waits for the exec (milliseconds): launchd knows at once whether a spawn failed.
    """
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _reset_signals()
            _child(definition, identity, environment)
        except BaseException as error:  # whatever it is, a forked copy of the daemon must not go on
            try:
                os.write(send, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:900])
            finally:
                os._exit(EX_CONFIG)
        os._exit(EX_CONFIG)
    os.close(send)
    problem = b""
    while select.select([receive], [], [], _SPAWN_SECONDS)[0]:
        piece = os.read(receive, 1024)
        if not piece:
            break
        problem += piece
    os.close(receive)
    return pid, problem.decode("utf-8", "replace")


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    mask: t.Iterable[int] = ()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
