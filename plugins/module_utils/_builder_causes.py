# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Why a builder does not answer: a table of what ssh, the launchd job and the log say, and what it means.

Symptoms are those recorded for nixpkgs' builder on Macs, and those of QEMU, Linux, OpenSSH and our own runner.
"""

from __future__ import annotations

import datetime
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _vz

_CONSOLE_BYTES = 256 * 1024  # some boots of a guest
_RECENT = datetime.timedelta(minutes=10)  # launchd starts a job that dies every 10 s; older attempts are another story
_TAIL = 15  # lines of the log in a message
_SAID = re.compile(r"^(\S+) run-builder\[([0-9]+)\]: ", re.MULTILINE)


class Symptoms(t.NamedTuple):
    """What there is to judge by. kind: of the last Answer. ssh: its words. job: as job_words. log: the log's last part."""

    kind: str
    ssh: str
    job: str
    log: str


class Cause(t.NamedTuple):
    """A row: if `pattern` is found in the `source` of Symptoms, then `words`, in which {port} stands for the port.

    weak: says so little that any other row of this attempt or of an earlier one is better.
    """

    name: str
    source: str
    pattern: str
    words: str
    weak: bool = False

    def says(self, port: int) -> str:
        """The words, for a message."""
        return self.words.format(port=port)


# The most telling first.
TABLE: tuple[Cause, ...] = (
    Cause(
        "host-key-differs",
        "kind",
        r"^wrong-host-key$",
        "what listens on port {port} is another builder or somebody else's program, or the builder has a host key of its own "
        "that is not pinned: see `lsof -nP -iTCP:{port} -sTCP:LISTEN`, or give the key as public_host_key",
    ),
    Cause(
        "port-taken",
        "log",
        r"Could not set up host forwarding rule",
        "another program has the port: find it with `lsof -nP -iTCP:{port} -sTCP:LISTEN`, end it or choose another port",
    ),
    Cause(
        "port-taken-vz",
        "log",
        r"\[vzvm\] error: cannot listen on",
        "another program has the port: find it with `lsof -nP -iTCP:{port} -sTCP:LISTEN`, end it or choose another port",
    ),
    Cause(
        "rosetta-missing",
        "log",
        r"\[vzvm\] error: Rosetta is not",
        f"Rosetta is missing, and vzvm does not start without: sudo {_vz.INSTALL_ROSETTA}",
    ),
    Cause(
        "disk-of-qemu",
        "log",
        r"\[vzvm\] error: .* is a QEMU qcow2 image",
        "the data disk is that of QEMU's builder: state=running moves it aside",
    ),
    Cause(
        "no-nested",
        "log",
        r"\[vzvm\] error: nested virtualization is not supported",
        "this Mac has no nested virtualization (macOS 15 and an M3 or later): leave nested_virtualization out",
    ),
    Cause(
        "second-instance",
        "log",
        r"already runs the builder on",
        "a second instance was refused, because the builder already runs outside this launchd job",
    ),
    Cause("disk-in-use", "log", r'Failed to get "write" lock', "another QEMU has the data disk open: end that one"),
    Cause(
        "disk-full",
        "log",
        # mkfs.erofs says either when its volume is full: it reads back what could not be written.
        r"No space left on device|I/O error, dev vd[a-z]|erofs: \s*Could not format the device : \[Error 74\]",
        "the Mac's disk is full, or the guest's: free space on the volume of the working directory, or give more disk_mib",
    ),
    Cause(
        "out-of-memory",
        "log",
        r"Out of memory: Killed process|invoked oom-killer|deadlocked on memory|cannot set up guest memory"
        r"|Cannot allocate memory|Initramfs unpacking failed: write error",
        "the VM has too little memory, or the Mac has none to give: set memory_mib (the image needs about 1024 to boot)",
    ),
    Cause(
        "qemu-sdk",
        "log",
        r"hvf_arch_init_vcpu",
        "QEMU crashes on this Mac's processor (QEMU 11.0 built with an old SDK): use another revision",
    ),
    Cause("qemu-old", "log", r"max-arm-cpu\.sme", "QEMU is too old for this Mac's processor: use a newer revision"),
    Cause(
        "no-virtualisation",
        "log",
        r"HV_UNSUPPORTED",
        "this Mac cannot virtualise (kern.hv_support is 0); it may be a virtual machine itself",
    ),
    Cause("no-entitlement", "log", r"HV_DENIED", "macOS refuses virtualisation to QEMU: it lacks the hypervisor entitlement"),
    Cause("closure-gone", "log", r"run-nixos-vm is missing", "the closure is gone from the Nix store: run state=present again"),
    Cause("no-keys", "log", r"builder_ed25519\.pub is missing", "the keys directory is empty: run state=present again"),
    Cause(
        "key-refused",
        "ssh",
        r"Permission denied \(",
        "the guest does not take the client key: run state=present again, then restart the job",
    ),
    Cause(
        "locked-out",
        "ssh",
        r"Not allowed at this time",
        "the guest's sshd has locked this address out after failed logins: wait some minutes",
    ),
    Cause(
        "guest-daemon",
        "kind",
        r"^no-daemon$",
        "the guest's Nix daemon has died or hangs: restart the builder, which keeps its store, and look at the log",
    ),
    Cause(
        "qemu-crash",
        "log",
        r"Assertion failed",
        "QEMU crashes; look at /Library/Logs/DiagnosticReports/qemu-system-*.ips",
    ),
    Cause(
        "guest-panic",
        "log",
        r"Kernel panic - not syncing",
        "the guest's kernel stops at boot; its last words are in the log. A damaged data disk can be made anew with state=absent "
        "and state=present",
    ),
    Cause(
        "vzvm-refuses",
        "log",
        r"\[vzvm\] error:",
        f"vzvm gives up; why, it says in the log. The guest's console is in macOS' log: {_vz.CONSOLE}",
        weak=True,
    ),
    Cause(
        "vz-guest",
        "log",
        r"\[vzvm\] guest started",
        f"vzvm runs, but the guest is slow or hangs; its console is in macOS' log, not in this one: {_vz.CONSOLE}",
        weak=True,
    ),
    Cause(
        "crash-loop",
        "log",
        r"(?s)(?:the VM has ended with status .*){3}",
        "the VM ends soon after each start (a crash loop); why, QEMU or the guest says in the log before `the VM has ended`",
        weak=True,
    ),
    Cause("not-loaded", "job", r"^not loaded", "the job does not run", weak=True),
    Cause(
        "no-certificates",
        "log",
        r"no CA certificates",
        "the file behind NIX_SSL_CERT_FILE is missing, so the guest can fetch nothing over https: set ca_file",
        weak=True,
    ),
    Cause("slow", "kind", r"^booting$", "the guest is slow or hangs: give more timeout, or look at the log", weak=True),
)


def likely(symptoms: Symptoms) -> Cause | None:
    """The first row that fits with what the last attempt to run the VM left, else with the attempts shortly before.

    A weak row only where no other fits at all.
    """
    attempts = recent(symptoms.log)
    for weak, log in ((False, last_attempt(attempts)), (False, attempts), (True, attempts)):
        seen = symptoms._replace(log=log)
        for row in TABLE:
            if row.weak == weak and re.search(row.pattern, getattr(seen, row.source)):
                return row
    return None


def last_attempt(log: str) -> str:
    """The part of a log from the first word of the runner that spoke last: launchd starts a new one for each attempt."""
    begin = 0
    said = list(_SAID.finditer(log))
    for match in reversed(said):
        if match.group(2) != said[-1].group(2):
            break
        begin = match.start()
    return log[begin:]


def recent(log: str) -> str:
    """The part of a log from the first word of the runner that is at most 10 minutes older than its last one."""
    said = [(match.start(), _moment(match.group(1))) for match in _SAID.finditer(log)]
    moments = [(start, moment) for start, moment in said if moment is not None]
    if not moments:
        return log
    limit = max(moment for _start, moment in moments) - _RECENT
    return log[next(start for start, moment in moments if moment >= limit) :]


def _moment(stamp: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None


def read_log(path: str) -> str:
    """The last part of a log of any size, printable characters only; empty when there is none."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _CONSOLE_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    printable = ("".join(char for char in line if char.isprintable()).rstrip() for line in plain.split("\n"))
    return "\n".join(line for line in printable if line)


def tail(log: str, lines: int = _TAIL) -> list[str]:
    """The last lines of what read_log returned."""
    return log.splitlines()[-lines:]
