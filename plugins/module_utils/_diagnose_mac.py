# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The Mac's side of a diagnosis: each fact is read when a link first asks for it, and once. Nothing is changed."""

from __future__ import annotations

import functools
import os
import plistlib
import re
import typing as t
from xml.parsers.expat import ExpatError

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _info, _mac, _machines_effective
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_layout as _conf
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as _table
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_guest import Session, ask
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import BoundedRunner, Question
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import text_of
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_nix import Layout, daemon_label
from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_port import Listener, listeners
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_effective import Machine, Machines
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_file import TIDY
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, Setting, find_nix, parse_settings
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_stream import Stream, read_stream

PS = "/bin/ps"
SSH = "/usr/bin/ssh"
DAEMONS = "/Library/LaunchDaemons"
_VM_NAMES = re.compile(r"(qemu-system-\S+|vzvm\S*|vfkit|krunkit)$")


class Process(t.NamedTuple):
    """One process. state: ps' letters, T for stopped. name: of the program, without directory and arguments."""

    pid: int
    parent: int
    state: str
    name: str

    @property
    def is_vm(self) -> bool:
        """Whether it is a virtual machine, by the name of its program."""
        return _VM_NAMES.match(self.name) is not None


class Plist(t.NamedTuple):
    """A property list of launchd. problem: why launchd would not take it: `invalid`, `mode`, or empty."""

    path: str
    there: bool
    problem: str
    words: str = ""


class Mac:
    """Facts of this Mac for one question. `runner` bounds the time of every program."""

    def __init__(self, question: Question, runner: BoundedRunner) -> None:
        self.question = question
        self.runner = runner
        self.launchctl = Launchctl(runner)

    @functools.cached_property
    def machine(self) -> _mac.Mac:
        """macOS and the hardware."""
        return _mac.read(self.runner, anew=True)

    @functools.cached_property
    def nix(self) -> Nix | None:
        """The Mac's Nix, None when there is none."""
        try:
            return find_nix(self.runner)
        except CommandError:
            return None

    @functools.cached_property
    def shown(self) -> Completed:
        """What `nix show-config` says of the configuration on disk."""
        if self.nix is None:  # the link before this one said so
            raise CommandError("There is no Nix to ask for its configuration. Install Nix first.")
        return self.nix.show()

    @functools.cached_property
    def settings(self) -> t.Mapping[str, Setting]:
        """The effective settings, as a process that starts now reads them; none when Nix reads none."""
        try:
            return parse_settings(self.shown) if self.nix is not None else {}
        except CommandError:
            return {}

    @functools.cached_property
    def stream(self) -> Stream | LinuxBuilderError:
        """nix.conf and its includes as we read them: for the place where a setting, or an error, stands."""
        try:
            return read_stream(os.path.join(_conf.CONF_DIR, "nix.conf"), _conf.reader, _table.without_nix())
        except LinuxBuilderError as exc:
            return exc

    @functools.cached_property
    def machines(self) -> Machines:
        """The machines that the effective `builders` amounts to."""
        setting = self.settings.get("builders")
        value = str(setting.value) if setting is not None else f"@{_conf.CONF_DIR}/machines"
        return _machines_effective.read(value, text_of, self.old_parser)

    @functools.cached_property
    def old_parser(self) -> bool:
        """Whether this Nix cuts machines the old way; see `_machines_file`."""
        try:
            version = self.nix.version() if self.nix is not None else None
        except CommandError:
            version = None
        return version is None or version.numbers < TIDY[1 if version.variant == "lix" else 0]

    @property
    def entry(self) -> Machine | None:
        """The builder's entry."""
        return self.machines.of(self.question.uri)

    @property
    def key(self) -> str:
        """The private key that the daemon uses: the entry's, or the one in question."""
        return (self.entry.key if self.entry else "") or self.question.key

    # launchd

    @functools.cached_property
    def daemon_label(self) -> str | None:
        """Label of the Nix daemon's job, None where no property list names one."""
        return daemon_label(Layout())

    @functools.cached_property
    def label(self) -> str:
        """Label of the builder's job: the one in question, or that of another tool's whose property list is there."""
        labels = (self.question.label, *_info.OTHER_BUILDERS)
        return next((label for label in labels if os.path.lexists(plist_path(label))), self.question.label)

    @functools.cached_property
    def daemon_service(self) -> Service | None:
        """The Nix daemon's loaded job."""
        return self._service(self.daemon_label)

    @functools.cached_property
    def service(self) -> Service | None:
        """The builder's loaded job."""
        return self._service(self.label)

    def _service(self, label: str | None) -> Service | None:
        return None if label is None else self.launchctl.print_service(f"system/{label}")

    @functools.cached_property
    def disabled(self) -> t.Mapping[str, bool]:
        """launchd's overrides: label -> whether it is disabled."""
        return self.launchctl.print_disabled("system")

    # processes and sockets

    @functools.cached_property
    def processes(self) -> dict[int, Process]:
        """All processes by pid."""
        argv = [PS, "-ax", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "comm="]
        return parse_ps(self.runner.run(argv, timeout=15).stdout)

    def below(self, ancestor: int) -> list[Process]:
        """A process and all that descend from it."""
        found = [process for process in self.processes.values() if process.pid == ancestor]
        for process in found:
            found += [child for child in self.processes.values() if child.parent == process.pid and child not in found]
        return found

    @functools.cached_property
    def vm(self) -> Process | None:
        """The VM's process: below the builder's job, or whatever VM listens on the port."""
        pid = self.service.pid if self.service else None
        family = self.below(pid) if pid else [self.processes[one.pid] for one in self.listening if one.pid in self.processes]
        return next((process for process in family if process.is_vm), None)

    @functools.cached_property
    def listening(self) -> list[Listener]:
        """Who listens on the builder's port at an address that the builder needs."""
        found, _words = listeners(self.runner, self.question.port)
        return [listener for listener in found if listener.collides(self.question.host_address)]

    def owns(self, listener: Listener) -> bool:
        """Whether a listener belongs to the builder: to its job, or to a VM."""
        pid = self.service.pid if self.service else None
        family = {process.pid for process in self.below(pid)} if pid else set()
        process = self.processes.get(listener.pid)
        return listener.pid in family or (process is not None and process.is_vm)

    # ssh

    @functools.cached_property
    def ssh_config(self) -> Completed:
        """What root's ssh makes of the builder's name; makes no connection."""
        user, host, port = self.question.host
        argv = [SSH, "-G", *(["-p", port] if port else []), f"{user}@{host}" if user else host]
        return self.runner.run(argv, timeout=10)

    @functools.cached_property
    def session(self) -> Session:
        """One ssh session, with the options that the Nix daemon uses, that asks the guest everything."""
        entry = self.entry
        pin = entry.host_key if entry is not None else self.question.public_host_key
        return ask(self.question, self.key, pin, self.runner)


def parse_ps(text: str) -> dict[int, Process]:
    """Read `pid ppid stat comm`; other lines are skipped. macOS prints the whole path of a program."""
    found = {}
    for line in text.splitlines():
        words = line.split(None, 3)
        if len(words) == 4 and words[0].isdecimal() and words[1].isdecimal():
            found[int(words[0])] = Process(int(words[0]), int(words[1]), words[2], os.path.basename(words[3].strip()))
    return found


def plist_path(label: str) -> str:
    """Where a system job's property list lies."""
    return f"{DAEMONS}/{label}.plist"


def read_plist(label: str) -> Plist:
    """Look at a job's property list as launchd would."""
    path = plist_path(label)
    try:
        status = os.stat(path)
        with open(path, "rb") as stream:
            data = plistlib.load(stream)
    except FileNotFoundError:
        return Plist(path, False, "")
    except (OSError, ValueError, TypeError, AttributeError, LookupError, ExpatError) as exc:  # what plistlib leaks
        return Plist(path, True, "invalid", f"{path}: {exc}")
    if not isinstance(data, dict) or data.get("Label") != label:
        return Plist(path, True, "invalid", f"{path}: its Label is not {label}")
    if status.st_uid != 0 or status.st_mode & 0o022:
        return Plist(path, True, "mode", f"{path}: uid {status.st_uid}, mode {status.st_mode & 0o7777:04o}")
    return Plist(path, True, "")
