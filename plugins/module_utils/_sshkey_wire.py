# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The byte formats that keys come in: SSH wire strings, DER, and the text armour around both."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import struct

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError


class KeyFormatError(LinuxBuilderError):
    """Bytes that are no usable key. `message` completes the sentence "the key ..." and never quotes the bytes."""

    def __init__(self, message: str, *, blob: bytes | None = None) -> None:
        super().__init__(message)
        self.blob = blob  # the public half, where it could be read though the private one cannot


DAMAGED = "is truncated or damaged"


class WireReader:
    """Reads the fields of an SSH binary structure (RFC 4251 §5); KeyFormatError where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise KeyFormatError(DAMAGED)
        self._at += count
        return piece

    def number(self) -> int:
        """A uint32."""
        return int(struct.unpack(">I", self.take(4))[0])

    def string(self) -> bytes:
        """A length and as many bytes."""
        return self.take(self.number())

    def name(self) -> str:
        """A string that has to be printable ASCII, as names of key types and ciphers are."""
        text = self.string().decode("ascii", "replace")
        if not text.isprintable() or "\ufffd" in text:
            raise KeyFormatError(DAMAGED)
        return text

    def integer(self) -> int:
        """An mpint; negative ones do not occur in keys."""
        data = self.string()
        if data[:1] >= b"\x80":
            raise KeyFormatError(DAMAGED)
        return int.from_bytes(data, "big")

    def rest(self) -> bytes:
        """What is left."""
        return self.take(len(self._data) - self._at)


def wire_string(data: bytes) -> bytes:
    """A length and the bytes."""
    return struct.pack(">I", len(data)) + data


def wire_integer(value: int) -> bytes:
    """An mpint of a number that is not negative."""
    return wire_string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


class DerReader:
    """Reads the elements of a DER structure (X.690), as far as PEM keys use it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        """Whether another element follows."""
        return self._at < len(self._data)

    def element(self, tag: int | None = None) -> tuple[int, bytes]:
        """(tag, content) of the next element; KeyFormatError if it is not `tag`."""
        found, length = self._take(1)[0], self._length()
        if tag is not None and found != tag:
            raise KeyFormatError(DAMAGED)
        return found, self._take(length)

    def integer(self) -> int:
        """An INTEGER that is not negative."""
        content = self.element(0x02)[1]
        if not content or content[0] >= 0x80:
            raise KeyFormatError(DAMAGED)
        return int.from_bytes(content, "big")

    def octets(self) -> bytes:
        """An OCTET STRING."""
        return self.element(0x04)[1]

    def sequence(self) -> DerReader:
        """A SEQUENCE, to be read further."""
        return DerReader(self.element(0x30)[1])

    def _length(self) -> int:
        first = self._take(1)[0]
        return first if first < 0x80 else int.from_bytes(self._take(first & 0x7F), "big")

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise KeyFormatError(DAMAGED)
        self._at += count
        return piece


@dataclasses.dataclass(frozen=True)
class Armoured:
    """A text between BEGIN and END lines: label ("OPENSSH PRIVATE KEY"), whether encrypted by PEM headers, bytes."""

    label: str
    encrypted: bool
    data: bytes = dataclasses.field(repr=False)


def normalise(content: bytes) -> str:
    """The text as ssh wants it: LF line ends, no blanks at line ends, no blank line around it, one newline at the end.

    OpenSSH refuses its own format with CRLF or without the last newline, and both are what a vault or a template makes.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as exc:
        raise KeyFormatError("is no text, so it is not a private key that ssh reads") from exc
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def dearmour(text: str) -> Armoured:
    """Take the armour off a normalised text; KeyFormatError when it is none or has lost its end."""
    lines = text.strip("\n").split("\n")
    first, last = lines[0], lines[-1]
    if not (first.startswith("-----BEGIN ") and first.endswith("-----")):
        raise KeyFormatError("does not begin with a -----BEGIN … PRIVATE KEY----- line, so it is not a private key")
    label = first[len("-----BEGIN ") : -len("-----")]
    if last != f"-----END {label}-----":
        raise KeyFormatError(f"has no -----END {label}----- line: it {DAMAGED}")
    headers = [line for line in lines[1:-1] if ":" in line]
    body = "".join(line for line in lines[1:-1] if ":" not in line)
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise KeyFormatError(f"holds bytes that are not base64: it {DAMAGED}") from exc
    return Armoured(label, any(line.startswith(("Proc-Type: 4,ENCRYPTED", "DEK-Info:")) for line in headers), data)
