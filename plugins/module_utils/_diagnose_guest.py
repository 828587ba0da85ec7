# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The guest's side of a diagnosis: one ssh session that asks everything, with the options that the Nix daemon uses.

It logs in with the key: a connection without counts against this Mac in the guest's sshd (PerSourcePenalties).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verify_ssh
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError

if t.TYPE_CHECKING:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import Question

SSH = "/usr/bin/ssh"
_CONNECT = 10  # seconds for ssh to connect and to be greeted
_SESSION = 20.0  # seconds in all
_MARK = "::nixmac-"

# One command for each section; none may wait for long, and what a guest lacks leaves its section empty. The last one
# asks for the names in the substituters that the section before has found.
_SECTIONS: tuple[tuple[str, str], ...] = (
    ("time", "date +%s"),
    ("user", "id -un"),
    ("boot", "cat /proc/sys/kernel/random/boot_id"),
    ("version", "nix-store --version 2>/dev/null | head -n 1"),
    (
        "ping",
        "n='timeout 8 nix --extra-experimental-features nix-command'; $n store ping --store daemon --json 2>/dev/null "
        "|| $n store ping --store daemon 2>&1; echo rc=$?",
    ),
    (
        "config",
        "c=$($n show-config 2>/dev/null | grep -E '^(system|extra-platforms|system-features|substituters|trusted-users) ='); "
        'echo "$c"',
    ),
    ("disk", "df -kP /nix/store /nix/var/nix 2>/dev/null | tail -n +2"),
    ("inodes", "df -iP /nix/store 2>/dev/null | tail -n +2"),
    ("mounts", "grep -E ' (/|/nix|/nix/store|/nix/var/nix) ' /proc/mounts"),
    ("memory", "grep -E '^(MemTotal|MemAvailable)' /proc/meminfo; grep '^oom_kill ' /proc/vmstat"),
    (
        "ca",
        "for f in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-bundle.crt /etc/pki/tls/certs/ca-bundle.crt; "
        'do test -s "$f" && echo "$f"; done',
    ),
    ("kvm", "test -e /dev/kvm && echo yes"),
    ("dns", "grep '^nameserver' /etc/resolv.conf 2>/dev/null"),
    (
        "hosts",
        "for h in $(echo \"$c\" | grep '^substituters' | grep -oE 'https?://[^/: ]+' | sed 's,.*//,,' | head -n 2); do "
        'timeout 4 getent ahosts "$h" >/dev/null 2>&1 && echo "ok $h" || echo "bad $h"; done',
    ),
    ("end", "true"),
)
SCRIPT = "\n".join(f"echo {_MARK}{name}; {command}" for name, command in _SECTIONS)

_DEBUG = re.compile(r"(debug\d: |OpenSSH_|Authenticated to |Transferred: |Bytes per second: )")
_LIVE = re.compile(r"Server host key: (\S+) (SHA256:\S+)")


class Session(t.NamedTuple):
    """What the session brought. rc: ssh's status, 255 for its own failure; None: it did not end in time.

    words: what ssh said, without its debug lines. sections: name -> lines. began, ended: this Mac's clock, seconds since
    1970. pinned: fingerprint of the key that ssh was told, or empty. live: the one that the guest showed, or empty.
    """

    rc: int | None
    words: str
    connected: bool
    greeted: bool
    live: str
    live_type: str
    refused: bool  # the guest said `Not allowed at this time`
    sections: t.Mapping[str, list[str]]
    began: float
    ended: float

    @property
    def whole(self) -> bool:
        """Whether the guest has answered all of it."""
        return "end" in self.sections

    def one(self, name: str) -> str:
        """The first line of a section, or empty."""
        lines = self.sections.get(name, [])
        return lines[0].strip() if lines else ""

    def setting(self, name: str) -> list[str]:
        """Words of a setting of the guest's Nix."""
        for line in self.sections.get("config", []):
            key, equals, value = line.partition(" =")
            if equals and key == name:
                return value.split()
        return []


def argv(question: Question, key: str, known_hosts: str | None) -> list[str]:
    """The ssh command line, as Nix makes it but for BatchMode and a limit of time, without the command.

    known_hosts: file with the host key of field 8; None where there is none.
    """
    user, host, port = question.host
    words = [SSH, f"{user}@{host}" if user else host, "-x", "-a", "-i", key]
    words += [f"-oUserKnownHostsFile={known_hosts}"] if known_hosts else []
    words += [f"-p{port}"] if port else []
    if not question.uses_alias and host in ("localhost", "127.0.0.1") and not port:
        words += [f"-p{question.port}"]
    return [*words, "-oBatchMode=yes", f"-oConnectTimeout={_CONNECT}", "-oPermitLocalCommand=no"]


def ask(question: Question, key: str, pin: str, runner: Runner) -> Session:
    """Run the session. pin: field 8 of the entry, or empty. Never raises for what the guest does."""
    began = time.time()
    with _known_hosts(question, pin) as path:
        try:
            done = runner.run([*argv(question, key, path), "-v", "--", SCRIPT], timeout=_SESSION)
        except CommandError as exc:
            if "timeout" not in exc.details:
                raise
            return _session(None, exc.message, "", began)
    return read(done, began)


def read(done: Completed, began: float) -> Session:
    """What ssh left behind, as a Session."""
    return _session(done.rc, done.stderr, done.stdout, began)


def _session(rc: int | None, stderr: str, stdout: str, began: float) -> Session:
    lines = [line.strip("\r") for line in stderr.split("\n")]
    words = " / ".join(line.strip() for line in lines if line.strip("@ ") and not _DEBUG.match(line))
    live = _LIVE.search(stderr)
    return Session(
        rc=rc,
        words=words[-600:],
        connected="Connection established" in stderr,
        greeted="Remote protocol version" in stderr,
        live=live.group(2) if live else "",
        live_type=live.group(1) if live else "",
        refused="Not allowed at this time" in stderr,
        sections=_sections(stdout),
        began=began,
        ended=time.time(),
    )


def _sections(stdout: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in stdout.split("\n"):
        if line.startswith(_MARK):
            current = found.setdefault(line[len(_MARK) :].strip(), [])
        elif line.strip():
            current.append(line)
    return found


@contextlib.contextmanager
def _known_hosts(question: Question, pin: str) -> t.Iterator[str | None]:
    """A file with the host key as Nix writes it for ssh; None without a key, or for one that is none."""
    try:
        line = _verify_ssh.Target(uri=question.uri, key=question.key, public_host_key=pin).known_host()
    except ConfigError:
        line = ""
    if not line:
        yield None
        return
    descriptor, path = tempfile.mkstemp(prefix="nixmac-known-hosts-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(line)
        yield path
    finally:
        os.unlink(path)
