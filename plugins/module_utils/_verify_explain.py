# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the words of Nix and ssh mean for somebody who wants the builder to work. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed

if t.TYPE_CHECKING:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target

SSH_WORKS = (
    "ssh reaches the VM with {key} and finds Nix there, so the entry in the machines file names another key, user or host key. "
    "Run the delegation role."
)
_WORDS = 600  # characters of somebody else's text in a message
_NOISE = re.compile(r"(warning:|GC Warning:|this derivation will be built:|these \d+ derivations|\s*/nix/store/\S+\.drv$)")

# What ssh says while nothing listens yet, or QEMU does and the guest's sshd does not.
_NO_ANSWER = r"Connection (?:refused|timed out|reset|closed)|Operation timed out|banner exchange|kex_exchange"

# (pattern in stderr, what to do), the cause nearest to the wire first: one broken connection makes Nix say
# all the later sentences as well. Braces are filled in from the target.
_TABLE: tuple[tuple[str, str], ...] = (
    (
        r"bad machine specification|store URL was not found",
        "A line of the machines file or of `builders` is malformed, which stops every build. "
        "Correct it, or run the delegation role.",
    ),
    (
        r"cannot build on[^\n]*\n?[^\n]*daemon-socket",
        "The VM's own Nix daemon does not answer. Restart the VM: sudo launchctl kickstart -k system/{label}",
    ),
    (
        r"daemon-socket|cannot connect to (?:socket|daemon)|error connecting to daemon",
        "The Nix daemon of this Mac does not answer. See sudo launchctl print system/org.nixos.nix-daemon (Determinate: "
        "system/systems.determinate.nix-daemon).",
    ),
    (
        r"Could not resolve hostname",
        "root's ssh does not know {alias}: /etc/ssh/ssh_config.d/100-nixmac-linux-builder.conf is missing or is not included by "
        "/etc/ssh/ssh_config. Run the delegation role.",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No \S+ host key is known",
        "The host key that the VM shows is not the one that Nix was told. Run the delegation role; if that changes nothing, "
        "something else listens on {host_address}:{port}: sudo lsof -nP -iTCP:{port} -sTCP:LISTEN",
    ),
    (
        r"UNPROTECTED PRIVATE KEY|bad permissions",
        "{key} can be read by others, so ssh does not use it. Run the credentials role.",
    ),
    (
        r"Identity file \S+ not accessible|Load key \S+ (?:invalid format|error in libcrypto|No such file)",
        "{key} is missing or is no private key. Run the credentials role.",
    ),
    (
        r"Permission denied \(",
        "The VM does not accept {key}: its keys directory holds another public half. Run the credentials and builder roles.",
    ),
    (
        r"Not allowed at this time",
        "The VM's sshd shuts out this Mac for a while after failed logins (PerSourcePenalties). Stop what connects without "
        "the key, wait some minutes, then run again.",
    ),
    (
        _NO_ANSWER,
        "The VM does not answer on {host_address}:{port}. See sudo launchctl print system/{label} and {log}; "
        "run the builder role.",
    ),
    (
        r"No space left on device|disk I/O error|database or disk is full",
        "A disk is full, the VM's or this Mac's. Free space: sudo ssh -i {key} -o UserKnownHostsFile={known_hosts} {alias} "
        "nix-collect-garbage, and nix-collect-garbage here.",
    ),
    (
        r"started a different protocol|protocol mismatch|nix-(?:daemon|store): (?:command )?not found",
        "What answers in the VM is not Nix over {uri}. Check that Nix is on the PATH of the VM's user.",
    ),
    (
        r"lacks a signature|not privileged|not a trusted user",
        "The VM's Nix does not trust its user `builder`. Use the stock image, or add the user to trusted-users in the VM.",
    ),
    (
        r"Failed to find a machine|[Uu]nable to start any build|local builds are disabled|required to build|Required system",
        "Nix knows no builder for {system}. Run the delegation role, and see that `nix show-config` has builders = "
        "@/etc/nix/machines and that the entry names {system}.",
    ),
)


def booting(stderr: str) -> bool:
    """Whether ssh's words are those of a VM that may still be on its way up."""
    return re.search(_NO_ANSWER, stderr) is not None and "Permission denied" not in stderr


def last_words(done: Completed) -> str:
    """The end of what a program said, without its warnings and lists, on one line; its exit status if it said nothing."""
    lines = [line.strip() for line in done.words.splitlines() if line.strip() and not _NOISE.match(line)]
    text = " ".join(" ".join(lines).split())
    if not text:
        return f"nothing (exit status {done.rc})."
    return text if len(text) <= _WORDS else "… " + text[-_WORDS:]


def likely_fix(stderr: str, target: Target, system: str) -> str:
    """What to do next after `stderr`; always a sentence."""
    values = {
        "alias": target.alias,
        "host_address": target.host_address,
        "port": target.port,
        "key": target.key,
        "uri": target.uri,
        "label": target.label,
        "log": target.log,
        "known_hosts": target.known_hosts,
        "system": system or "the system asked for",
    }
    for pattern, advice in _TABLE:
        if re.search(pattern, stderr):
            return advice.format(**values)
    return "See {log} and the Nix daemon's log, and run the playbook again.".format(**values)
