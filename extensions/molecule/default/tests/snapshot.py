# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints, as JSON, all that a run could leave on a Mac: files, launchd's jobs, listening ports, Nix's roots.

Runs inside the stand-in with its Python 3.9 (`python3 - < snapshot.py`). A file counts by type, mode, owner, content or
target; not by its times. What changes by itself is left out, each place with its reason.
"""

import hashlib
import json
import os
import re
import stat
import subprocess

TREES = ("/Library", "/System/Library/LaunchDaemons", "/Users", "/etc", "/nix/var", "/opt", "/root", "/usr/local", "/var")

# Path -> why it may differ.
VOLATILE = {
    "/etc/hosts": "a container's, written by the engine at each start",
    "/nix/var/log": "logs of all builds, the Nix daemon's own",
    "/nix/var/nix/daemon-socket": "made anew by each start of the daemon",
    "/nix/var/nix/db": "the database of the store; store paths without a root are the garbage collector's",
    "/nix/var/nix/gc.lock": "made by Nix when it is first needed",
    "/nix/var/nix/gc-socket": "made by Nix when it is first needed",
    "/nix/var/nix/gcroots/auto": "links that Nix drops at the next garbage collection once their target is gone",
    "/nix/var/nix/temproots": "one file per client of the daemon",
    "/nix/var/nix/userpool": "locks of the build users",
    "/nix/var/nix/userpool2": "locks of the build users",
    "/nix/var/nix/current-load": "locks of the build slots, made by Nix for every machine that it ever used",
    "/var/root/.cache/nix": "Nix's own caches of fetched and evaluated flakes",
    "/var/db/com.apple.xpc.launchd": "launchd's overrides, which have no delete",
    "/var/log/com.apple.xpc.launchd": "launchd's own log",
    "/var/run": "empty after a restart anyway; what listens and what runs is looked at below",
    "/var/tmp": "temporary",
    "/var/cache": "caches of the distribution",
    "/var/lib/apt": "state of the distribution",
    "/var/lib/dpkg": "state of the distribution",
    "/var/lib/sudo": "time stamps of sudo",
    "/var/db/sudo": "time stamps of sudo",
}
# Ansible's own working directory, and logs that sshd, sudo and the Nix daemon write whatever happens.
VOLATILE_NAMES = re.compile(
    r"^(/Users/\w+|/root|/var/root|/home/\w+)/\.(ansible|ssh/known_hosts.*|bash_history|sudo_as_admin_successful)$"
)
VOLATILE_LOGS = re.compile(
    r"^/var/log/(wtmp|wtmp\.db|btmp|lastlog|auth\.log|system\.log|lab.*|(determinate-)?nix-daemon.*|sshd.*|sudo.*)$"
)


def describe(path):
    status = os.lstat(path)
    words = [oct(stat.S_IMODE(status.st_mode)), str(status.st_uid), str(status.st_gid)]
    if stat.S_ISLNK(status.st_mode):
        return " ".join(["link", *words[1:], os.readlink(path)])
    if stat.S_ISREG(status.st_mode):
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
        return " ".join(["file", *words, str(status.st_size), digest.hexdigest()[:20]])
    return " ".join([{stat.S_IFDIR: "directory"}.get(stat.S_IFMT(status.st_mode), "special"), *words])


def volatile(path):
    return path in VOLATILE or bool(VOLATILE_NAMES.match(path) or VOLATILE_LOGS.match(path))


def files():
    found = {}
    for tree in TREES:
        if os.path.islink(tree) or not os.path.isdir(tree):
            continue
        for directory, subdirectories, names in os.walk(tree):
            subdirectories[:] = sorted(name for name in subdirectories if not volatile(os.path.join(directory, name)))
            for name in [*subdirectories, *sorted(names)]:
                path = os.path.join(directory, name)
                if not volatile(path):
                    try:
                        found[path] = describe(path)
                    except FileNotFoundError:
                        pass
    return found


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


def jobs():
    labels = [line.split("\t")[-1] for line in output("/bin/launchctl", "list").splitlines()[1:]]
    return dict.fromkeys(labels, "loaded")


def processes():
    """Programs of ours that run, by what only they have in their arguments."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(os.path.join("/proc", name, "cmdline"), "rb") as stream:
                    words = stream.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            program = os.path.basename(words[0])
            if program.startswith("qemu-system") or any("linux-builder" in word for word in words):
                found[program] = "runs"
    return found


def ports():
    """Listening TCP ports, from the kernel: state 0A, port in hexadecimal behind the address."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as stream:
                rows = [line.split() for line in stream.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A":
                found[str(int(row[1].rsplit(":", 1)[1], 16))] = "listens"
    return found


def roots():
    """Garbage collection roots outside the processes' own."""
    lines = output("/nix/var/nix/profiles/default/bin/nix-store", "--gc", "--print-roots") or output(
        "/usr/bin/nix-store", "--gc", "--print-roots"
    )
    pairs = [line.split(" -> ", 1) for line in lines.splitlines() if " -> " in line]
    return {link: target for link, target in pairs if not link.startswith(("/proc/", "{"))}


print(json.dumps({"files": files(), "jobs": jobs(), "processes": processes(), "ports": ports(), "roots": roots()}))
