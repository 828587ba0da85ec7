# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A company's network in small: a binary cache over https, and a proxy that opens TLS with an authority of its own."""

from __future__ import annotations

import functools
import http.client
import http.server
import os
import ssl
import subprocess
import threading
import typing as t
from pathlib import Path


class Authority:
    """Signs certificates for hosts; its own is `file` (PEM)."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self.directory = directory
        self.file = str(directory / "ca.pem")
        subject = ["-subj", f"/CN={name}", "-days", "30", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        _openssl("req", "-x509", *subject, "-keyout", str(directory / "ca.key"), "-out", self.file)

    def context(self, host: str) -> ssl.SSLContext:
        """What a server needs to pass for `host` with whoever trusts this authority."""
        key, request, leaf = (str(self.directory / f"{host}.{end}") for end in ("key", "csr", "pem"))
        if not os.path.exists(leaf):
            _openssl(
                "req", "-new", "-subj", f"/CN={host}", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-keyout", key, "-out", request,
            )  # fmt: skip
            names = self.directory / f"{host}.names"
            names.write_text(f"subjectAltName=DNS:{host}\n")
            authority = ["-CA", self.file, "-CAkey", str(self.directory / "ca.key"), "-CAcreateserial"]
            _openssl("x509", "-req", "-in", request, *authority, "-days", "30", "-extfile", str(names), "-out", leaf)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf, key)
        return context


def _openssl(*argv: str) -> None:
    subprocess.run(["/usr/bin/openssl", *argv], capture_output=True, check=True)


class Server:
    """A server on a free port of 127.0.0.1 in a thread of its own; `log` has what it was asked."""

    def __init__(
        self, handler: t.Callable[..., http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
    ) -> None:
        self.log: list[str] = []
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, self))
        self.http.daemon_threads = True
        self.port = int(self.http.server_address[1])
        if context is not None:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


class _Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, owner: t.Any, *args: t.Any, **options: t.Any) -> None:
        self.owner = owner
        super().__init__(*args, **options)

    def log_message(self, *_args: t.Any) -> None:
        """Nothing on the terminal."""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Files(_Quiet):
    def do_GET(self) -> None:
        self.owner.log.append(f"{self.command} {self.path}")
        path = Path(self.owner.directory, self.path.lstrip("/"))
        self.answer(*((200, path.read_bytes()) if path.is_file() else (404, b"")))

    do_HEAD = do_GET


class Cache(Server):
    """The files of a directory; over TLS where an authority is given."""

    def __init__(self, directory: Path, authority: Authority | None = None, host: str = "") -> None:
        self.directory = directory
        super().__init__(_Files, authority.context(host) if authority else None)


class _Opened(_Quiet):
    """A request inside a connection that the proxy has opened."""

    def do_GET(self) -> None:
        port, context = self.owner.upstream[self.owner_host]
        self.owner.log.append(f"{self.command} {self.owner_host} {self.path}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=self.owner_host)
        connection.request(self.command, self.path, headers={"Host": self.owner_host})
        reply = connection.getresponse()
        self.answer(reply.status, reply.read())
        connection.close()

    do_HEAD = do_GET

    def __init__(self, owner_host: str, *args: t.Any) -> None:
        self.owner_host = owner_host
        super().__init__(*args)


class _Connect(_Quiet):
    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        self.owner.log.append(f"CONNECT {host} for {self.headers.get('User-Agent', '')}")
        if host not in self.owner.upstream:
            self.answer(502, b"")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        try:
            connection = self.owner.authority.context(host).wrap_socket(self.connection, server_side=True)
            _Opened(host, self.owner, connection, self.client_address, self.server)
        except OSError as exc:  # the client does not trust us, or went away
            self.owner.log.append(f"broken {host} {type(exc).__name__}")


class Proxy(Server):
    """Takes CONNECT, shows a certificate of its own authority for the host, and reads along.

    upstream: host -> (port on 127.0.0.1, what to trust there). Hosts that are not in it cannot be reached.
    """

    def __init__(self, authority: Authority, upstream: t.Mapping[str, tuple[int, ssl.SSLContext]]) -> None:
        self.authority = authority
        self.upstream = upstream
        super().__init__(_Connect)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Company:
    """Cache, proxy, and the two authorities; `bundle` trusts the proxy, `public` only the cache's own authority."""

    host = "cache.company.example"

    def __init__(self, directory: Path) -> None:
        self.files = directory / "files"
        self.files.mkdir(parents=True)
        public, own = Authority(directory / "public", "Public CA"), Authority(directory / "company", "Company CA")
        self.cache = Cache(self.files, public, self.host)
        self.proxy = Proxy(own, {self.host: (self.cache.port, ssl.create_default_context(cafile=public.file))})
        self.public = public.file
        self.bundle = str(directory / "bundle.pem")
        Path(self.bundle).write_text(Path(public.file).read_text() + Path(own.file).read_text())

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def close(self) -> None:
        self.proxy.close()
        self.cache.close()


class Signed:
    """A key pair that signs paths of a binary cache, and the cache's making with the real Nix."""

    def __init__(self, directory: Path, name: str = "company.example-1") -> None:
        directory.mkdir(exist_ok=True)
        self.secret = directory / "secret"
        self.secret.write_text(nix("key", "generate-secret", "--key-name", name))
        self.public = nix("key", "convert-secret-to-public", stdin=self.secret.read_text()).strip()

    def push(self, path: str, cache: Path) -> None:
        """Copy the closure of a store path into a cache of files, signed."""
        nix("copy", "--to", f"file://{cache}?secret-key={self.secret}&compression=none", path)


def nix(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    """Standard output of `nix ARGV`."""
    program = "/nix/var/nix/profiles/default/bin/nix"
    done = subprocess.run(
        [program, "--extra-experimental-features", "nix-command flakes", *argv],
        input=stdin, capture_output=True, text=True, check=False, env={"HOME": "/var/root", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if check and done.returncode != 0:
        raise AssertionError(f"nix {' '.join(argv)}: {done.stderr}")
    return done.stdout
