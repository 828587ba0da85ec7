#!/usr/bin/env python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's launchctl: passes its words to launchd and prints the answer.

All knowledge lies in the daemon, so this starts fast. LAB_LAUNCHD_SOCKET names another socket (tests).
Called as `lab-launchd-fault` it arms faults instead: see README.md.
"""

import json
import os
import socket
import sys

SOCKET = "/var/run/lab-launchd.sock"


def ask(request):
    """Send one request, return the answer as a dict."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(os.environ.get("LAB_LAUNCHD_SOCKET", SOCKET))
    connection.sendall(json.dumps(request).encode() + b"\n")
    pieces = []
    while True:
        piece = connection.recv(65536)
        if not piece:
            break
        pieces.append(piece)
    return json.loads(b"".join(pieces))


def fault(words):
    """`lab-launchd-fault kickstart --label x --rc 1`, `list`, `clear`, `login 501`, `logout 501`, `era 26`."""
    if not words or words[0] in ("list", "clear", "login", "logout", "era"):
        return {"lab": words or ["list"]}
    item = {"name": words[0]}
    for option, value in zip(words[1::2], words[2::2]):
        item[option.lstrip("-")] = value
    return {"lab": ["fault", item]}


def working_directory():
    """launchctl works in a deleted directory too."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def main(words):
    """Exit status of the command."""
    if os.path.basename(sys.argv[0]).startswith("lab-launchd-fault"):
        request = fault(words)
    else:
        request = {"argv": words, "cwd": working_directory()}
    try:
        answer = ask(request)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"Could not contact launchd: {error}\n")
        return 1
    sys.stderr.write(answer["err"])
    sys.stdout.write(answer["out"])
    return answer["rc"]


if __name__ == "__main__":
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    sys.stderr.flush()
    # No interpreter shutdown: saves some milliseconds of each call.
    os._exit(status)
