# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""One entry of a machines file: eight fields, written so that every Nix and Lix since 2.4 reads it."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

_URI = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s#;]+$")
_SYSTEM = re.compile(r"^[a-z0-9_]+-[a-z0-9_]+$")
_FEATURE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$")
_PATH = re.compile(r"^/[^\s#;]*$")
_KEY_TYPE = re.compile(r"^[a-z0-9][a-z0-9@.-]*$")
_BASE64 = re.compile(r"^[A-Za-z0-9+/]*=*$")
_HOST = re.compile(r"^ssh(?:-ng)?://(?:(?P<user>[^@/?]*)@)?(?P<host>\[[^\]]*\]|[^:/?]*)(?::(?P<port>[^/?]*))?")


class Entry(t.NamedTuple):
    """A machine. systems, features: lists of words; ssh_key: path or empty; public_host_key: field 8 or empty."""

    uri: str
    systems: tuple[str, ...]
    ssh_key: str
    max_jobs: int
    speed_factor: float
    supported_features: tuple[str, ...]
    mandatory_features: tuple[str, ...]
    public_host_key: str

    @property
    def line(self) -> str:
        """The entry as text, all eight fields, without a line end."""
        speed = int(self.speed_factor) if float(self.speed_factor).is_integer() else self.speed_factor
        return " ".join(
            [
                self.uri,
                ",".join(self.systems) or "-",
                self.ssh_key or "-",
                str(self.max_jobs),
                str(speed),
                ",".join(self.supported_features) or "-",
                ",".join(self.mandatory_features) or "-",
                self.public_host_key or "-",
            ]
        )

    @property
    def fractional_speed(self) -> bool:
        """Whether the speed factor is one that Nix before 2.20 cannot read."""
        return not float(self.speed_factor).is_integer()


def parse_entry(params: t.Mapping[str, t.Any]) -> Entry:
    """Check the options of nix_machine. ConfigError names the option and what it must be."""
    return Entry(
        uri=check_uri(params["uri"]),
        systems=_words("systems", params.get("systems"), _SYSTEM, "a system like aarch64-linux"),
        ssh_key=_key_path(params.get("ssh_key")),
        max_jobs=_max_jobs(params.get("max_jobs")),
        speed_factor=_speed(params.get("speed_factor")),
        supported_features=_words("supported_features", params.get("supported_features"), _FEATURE, "a word like big-parallel"),
        mandatory_features=_words("mandatory_features", params.get("mandatory_features"), _FEATURE, "a word like kvm"),
        public_host_key=host_key_field(params.get("public_host_key")),
    )


def check_uri(uri: str) -> str:
    """The URI, if a machines file can hold it. ConfigError else."""
    if not _URI.match(uri):
        raise ConfigError(
            f"uri: {uri!r} must be a store URI with scheme, like ssh-ng://builder@linux-builder, without blanks, # and ;.",
            uri=uri,
        )
    return uri


def same_uri(one: str, other: str) -> bool:
    """Whether two URIs mean one machine to Nix, which puts ssh:// before a bare host."""
    return _full(one) == _full(other)


def _full(uri: str) -> str:
    return uri if "://" in uri or "/" in uri else f"ssh://{uri}"


def host_of(uri: str) -> tuple[str, str, str]:
    """(user, host, port) of an ssh URI, each empty where it has none."""
    match = _HOST.match(uri)
    return (match["user"] or "", match["host"] or "", match["port"] or "") if match else ("", "", "")


def _words(option: str, value: t.Any, pattern: t.Pattern[str], what: str) -> tuple[str, ...]:
    words = [str(word) for word in (value or [])]
    wrong = [word for word in words if not pattern.match(word)]
    if wrong:
        raise ConfigError(f"{option}: {wrong[0]!r} must be {what}.")
    return tuple(dict.fromkeys(words))


def _key_path(value: t.Any) -> str:
    if value in (None, "", "-"):
        return ""
    if not _PATH.match(str(value)):
        raise ConfigError(
            f"ssh_key: {value!r} must be an absolute path without blanks, `#` and `;` (the daemon has no home directory)."
        )
    return str(value)


def _max_jobs(value: t.Any) -> int:
    number = 1 if value is None else int(value)
    if not 0 <= number < 2**32:
        raise ConfigError(f"max_jobs: {number} must be 0 (never used) or more.")
    return number


def _speed(value: t.Any) -> float:
    number = 1.0 if value is None else float(value)
    if not 0 < number < 1e6:
        raise ConfigError(f"speed_factor: {value} must be more than 0.")
    return number


def host_key_field(value: t.Any) -> str:
    """Field 8 from what the user gave: that field itself, or an OpenSSH public key line. Empty for none.

    ConfigError unless an OpenSSH public key (`type base64 [comment]`, one line) is inside.
    """
    text = str(value or "").strip()
    if text in ("", "-"):
        return ""
    if " " in text:
        _check_key(text)
        return base64.b64encode(f"{text}\n".encode()).decode("ascii")
    try:
        inside = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as exc:
        raise ConfigError("public_host_key: is neither base64 nor an OpenSSH public key line.") from exc
    _check_key(inside)
    return text


def _check_key(text: str) -> None:
    line = text[:-1] if text.endswith("\n") else text
    words = line.split(" ")
    if len(words) < 2 or any(sign in line for sign in "\n\r\t\0"):
        raise ConfigError("public_host_key: must hold one line `type base64 [comment]`, as in /etc/ssh/ssh_host_ed25519_key.pub.")
    try:
        blob = base64.b64decode(words[1], validate=True)
        (length,) = struct.unpack(">I", blob[:4])
        inner = blob[4 : 4 + length].decode("ascii")
    except (binascii.Error, ValueError, struct.error) as exc:
        raise ConfigError("public_host_key: the key in it is no base64 of an OpenSSH public key.") from exc
    if not _KEY_TYPE.match(words[0]) or inner != words[0] or len(blob) <= 4 + length:
        raise ConfigError(f"public_host_key: says it is {words[0]!r}, but the key in it is not. Copy the .pub file again.")


def complaint_about(words: t.Sequence[str]) -> str | None:
    """Why Nix rejects the fields of an entry that is there (which breaks every build), None when it does not."""
    fields = [*words, *["-"] * 8][:8]
    checks = (
        (fields[3] == "-" or (fields[3].isdigit() and int(fields[3]) < 2**32), "field 4 (max jobs) is no whole number"),
        (fields[4] == "-" or _is_speed(fields[4]), "field 5 (speed factor) is no number of 0 or more"),
        (fields[7] == "-" or _BASE64.match(fields[7]) is not None, "field 8 (host key) is no base64"),
    )
    return next((words_ for good, words_ in checks if not good), None)


def _is_speed(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
