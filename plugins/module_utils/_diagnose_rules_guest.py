# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The rules of the links that one ssh session tells of: from the first answer of the guest's sshd to its Nix."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import shlex
import socket
import threading

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Finding
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac import Mac
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_rules_vm import job_values

_LEAST_DISK_MIB = 512
_LEAST_MEMORY_MIB = 160
_HOST_KEY = re.compile(r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED|No \S+ host key is known")
_KEY_UNUSED = re.compile(r"UNPROTECTED PRIVATE KEY|bad permissions|Load key|not accessible|invalid format")
_RESOLVE_SECONDS = 4.0


def values(mac: Mac) -> dict[str, str]:
    """Words for the fixes: those of the job, and the ssh command with all its options."""
    pin = " ".join(shlex.quote(word) for word in command(mac))
    return {**job_values(mac), "key": mac.key, "command": f"sudo {pin}"}


def command(mac: Mac) -> list[str]:
    """An ssh command for a person: as the daemon's, but the pinned key is read from the file that the runner uses.

    Plain `ssh linux-builder` would ask about an unknown host key.
    """
    question = mac.question
    known = f"{question.working_directory}/known_hosts"
    words = _diagnose_guest.argv(question, mac.key, known)
    user, host, _port = question.host
    rest = [word for word in words[2:] if word not in ("-x", "-a", "-oPermitLocalCommand=no")]
    return ["ssh", *rest, f"{user}@{host}" if user else host]


def ssh(mac: Mac) -> Finding | None:
    """Does an sshd greet us?"""
    session = mac.session
    words = session.words or "no words of ssh"
    if session.whole:
        return None
    if session.refused:
        return Finding("locked_out", "Not allowed at this time", values(mac))
    if session.rc is None:
        return Finding("no_answer", words, values(mac))
    if session.greeted or session.live or _HOST_KEY.search(words):
        return None
    if not session.connected:
        refused = "refused" in words
        return Finding("refused" if refused else "failed", words, values(mac))
    late = re.search(r"timed out|Timeout", words)
    return Finding("no_answer" if late else "closed", words, values(mac))


def host_key(mac: Mac) -> Finding | None:
    """Is the key that the guest shows the one that Nix was told?"""
    session = mac.session
    if session.whole or not _HOST_KEY.search(session.words):
        return None
    entry = mac.entry
    pin = entry.host_key if entry is not None else mac.question.public_host_key
    live = f"{session.live_type} {session.live}".strip() or "another key"
    if not pin:
        return Finding("unknown", f"the VM shows {live}", values(mac))
    where = entry.where if entry is not None else "public_host_key"
    return Finding("other", f"the VM shows {live}, {where} has {fingerprint(pin)}", values(mac))


def fingerprint(pin: str) -> str:
    """Fingerprint of field 8, as ssh prints it."""
    try:
        words = base64.b64decode(pin, validate=True).decode("ascii").split()
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError, IndexError):
        return "what is no public key"
    return f"{words[0]} SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def login(mac: Mac) -> Finding | None:
    """Does the guest let us in and run commands?"""
    session = mac.session
    if session.whole:
        return None
    if "time" in session.sections:
        return Finding("no_shell", f"the session broke off: {session.words or 'no words of ssh'}", values(mac))
    if "Permission denied" in session.words:
        unused = _KEY_UNUSED.search(session.words)
        return Finding("key_unused" if unused else "key_refused", session.words, values(mac))
    return Finding("no_shell", session.words or f"ssh ended with {session.rc}", values(mac))


# In the guest


def guest_nix(mac: Mac) -> Finding | None:
    """Does the guest's Nix daemon answer?"""
    session = mac.session
    if not session.one("version"):
        return Finding("missing", "nix-store is not found there", values(mac))
    lines = session.sections.get("ping", [])
    if "rc=0" in lines:
        return None
    words = " ".join(line.strip() for line in lines if not line.startswith("rc="))
    return Finding("no_answer", words[-300:] or "no answer within 8 s", values(mac))


def guest_trust(mac: Mac) -> Finding | None:
    """Does the guest's Nix trust its user?"""
    session = mac.session
    if trusted(session) is not False:
        return None
    users = " ".join(session.setting("trusted-users"))
    return Finding("untrusted", f"user {session.one('user')}, trusted-users = {users}", values(mac))


def trusted(session: _diagnose_guest.Session) -> bool | None:
    """Whether the guest's daemon says that it trusts us; None where it does not say."""
    for line in session.sections.get("ping", []):
        if line.startswith("Trusted:"):
            return line.split()[-1] == "1"
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and answer.get("trusted") is not None:
            return bool(answer["trusted"])
    return None


def guest_disk(mac: Mac) -> Finding | None:
    """Can the guest's disk be written, and is there space?"""
    session = mac.session
    for line in session.sections.get("mounts", []):
        words = line.split()
        # NixOS mounts /nix/store itself read-only; the daemon has its own view of it.
        if len(words) > 3 and words[1] != "/nix/store" and "ro" in words[3].split(","):
            return Finding("read_only", f"{words[1]} is mounted read-only", values(mac))
    for line in session.sections.get("disk", []):
        words = line.split()
        if len(words) >= 6 and words[3].isdecimal() and int(words[3]) // 1024 < _LEAST_DISK_MIB:
            return Finding("full", f"{words[5]}: {int(words[3]) // 1024} MiB free", values(mac))
    inodes = session.one("inodes").split()
    if len(inodes) >= 6 and inodes[1].isdecimal() and int(inodes[1]) and inodes[3] == "0":
        return Finding("full", f"{inodes[5]}: no inodes free", values(mac))
    return None


def guest_memory(mac: Mac) -> Finding | None:
    """Is there memory?"""
    numbers = {}
    for line in mac.session.sections.get("memory", []):
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[1].isdecimal():
            numbers[words[0]] = int(words[1])
    available = numbers.get("MemAvailable")
    if available is not None and available // 1024 < _LEAST_MEMORY_MIB:
        return Finding("low", f"{available // 1024} of {numbers.get('MemTotal', 0) // 1024} MiB available", values(mac))
    if numbers.get("oom_kill"):
        return Finding("killed", f"{numbers['oom_kill']} processes since the VM started", values(mac))
    return None


def clock(mac: Mac) -> Finding | None:
    """Is the guest's clock right?"""
    skew = skew_of(mac.session)
    if skew is None or abs(skew) <= mac.question.max_clock_skew:
        return None
    return Finding("skewed", f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", values(mac))


def skew_of(session: _diagnose_guest.Session) -> float | None:
    """Seconds that the guest's clock is ahead, at least: it was read at some moment of the session, in whole seconds."""
    told = session.one("time")
    if not told.isdecimal():
        return None
    if int(told) > session.ended:
        return int(told) - session.ended
    return min(0.0, int(told) + 1 - session.began)


def guest_ca(mac: Mac) -> Finding | None:
    """Are there CA certificates?"""
    if mac.session.sections.get("ca"):
        return None
    return Finding("missing", "no /etc/ssl/certs/ca-certificates.crt nor ca-bundle.crt with content", values(mac))


def guest_dns(mac: Mac) -> Finding | None:
    """Can the guest resolve what it needs?"""
    session = mac.session
    if not session.sections.get("dns"):
        return Finding("no_nameserver", "/etc/resolv.conf names none", values(mac))
    bad = [line[4:].strip() for line in session.sections.get("hosts", []) if line.startswith("bad ")]
    if not bad:
        return None
    if resolves(bad[0]):
        return Finding("no_answer", f"{bad[0]}; {session.one('dns')}", values(mac))
    return Finding("offline", bad[0], values(mac))


def resolves(host: str, seconds: float = _RESOLVE_SECONDS) -> bool:
    """Whether this Mac resolves a name, within `seconds`."""
    found: list[bool] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return
        found.append(True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(found)


def offers(mac: Mac) -> Finding | None:
    """Does the guest's Nix have what the entry says?"""
    session, entry = mac.session, mac.entry
    own = session.setting("system")
    if entry is None or not own:
        return None
    systems = [*own, *session.setting("extra-platforms")]
    lacking = [system for system in entry.systems if system not in systems]
    if lacking:
        return Finding("system", f"{entry.where} has {', '.join(lacking)}, the VM {', '.join(systems)}", values(mac))
    features = session.setting("system-features")
    lacking = [feature for feature in entry.features if feature not in features]
    if lacking:
        return Finding("feature", f"{entry.where} has {', '.join(lacking)}, the VM {', '.join(features)}", values(mac))
    return None
