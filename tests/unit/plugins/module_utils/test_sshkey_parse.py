# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading keys: what is accepted, what is refused and in which words, and that no secret shows."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import (
    clean_comment,
    parse_blob,
    parse_private,
    parse_public,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_curves import CURVES, ed25519_public
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import (
    DerReader,
    KeyFormatError,
    WireReader,
    normalise,
    wire_integer,
    wire_string,
)
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys


def refusal(text: str | bytes) -> KeyFormatError:
    with pytest.raises(KeyFormatError) as caught:
        parse_private(text.encode() if isinstance(text, str) else text)
    return caught.value


@pytest.mark.parametrize(
    ("seed", "public"),
    [  # RFC 8032 §7.1, tests 1 to 3
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        ),
    ],
)
def test_ed25519_public_half_is_that_of_the_rfc(seed: str, public: str) -> None:
    assert ed25519_public(bytes.fromhex(seed)).hex() == public


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [  # RFC 6979 A.2.5 to A.2.7
        (
            "nistp256",
            "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
            "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
        ),
        (
            "nistp384",
            "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
            "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720",
        ),
        (
            "nistp521",
            "01894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD3711"
            "23D46E45DB6B5D5370A7F20FB633155D38FFA16D2BD761DCAC474B9A2F5023A4",
            "00493101C962CD4D2FDDF782285E64584139C2F91B47F87FF82354D6630F746A28A0"
            "DB25741B5B34A828008B22ACC23F924FAAFBD4D33F81EA66956DFEAA2BFDFCF5",
        ),
    ],
)
def test_ecdsa_public_half_is_that_of_the_rfc(name: str, x: str, y: str) -> None:
    assert keys.ec_point(name).hex() == f"04{x}{y}".lower()


@pytest.mark.parametrize("name", sorted(CURVES))
def test_curve_has_the_order_that_it_claims(name: str) -> None:
    curve = CURVES[name]
    last = curve.public(curve.order - 1)
    assert last is not None
    assert int.from_bytes(last[1 : 1 + curve.size], "big") == curve.x  # minus the base point
    assert int.from_bytes(last[1 + curve.size :], "big") == curve.prime - curve.y
    assert curve.public(0) is None
    assert curve.public(curve.order) is None


@pytest.mark.parametrize(
    ("text", "blob", "key_type", "bits", "comment"),
    [
        (keys.ed25519(7), keys.ed25519_blob(7), "ed25519", 256, "builder@localhost"),
        (keys.ecdsa("nistp256"), keys.ec_blob("nistp256"), "ecdsa", 256, "ec@host"),
        (keys.ecdsa("nistp384"), keys.ec_blob("nistp384"), "ecdsa", 384, "ec@host"),
        (keys.ecdsa("nistp521"), keys.ec_blob("nistp521"), "ecdsa", 521, "ec@host"),
        (keys.rsa(3072), keys.rsa_blob(3072), "rsa", 3072, "rsa@host"),
        (keys.rsa(2048), keys.rsa_blob(2048), "rsa", 2048, "rsa@host"),
        (keys.armour("RSA PRIVATE KEY", keys.rsa_der()), keys.rsa_blob(), "rsa", 3072, ""),
        (keys.armour("EC PRIVATE KEY", keys.ec_der("nistp384")), keys.ec_blob("nistp384"), "ecdsa", 384, ""),
        (keys.pkcs8("2a864886f70d010101", keys.rsa_der()), keys.rsa_blob(), "rsa", 3072, ""),
        (
            keys.pkcs8("2a8648ce3d0201", keys.ec_der("nistp521", oid=False), keys.der(6, bytes.fromhex(keys.EC_OID["nistp521"]))),
            keys.ec_blob("nistp521"),
            "ecdsa",
            521,
            "",
        ),
    ],
)
def test_private_key_gives_its_public_half(text: str, blob: bytes, key_type: str, bits: int, comment: str) -> None:
    key = parse_private(text.encode())
    assert (key.public.blob, key.public.type, key.public.bits, key.comment) == (blob, key_type, bits, comment)
    assert key.text == text
    assert parse_public(key.public.line(comment).encode()) == (key.public, comment)


def test_fingerprint_is_that_of_the_published_builder_key() -> None:
    line = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb root@nixos\n"
    key, comment = parse_public(line)
    assert key.fingerprint == "SHA256:73nCAX7tESRWJ4ZN8RkOlqB+0bgxKVmbNRUcFPbXMkE"
    assert key.line(comment).encode() + b"\n" == line


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\n\n" + text + "\n\n",
        lambda text: text.replace("\n", "  \n"),
    ],
)
def test_form_that_ssh_refuses_is_put_right(spoil: t.Callable[[str], str]) -> None:
    text = keys.ed25519()
    assert parse_private(spoil(text).encode()).text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with"),
        ("hello", "does not begin with"),
        (keys.ed25519_blob(1), "is no text"),
        (keys.ed25519().replace("END OPENSSH", "END OTHER"), "truncated or damaged"),
        (keys.ed25519() + "trailing", "truncated or damaged"),
        (keys.ed25519()[:200], "truncated or damaged"),
        (keys.ed25519().replace("AAAA", "!AAA"), "not base64"),
        (keys.ed25519(magic=b"openssh-key-v9\0"), "truncated or damaged"),
        (keys.ed25519(count=2), "truncated or damaged"),
        (keys.ed25519(checks=b"\0\0\0\1\0\0\0\2"), "truncated or damaged"),
        (keys.ed25519(padding=b"\7\7"), "truncated or damaged"),
        (keys.ed25519(trailer=b"x"), "truncated or damaged"),
        (keys.ed25519(seed=b"\1" * 32), "contradicts itself"),
        (keys.ed25519(blob=keys.ed25519_blob(2)), "contradicts itself"),
        (keys.ed25519(1, public=ed25519_public(b"\0" * 32)), "contradicts itself"),
        (keys.ecdsa(secret=5), "contradicts itself"),
        (keys.ecdsa(secret=0), "contradicts itself"),
        (keys.rsa(d=3), "contradicts itself"),
        (keys.rsa(iqmp=3), "contradicts itself"),
        (keys.rsa(p=1), "contradicts itself"),
        (keys.armour("RSA PRIVATE KEY", keys.rsa_der(dp=3)), "contradicts itself"),
        (keys.armour("EC PRIVATE KEY", keys.ec_der(point=keys.ec_point("nistp256")[:-1] + b"x")), "contradicts itself"),
        (keys.encrypted(), "passphrase"),
        (keys.armour("ENCRYPTED PRIVATE KEY", b"x"), "passphrase"),
        (keys.armour("RSA PRIVATE KEY", b"x", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00"), "passphrase"),
        (keys.armour("DSA PRIVATE KEY", keys.rsa_der()), "not a private key that this collection accepts"),
        (keys.armour("RSA PRIVATE KEY", keys.rsa_der()[:100]), "truncated or damaged"),
        (keys.pkcs8("2b6570", keys.der(4, b"\1" * 32), b""), "ssh-keygen -p"),
        (keys.container(wire_string(b"ssh-dss"), wire_string(b"ssh-dss")), "accepted are ed25519, ecdsa and rsa"),
    ],
)
def test_unusable_private_key_is_refused_in_plain_words(text: str | bytes, words: str) -> None:
    assert words in str(refusal(text))


def test_encrypted_key_still_tells_whose_it_is() -> None:
    blob = refusal(keys.encrypted(9)).blob
    assert blob == keys.ed25519_blob(9)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "one line"),
        (b"ssh-ed25519\n", "one line"),
        (b"ssh-ed25519 AAAA a\nssh-ed25519 AAAA b\n", "one line"),
        (b"\xff\xfe", "no text"),
        (b"ssh-ed25519 AAAA* x", "no base64"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaq x", "damaged"),
        (b"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb x", "says 'ssh-rsa'"),
    ],
)
def test_unusable_public_key_is_refused_in_plain_words(line: bytes, words: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        parse_public(line)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "blob",
    [
        wire_string(b"ssh-ed25519") + wire_string(b"\0" * 31),
        keys.ed25519_blob(1) + b"x",
        wire_string(b"ssh-rsa") + wire_string(b"\x80") + wire_string(b"\1"),
        wire_string(b"ssh-rsa") + wire_integer(3) + wire_integer(0),
        wire_string(b"ecdsa-sha2-nistp256") + wire_string(b"nistp384") + wire_string(b"\4" + b"\0" * 64),
        wire_string(b"ecdsa-sha2-nistp256") + wire_string(b"nistp256") + wire_string(b"\2" + b"\0" * 64),
        wire_string(b"\xff\n"),
        b"\0\0\0",
    ],
)
def test_malformed_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(KeyFormatError):
        parse_blob(blob)


def test_repr_of_a_key_shows_no_secret() -> None:
    text = keys.ed25519()
    shown = repr(parse_private(text.encode()))
    assert not any(line in shown for line in text.splitlines())


def test_comment_is_one_line() -> None:
    assert clean_comment(" a\nb\t") == "a b"
    assert parse_private(keys.ed25519(comment="evil\nssh-rsa AAAA").encode()).comment == "evil ssh-rsa AAAA"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_parsers_raise_anything_else(data: bytes) -> None:
    for parse in (
        parse_private,
        parse_public,
        parse_blob,
        lambda raw: parse_private(keys.armour("OPENSSH PRIVATE KEY", b"openssh-key-v1\0" + raw).encode()),
        lambda raw: parse_private(keys.armour("RSA PRIVATE KEY", raw).encode()),
        lambda raw: parse_private(keys.armour("PRIVATE KEY", raw).encode()),
        lambda raw: DerReader(raw).sequence().integer(),
        lambda raw: WireReader(raw).integer(),
    ):
        with contextlib.suppress(LinuxBuilderError):
            parse(data)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([keys.ed25519(), keys.ecdsa()]), st.integers(min_value=0), st.integers(1, 255))
def test_one_changed_byte_never_passes_as_another_key(text: str, position: int, flip: int) -> None:
    data = bytearray(text.encode())
    data[position % len(data)] ^= flip
    try:
        key = parse_private(bytes(data))
    except KeyFormatError:
        return
    assert key.public == parse_private(text.encode()).public


@given(st.integers(min_value=0, max_value=2**600))
def test_integers_survive_the_wire(value: int) -> None:
    assert WireReader(wire_integer(value)).integer() == value


def test_normalise_leaves_what_is_right() -> None:
    assert normalise(keys.ed25519().encode()) == keys.ed25519()
