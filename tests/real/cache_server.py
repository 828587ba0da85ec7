# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A binary cache over http: a directory that can be read, and written with PUT, as Nix does."""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import threading
import typing as t


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files below a directory. asked: every request line's method and path."""

    protocol_version = "HTTP/1.1"
    asked: t.ClassVar[list[tuple[str, str]]] = []

    def do_PUT(self) -> None:
        """Write one file, as a whole."""
        path = self.translate_path(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Two store paths of the same content are sent at the same time, under the same name.
        scratch = f"{path}.{threading.get_ident()}.new"
        with open(scratch, "wb") as stream:
            stream.write(body)
        os.replace(scratch, path)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: t.Any = "-", size: t.Any = "-") -> None:
        """Remember the request instead of printing it."""
        self.asked.append((self.command, self.path))

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002 (the name is http.server's)
        """Nothing is printed."""


@contextlib.contextmanager
def serving(directory: str, address: str = "127.0.0.1", port: int = 0) -> t.Iterator[str]:
    """Serve a directory until the end of the block; gives the URL."""
    server = http.server.ThreadingHTTPServer((address, port), functools.partial(Handler, directory=directory))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    with serving(given.directory, given.address, given.port):
        threading.Event().wait()
