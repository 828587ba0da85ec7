#!/usr/bin/python3.13
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for vzvm: its command line, configuration file, exit codes and reaction to SIGTERM, with QEMU underneath.

What it cannot show: Virtualization.framework, Rosetta, vsock and the unified log, for which a file stands in.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

LOG = "/var/log/lab-unified.log"
USAGE, PREFLIGHT, GUEST_ERROR, CONFIG = 64, 69, 71, 78
KNOWN = {
    "cpuCount",
    "memorySizeMiB",
    "kernel",
    "initrd",
    "cmdline",
    "disks",
    "shares",
    "rosetta",
    "nestedVirtualization",
    "vsock",
    "console",
}
FORCED_AFTER = 30  # seconds


def fail(code, words):
    say(f"error: {words}")
    sys.exit(code)


def say(words):
    """vzvm's own words go to the unified log and to stderr."""
    print(f"[vzvm] {words}", file=sys.stderr, flush=True)


def load(path):
    try:
        with open(path, encoding="utf-8") as stream:
            config = json.load(stream)
    except (OSError, ValueError) as exc:
        fail(CONFIG, f"cannot read {path}: {exc}")
    if set(config) - KNOWN:
        fail(CONFIG, f"unknown keys: {sorted(set(config) - KNOWN)}")
    for disk in config["disks"]:
        with open(disk["path"], "rb") as stream:
            if stream.read(4) == b"QFI\xfb":
                fail(PREFLIGHT, f"{disk['path']} is a QEMU qcow2 image, not a raw disk.")
    if config["nestedVirtualization"]:
        fail(PREFLIGHT, "nested virtualization is not supported on this host")
    return config


def command(config, monitor):
    forwards = ""
    for rule in config["vsock"]["forwards"]:
        forwards += f",hostfwd=tcp:{rule['listen']}-:{rule['vsockPort']}"
    words = ["/usr/bin/qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=single,tb-size=256", "-cpu", "max"]
    words += ["-m", str(config["memorySizeMiB"]), "-smp", str(config["cpuCount"]), "-nographic", "-device", "virtio-rng-pci"]
    words += ["-device", "virtio-net-pci,netdev=user.0,romfile=", "-netdev", f"user,id=user.0{forwards}"]
    for share in config["shares"]:
        words += ["-virtfs", f"local,path={share['path']},security_model=mapped-xattr,mount_tag={share['tag']}"]
    # The lab's guest expects its data disk first.
    for number, disk in enumerate(sorted(config["disks"], key=lambda disk: disk["readOnly"])):
        mode = "on" if disk["readOnly"] else "off"
        words += ["-drive", f"cache=writeback,file={disk['path']},format=raw,id=drive{number},if=none,read-only={mode}"]
        words += ["-device", f"virtio-blk-pci,drive=drive{number}"]
    words += ["-kernel", config["kernel"], "-initrd", config["initrd"], "-append", config["cmdline"]]
    return [*words, "-qmp", f"unix:{monitor},server=on,wait=off"]


def power_button(monitor):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(monitor)
        stream = client.makefile("rw", encoding="utf-8")
        stream.readline()
        for word in ("qmp_capabilities", "system_powerdown"):
            stream.write(json.dumps({"execute": word}) + "\n")
            stream.flush()
            stream.readline()


def die_with_me():
    """A guest of Virtualization.framework ends with the process that started it, even by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        fail(USAGE, "usage: vzvm <config.json>")
    config = load(sys.argv[1])
    monitor = os.path.join(os.environ["TMPDIR"], "qmp")
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.append(time.monotonic()))
    with open(LOG, "ab") as console:
        guest = subprocess.Popen(
            command(config, monitor), stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=die_with_me
        )
    say("guest started")
    told = False
    while guest.poll() is None:
        if asked and not told:
            told = True
            try:
                power_button(monitor)
            except OSError:
                guest.kill()
        if asked and time.monotonic() - asked[0] > FORCED_AFTER:
            guest.kill()
        time.sleep(0.2)
    sys.exit(0 if guest.returncode == 0 or asked else GUEST_ERROR)


main()
