# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files for the tests, put together from public test numbers, so that no private key lies in the repository.

Ed25519 seeds are counters; the ECDSA number is that of RFC 6979 A.2.5. tests/real holds these texts against ssh-keygen.
"""

from __future__ import annotations

import base64
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import RSA
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_curves import CURVES, ed25519_public
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import wire_integer, wire_string

EC_SECRET = {
    "nistp256": 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721,
    "nistp384": 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5,
    "nistp521": int(
        "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA8"
        "96EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538",
        16,
    ),
}
EC_OID = {"nistp256": "2a8648ce3d030107", "nistp384": "2b81040022", "nistp521": "2b81040023"}
_P3072 = """
C368DAEF713DBAE5D154161BDA1C3DF5EDD82F5F266AF75D8D4D4B097A5FE93ADCE98645AB6883D6151BA30FC9F21E45628A8D20E43D75BB4F5BA448
F32589E7AEE5D8DB7982B611D5B811C39B2EF6D1C3A83EA9161CD23F84D09D8769A984B8B970A7DE6AA9E6D5499F6C04A012694C7558CE136146ABBB
0597600A913C06E29E858D57983A7A152307A29B0831E506138A235493CBD585060BABCB75CD5270868F3E9C93DC4164C3B7BFFC73BDEFC228D2D8E7
E7B26F43F3F352A8118EA647
"""
_Q3072 = """
DA7ADA559A775A0D2B14CB1DBD49AC0DDA15BEC58A24BFFCC72BD6638E52D19AFEC39A6F061A21EF4FF809B14D0A10022019A4B2A4775C76556D92E0
8DBB1A91B8D4D462C3FA552DFFC0BBDFD926DF558D9596201347C3998A6D4F36AAA4AA0FCEA48C4C94AF607289F6279B50704E3D38A9EBA9438E4BB9
4302A54CFD9DF0DCB8A658DDEC3338796FFB198226243F0055D375554097BCE92CA0193FD90868EF78001C1C677B1190E6828A3BD50BC6CE46765285
BCB96CC3CA16B69A7392B101
"""
_P2048 = """
DF8F46D5A2D7F1428B932F819F1335F439C9AD22612D371FFE4D436956D2FCC8842490C6D6A5B7927F1527F34ED325F40BC5387F2AE708D4675CEE5A
2634297D9F94C37DBAC8F6BC537F93ABDFC8E35FEF9E44E465F6D5713F324EA979860DDCDCCE0507311B0BD2DB9313772F8AA6C5BA04E236EF83D719
4B1AFEA74125FBD3
"""
_Q2048 = """
D37E15E9140EF3E1C562A55CCF0168E42BD8EC97C1EE9005837B18504624C2AB2618256EC2B0F6A6EE1E935A3E25F709748455BA7166156BDE46197D
2825DAE0847317B2FC9F0A19CE02A9A91240DB48FA4503326804BF6A059DEABD125FBB256578B64BB5CB93D2AE8E25248F2DFB9A06E9885791E39E03
2BA396E61350480F
"""
PRIMES = {
    bits: tuple(int("".join(one.split()), 16) for one in pair)
    for bits, pair in ((3072, (_P3072, _Q3072)), (2048, (_P2048, _Q2048)))
}
EXPONENT = 65537


def armour(label: str, data: bytes, headers: str = "") -> str:
    """BEGIN and END lines around base64 of 70 columns, as ssh-keygen writes it."""
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join([f"-----BEGIN {label}-----", *([headers, ""] if headers else []), *lines, f"-----END {label}-----", ""])


def container(blob: bytes, secret: bytes, comment: str = "", **changes: t.Any) -> str:
    """An openssh-key-v1 text; `changes` spoil one field: cipher, count, checks, padding, magic, trailer."""
    section = changes.get("checks", b"\x12\x34\x56\x78" * 2) + secret + wire_string(comment.encode())
    padding = bytes(range(1, 1 + -len(section) % 8))
    section += changes.get("padding", padding)
    data = changes.get("magic", b"openssh-key-v1\0")
    data += wire_string(changes.get("cipher", b"none")) + wire_string(b"none") + wire_string(b"")
    data += changes.get("count", 1).to_bytes(4, "big") + wire_string(blob) + wire_string(section) + changes.get("trailer", b"")
    return armour("OPENSSH PRIVATE KEY", data)


def ed25519_blob(number: int) -> bytes:
    """The public half of the key whose seed is a counter."""
    return wire_string(b"ssh-ed25519") + wire_string(ed25519_public(number.to_bytes(32, "big")))


def ed25519(number: int = 1, comment: str = "builder@localhost", **changes: t.Any) -> str:
    """An Ed25519 key; `seed` and `public` as changes make the halves contradict."""
    seed = changes.pop("seed", number.to_bytes(32, "big"))
    public = changes.pop("public", ed25519_public(number.to_bytes(32, "big")))
    secret = wire_string(b"ssh-ed25519") + wire_string(public) + wire_string(seed + public)
    return container(changes.pop("blob", ed25519_blob(number)), secret, comment, **changes)


def encrypted(number: int = 1) -> str:
    """What ssh-keygen writes with a passphrase, as far as anybody can read it without."""
    return ed25519(number, cipher=b"aes256-ctr")


def ec_point(name: str) -> bytes:
    """The public point of the RFC's number."""
    point = CURVES[name].public(EC_SECRET[name])
    if point is None:
        raise ValueError(name)
    return point


def ec_blob(name: str) -> bytes:
    """The public half of the ECDSA key."""
    return wire_string(f"ecdsa-sha2-{name}".encode()) + wire_string(name.encode()) + wire_string(ec_point(name))


def ecdsa(name: str = "nistp256", secret: int | None = None) -> str:
    """An ECDSA key in OpenSSH's container."""
    fields = wire_string(f"ecdsa-sha2-{name}".encode()) + wire_string(name.encode()) + wire_string(ec_point(name))
    return container(ec_blob(name), fields + wire_integer(EC_SECRET[name] if secret is None else secret), "ec@host")


def rsa_numbers(bits: int) -> tuple[int, int, int, int, int]:
    """n, d, iqmp, p, q."""
    p, q = PRIMES[bits]
    return p * q, pow(EXPONENT, -1, (p - 1) * (q - 1)), pow(q, -1, p), p, q


def rsa_blob(bits: int = 3072) -> bytes:
    """The public half of the RSA key."""
    return wire_string(RSA.encode()) + wire_integer(EXPONENT) + wire_integer(rsa_numbers(bits)[0])


def rsa(bits: int = 3072, **changes: int) -> str:
    """An RSA key in OpenSSH's container; `d`, `iqmp` or `p` as a change spoils it."""
    n, d, iqmp, p, q = rsa_numbers(bits)
    numbers = (n, EXPONENT, changes.get("d", d), changes.get("iqmp", iqmp), changes.get("p", p), q)
    return container(rsa_blob(bits), wire_string(RSA.encode()) + b"".join(wire_integer(one) for one in numbers), "rsa@host")


def der(tag: int, content: bytes) -> bytes:
    """One DER element."""
    length = len(content)
    size = (length.bit_length() + 7) // 8
    header = bytes([length]) if length < 128 else bytes([0x80 | size]) + length.to_bytes(size, "big")
    return bytes([tag]) + header + content


def der_integer(value: int) -> bytes:
    """An INTEGER."""
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa_der(bits: int = 3072, **changes: int) -> bytes:
    """RSAPrivateKey of PKCS#1; `dp` as a change spoils it."""
    n, d, iqmp, p, q = rsa_numbers(bits)
    numbers = (0, n, EXPONENT, d, p, q, changes.get("dp", d % (p - 1)), d % (q - 1), iqmp)
    return der(0x30, b"".join(der_integer(one) for one in numbers))


def ec_der(name: str = "nistp256", *, oid: bool = True, point: bytes | None = None) -> bytes:
    """ECPrivateKey of SEC1."""
    body = der_integer(1) + der(4, EC_SECRET[name].to_bytes(CURVES[name].size, "big"))
    if oid:
        body += der(0xA0, der(6, bytes.fromhex(EC_OID[name])))
    return der(0x30, body + der(0xA1, der(3, b"\0" + (ec_point(name) if point is None else point))))


def pkcs8(oid: str, inner: bytes, parameters: bytes = b"\x05\x00") -> str:
    """PrivateKeyInfo of PKCS#8."""
    body = der_integer(0) + der(0x30, der(6, bytes.fromhex(oid)) + parameters) + der(4, inner)
    return armour("PRIVATE KEY", der(0x30, body))


# The options of ssh_host_key as a play that names none of them gives them; path excepted.
PARAMS: dict[str, t.Any] = {
    "state": "present",
    "type": None,
    "size": None,
    "comment": None,
    "owner": None,
    "group": None,
    "mode": "0600",
    "private_key": None,
    "regenerate": "if_invalid",
    "backup": None,
    "remove_backups": False,
    "host": None,
}
