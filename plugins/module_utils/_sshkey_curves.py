# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The public half of a key from its secret: Ed25519 (RFC 8032) and the NIST curves that OpenSSH knows.

Only to prove that the two halves of a key belong together, without starting a program and without a package that
Apple's Python lacks. It is not constant-time, which matters only where others can time it: never for a local root process.
"""

from __future__ import annotations

import hashlib
import typing as t

_Point = tuple[int, int, int, int]  # extended coordinates x, y, z, x*y/z

_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P
_BASE_Y = 4 * pow(5, _P - 2, _P) % _P
_BASE_X = 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A


def _add(a: _Point, b: _Point) -> _Point:
    x = (a[1] - a[0]) * (b[1] - b[0]) % _P
    y = (a[1] + a[0]) * (b[1] + b[0]) % _P
    u = 2 * a[3] * b[3] * _D % _P
    v = 2 * a[2] * b[2] % _P
    e, f, g, h = y - x, v - u, v + u, y + x
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def ed25519_public(seed: bytes) -> bytes:
    """The 32 bytes of the public key for a 32 byte secret seed."""
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = (scalar & ((1 << 254) - 8)) | (1 << 254)
    point: _Point = (0, 1, 1, 0)
    power: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)
    while scalar:
        if scalar & 1:
            point = _add(point, power)
        power = _add(power, power)
        scalar >>= 1
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


class Curve(t.NamedTuple):
    """y^2 = x^3 - 3x + b over `prime`; a point as OpenSSH writes it is 1 + 2 * `size` bytes."""

    name: str  # OpenSSH's
    bits: int
    prime: int
    order: int
    x: int
    y: int

    @property
    def size(self) -> int:
        """Bytes of one coordinate."""
        return (self.bits + 7) // 8

    def public(self, secret: int) -> bytes | None:
        """The uncompressed point of a secret number; None when the number is out of range."""
        if not 0 < secret < self.order:
            return None
        point = (1, 1, 0)
        for bit in bin(secret)[2:]:
            point = self._double(point)
            if bit == "1":
                point = self._add_base(point)
        x, y, z = point
        inverse = pow(z, self.prime - 2, self.prime)
        square = inverse * inverse % self.prime
        return (
            b"\x04"
            + (x * square % self.prime).to_bytes(self.size, "big")
            + (y * square * inverse % self.prime).to_bytes(self.size, "big")
        )

    def _double(self, point: tuple[int, int, int]) -> tuple[int, int, int]:
        x, y, z = point
        p = self.prime
        if z == 0:
            return point
        delta, gamma = z * z % p, y * y % p
        beta = x * gamma % p
        alpha = 3 * (x - delta) * (x + delta) % p
        new_x = (alpha * alpha - 8 * beta) % p
        return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % p, 2 * y * z % p

    def _add_base(self, point: tuple[int, int, int]) -> tuple[int, int, int]:
        # Double-and-add from the top with a secret below the order never meets the base point or its inverse here.
        x, y, z = point
        p = self.prime
        if z == 0:
            return self.x, self.y, 1
        square = z * z % p
        h = (self.x * square - x) % p
        r = (self.y * square * z - y) % p
        cube = h * h * h % p
        middle = x * h * h % p
        new_x = (r * r - cube - 2 * middle) % p
        return new_x, (r * (middle - new_x) - y * cube) % p, z * h % p


CURVES = {
    curve.name: curve
    for curve in (
        Curve(
            "nistp256",
            256,
            0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
            0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        ),
        Curve(
            "nistp384",
            384,
            2**384 - 2**128 - 2**96 + 2**32 - 1,
            0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
        Curve(
            "nistp521",
            521,
            2**521 - 1,
            0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
            0x00C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66,
            0x011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E662C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650,
        ),
    )
}
