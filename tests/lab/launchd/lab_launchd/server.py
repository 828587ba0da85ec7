# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control socket: one line of JSON in, one JSON object out, then the connection closes.

Request  {"argv": ["print", "system/x"], "cwd": "/"}            launchctl
         {"lab": ["fault", {"name": "bootstrap"}], "cwd": "/"}  lab-launchd-fault (root only)
Answer   {"out": "...", "err": "...", "rc": 0}
The caller's uid comes from the kernel (SO_PEERCRED), never from the request.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import traceback
import typing as t

from lab_launchd import commands, legacy
from lab_launchd.call import Call, run
from lab_launchd.manager import Manager

LIMIT = 1 << 20
TABLE = {**commands.TABLE, **legacy.TABLE}


class Server:
    """Listens and serves; never blocks on a slow client."""

    def __init__(self, path: str, manager: Manager, selector: selectors.BaseSelector) -> None:
        self.manager = manager
        self.selector = selector
        self.path = path
        if os.path.lexists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(64)
        self.listener.setblocking(False)
        selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self) -> None:
        """A new client."""
        try:
            connection, dummy = self.listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        client = _Client(self, connection, struct.unpack("3i", raw)[1])
        self.selector.register(connection, selectors.EVENT_READ, client.readable)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self.selector.unregister(self.listener)
        self.listener.close()
        if os.path.lexists(self.path):
            os.unlink(self.path)


class _Client:
    def __init__(self, server: Server, connection: socket.socket, uid: int) -> None:
        self.server = server
        self.connection = connection
        self.uid = uid
        self.incoming = b""
        self.outgoing = b""
        self.served = False

    def readable(self) -> None:
        """Collect one line, then serve it."""
        try:
            piece = self.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.close()
            return
        self.incoming += piece
        if b"\n" in self.incoming and not self.served:
            self.served = True
            self.serve()
        elif len(self.incoming) > LIMIT:
            self.close()

    def serve(self) -> None:
        """Whatever the client sent, the daemon lives on."""
        try:
            request = json.loads(self.incoming)
            words = [str(word) for word in request.get("argv", [])]
            if "lab" in request:
                self.answer(*self.lab(request["lab"]))
            elif words:
                run(Call(self.server.manager, words, self.uid, str(request.get("cwd", "/")), self.answer), TABLE)
            else:
                self.answer("", "Usage: launchctl <subcommand> ... | help [subcommand]\n", 1)
        except Exception as error:
            self.server.manager.log(f"request failed: {error}\n{traceback.format_exc()}")
            self.answer("", f"launchd stand-in: {type(error).__name__}: {error}\n", 70)

    def lab(self, words: list[t.Any]) -> tuple[str, str, int]:
        """Commands that no Mac has."""
        manager = self.server.manager
        if self.uid != 0:
            return "", "only root may use this\n", 1
        try:
            if words[0] == "fault":
                manager.faults.add(words[1])
            elif words[0] == "clear":
                manager.faults.clear()
            elif words[0] == "login":
                manager.config.gui_sessions.append(int(words[1]))
                manager.login(int(words[1]))
            elif words[0] == "logout":
                manager.config.gui_sessions = [uid for uid in manager.config.gui_sessions if uid != int(words[1])]
                manager.logout(int(words[1]))
            elif words[0] == "era":
                manager.config.era = int(words[1])
            elif words[0] != "list":
                return "", f"unknown: {words[0]}\n", 64
        except (ValueError, IndexError, TypeError, AttributeError) as error:
            return "", f"{error}\n", 64
        return "".join(json.dumps(item) + "\n" for item in manager.faults.items), "", 0

    def answer(self, out: str, err: str, code: int) -> None:
        """Queue the answer; it is sent as the client takes it."""
        self.outgoing = json.dumps({"out": out, "err": err, "rc": code}).encode()
        if self.connection.fileno() < 0:
            return
        self.writable()

    def writable(self) -> None:
        """Send what fits."""
        try:
            sent = self.connection.send(self.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self.outgoing = self.outgoing[sent:]
        if self.outgoing:
            self.server.selector.modify(self.connection, selectors.EVENT_WRITE, self.writable)
        else:
            self.close()

    def close(self) -> None:
        """Done with this client."""
        if self.connection.fileno() >= 0:
            self.server.selector.unregister(self.connection)
            self.connection.close()
