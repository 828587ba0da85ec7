# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""OpenSSH keys as values: read from text, checked half against half, without starting a program.

Private keys are accepted in OpenSSH's own container and in PEM (PKCS#1, SEC1, PKCS#8), as every ssh of a supported
macOS reads them. A key that is returned from here is whole: the public half follows from the secret numbers.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_curves import CURVES, ed25519_public
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import (
    DAMAGED,
    DerReader,
    KeyFormatError,
    WireReader,
    dearmour,
    normalise,
    wire_integer,
    wire_string,
)

ED25519 = "ssh-ed25519"
RSA = "ssh-rsa"
MISMATCH = "contradicts itself: its public part does not follow from its secret part, so it is damaged"
PASSPHRASE = "is protected by a passphrase, which no daemon can type"

_EC_OIDS = {
    bytes.fromhex("2a8648ce3d030107"): "nistp256",
    bytes.fromhex("2b81040022"): "nistp384",
    bytes.fromhex("2b81040023"): "nistp521",
}


class PublicKey(t.NamedTuple):
    """The public half: `blob` is what the base64 of a .pub line decodes to; `bits` the size ssh-keygen -l reports."""

    algorithm: str  # "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", ...
    blob: bytes
    bits: int

    @property
    def type(self) -> str:
        """V(ed25519), V(ecdsa) or V(rsa)."""
        return {ED25519: "ed25519", RSA: "rsa"}.get(self.algorithm, "ecdsa")

    @property
    def fingerprint(self) -> str:
        """As ssh prints it: SHA256: and unpadded base64."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def line(self, comment: str = "") -> str:
        """The .pub line without its newline."""
        return " ".join(filter(None, (self.algorithm, base64.b64encode(self.blob).decode(), comment)))


@dataclasses.dataclass(frozen=True)
class PrivateKey:
    """A usable private key: its public half, the comment it carries, and its normalised text (secret, never shown)."""

    public: PublicKey
    comment: str
    text: str = dataclasses.field(repr=False)


def parse_blob(blob: bytes) -> PublicKey:
    """A public key from its wire form; KeyFormatError when it is none of the accepted types, or malformed."""
    reader = WireReader(blob)
    algorithm = reader.name()
    if algorithm == ED25519:
        bits = len(reader.string()) * 8
        valid = bits == 256
    elif algorithm == RSA:
        reader.integer()
        bits = reader.integer().bit_length()
        valid = bits > 0
    elif algorithm.startswith("ecdsa-sha2-") and algorithm[len("ecdsa-sha2-") :] in CURVES:
        curve = CURVES[algorithm[len("ecdsa-sha2-") :]]
        bits = curve.bits
        name, point = reader.name(), reader.string()
        valid = name == curve.name and len(point) == 1 + 2 * curve.size and point[0] == 4
    else:
        raise KeyFormatError(f"is of type {algorithm[:60]!r}; accepted are ed25519, ecdsa and rsa")
    if not valid or reader.rest():
        raise KeyFormatError(DAMAGED)
    return PublicKey(algorithm, blob, bits)


def parse_public(content: bytes) -> tuple[PublicKey, str]:
    """(key, comment) of a .pub file: one line `type base64 [comment]`; KeyFormatError for anything else."""
    try:
        lines = content.decode("utf-8").strip().split("\n")
    except UnicodeDecodeError as exc:
        raise KeyFormatError("is no text, so it is not a public key") from exc
    words = lines[0].split(None, 2)
    if len(lines) != 1 or len(words) < 2:
        raise KeyFormatError("is not the one line that a public key is")
    try:
        key = parse_blob(base64.b64decode(words[1], validate=True))
    except (binascii.Error, ValueError) as exc:
        raise KeyFormatError(f"holds no base64: it {DAMAGED}") from exc
    if key.algorithm != words[0]:
        raise KeyFormatError(f"says {words[0][:60]!r} but holds {key.algorithm}: it {DAMAGED}")
    return key, clean_comment(words[2] if len(words) == 3 else "")


def clean_comment(text: str) -> str:
    """A comment as it may stand on a .pub line: one line, no blanks around it."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def parse_private(content: bytes) -> PrivateKey:
    """A private key without passphrase whose halves match; KeyFormatError says what keeps it from being one.

    Where the public half can be read all the same (an encrypted OpenSSH key), the error carries it as `blob`.
    """
    text = normalise(content)
    armoured = dearmour(text)
    if armoured.encrypted or armoured.label == "ENCRYPTED PRIVATE KEY":
        raise KeyFormatError(PASSPHRASE)
    if armoured.label == "OPENSSH PRIVATE KEY":
        public, comment = _parse_container(armoured.data)
    else:
        public, comment = _parse_pem(armoured.label, DerReader(armoured.data)), ""
    return PrivateKey(public, comment, text)


def _parse_container(data: bytes) -> tuple[PublicKey, str]:
    """OpenSSH's PROTOCOL.key: magic, cipher, kdf, one public key, one encrypted or plain section."""
    reader = WireReader(data)
    if data[:15] != b"openssh-key-v1\0":
        raise KeyFormatError(DAMAGED)
    reader.take(15)
    cipher = reader.name()
    reader.name(), reader.string()  # kdf and its options
    count, blob, section = reader.number(), reader.string(), reader.string()
    if cipher != "none":
        raise KeyFormatError(PASSPHRASE, blob=blob)
    public = parse_blob(blob)
    if count != 1 or reader.rest():
        raise KeyFormatError(DAMAGED)
    secret = WireReader(section)
    if secret.number() != secret.number():
        raise KeyFormatError(DAMAGED)
    algorithm = secret.name()
    found = {ED25519: _secret_ed25519, RSA: _secret_rsa}.get(algorithm, _secret_ecdsa)(secret, algorithm)
    if found != blob:
        raise KeyFormatError(MISMATCH)
    comment = secret.string().decode("utf-8", "replace")
    padding = secret.rest()
    if padding != bytes(range(1, len(padding) + 1)):
        raise KeyFormatError(DAMAGED)
    return public, clean_comment(comment)


def _secret_ed25519(reader: WireReader, algorithm: str) -> bytes:
    """Blob that follows from the secret fields, for each type; KeyFormatError when they contradict one another."""
    public, secret = reader.string(), reader.string()
    if len(secret) != 64 or secret[32:] != public or ed25519_public(secret[:32]) != public:
        raise KeyFormatError(MISMATCH)
    return wire_string(algorithm.encode()) + wire_string(public)


def _secret_rsa(reader: WireReader, algorithm: str) -> bytes:
    modulus, exponent, private, coefficient, p, q = (reader.integer() for _field in range(6))
    return _rsa_blob(modulus, exponent, private, coefficient, p, q)


def _rsa_blob(modulus: int, exponent: int, private: int, coefficient: int, p: int, q: int) -> bytes:
    matches = (
        min(p, q) > 2
        and p * q == modulus
        and private * exponent % (p - 1) == 1
        and private * exponent % (q - 1) == 1
        and coefficient * q % p == 1
    )
    if not matches:
        raise KeyFormatError(MISMATCH)
    return wire_string(RSA.encode()) + wire_integer(exponent) + wire_integer(modulus)


def _secret_ecdsa(reader: WireReader, algorithm: str) -> bytes:
    name, point, secret = reader.name(), reader.string(), reader.integer()
    if algorithm != f"ecdsa-sha2-{name}" or name not in CURVES or CURVES[name].public(secret) != point:
        raise KeyFormatError(MISMATCH)
    return _ec_blob(name, point)


def _ec_blob(name: str, point: bytes) -> bytes:
    return wire_string(f"ecdsa-sha2-{name}".encode()) + wire_string(name.encode()) + wire_string(point)


def _parse_pem(label: str, reader: DerReader) -> PublicKey:
    body = reader.sequence()
    if label == "RSA PRIVATE KEY":
        return _pem_rsa(body)
    if label == "EC PRIVATE KEY":
        return _pem_ec(body, None)
    if label != "PRIVATE KEY":
        raise KeyFormatError(f"is a {label[:60]!r}, which is not a private key that this collection accepts")
    body.integer()  # version
    algorithm = body.sequence()
    oid = algorithm.element(0x06)[1]
    inner = DerReader(body.octets()).sequence
    if oid == bytes.fromhex("2a864886f70d010101"):
        return _pem_rsa(inner())
    if oid == bytes.fromhex("2a8648ce3d0201"):
        return _pem_ec(inner(), algorithm.element(0x06)[1])
    raise KeyFormatError(
        "is a PKCS#8 key of a type that only the newest OpenSSH reads; convert it with: ssh-keygen -p -N '' -f FILE"
    )


def _pem_rsa(body: DerReader) -> PublicKey:
    _version, modulus, exponent, private, p, q, dp, dq, coefficient = (body.integer() for _field in range(9))
    if min(p, q) <= 2 or (dp, dq) != (private % (p - 1), private % (q - 1)):
        raise KeyFormatError(MISMATCH)
    return parse_blob(_rsa_blob(modulus, exponent, private, coefficient, p, q))


def _pem_ec(body: DerReader, oid: bytes | None) -> PublicKey:
    body.integer()  # version
    secret = int.from_bytes(body.octets(), "big")
    point = None
    while body.more():
        tag, content = body.element()
        if tag == 0xA0:
            oid = DerReader(content).element(0x06)[1]
        elif tag == 0xA1:
            point = DerReader(content).element(0x03)[1][1:]
    name = _EC_OIDS.get(oid or b"")
    if name is None:
        raise KeyFormatError("is on a curve that ssh does not know; accepted are nistp256, nistp384 and nistp521")
    derived = CURVES[name].public(secret)
    if derived is None or point not in (None, derived):
        raise KeyFormatError(MISMATCH)
    return parse_blob(_ec_blob(name, derived))
