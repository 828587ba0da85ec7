# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the builder's guest shall be beyond the stock image: the guest-side options, checked."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import typing as t
import urllib.parse

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError

_CONFIG_LIMIT = 65536  # bytes: it travels in one argument of a command, and Linux takes no longer one than 128 KiB
_MIB = 1024 * 1024
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_CACHE_SCHEMES = ("http", "https", "s3", "ssh", "ssh-ng")
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f\"'\\`$,;<>{}|^]")
_HOST = re.compile(r"^[A-Za-z0-9.:*_-]+(/[0-9]{1,3})?$")


class GuestConfig(t.NamedTuple):
    """The guest-side options. All at their defaults: the stock image, of which nothing is built for Linux.

    config: text of a NixOS module, empty for none. min_free, max_free: bytes. proxy: URL without credentials, as the Mac
    sees it. no_proxy: hosts that are reached without it. host_only: whether all of it is for the Mac alone.
    """

    config: str = ""
    min_free: int | None = None
    max_free: int | None = None
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    substituters: tuple[str, ...] = ()
    trusted_public_keys: tuple[str, ...] = ()
    time_sync: bool = False
    time_servers: tuple[str, ...] = ()
    grow_file_system: bool = False
    host_only: bool = False

    @property
    def for_mac(self) -> GuestConfig:
        """What of it is for the Mac too, with a guest that stays the stock one."""
        return GuestConfig(
            proxy=self.proxy,
            no_proxy=self.no_proxy,
            substituters=self.substituters,
            trusted_public_keys=self.trusted_public_keys,
            host_only=True,
        )

    def without_override(self) -> GuestConfig:
        """The same for a package that takes no override, where that leaves no option without effect; else unchanged."""
        return self.for_mac if self._replace(host_only=True) == self.for_mac else self

    @property
    def stock(self) -> bool:
        """Whether nothing is asked for that the stock image does not have."""
        return self.host_only or self == GuestConfig()


def guest_from(params: t.Mapping[str, t.Any]) -> GuestConfig:
    """Check the guest-side options of the module; what is missing is at its default. ConfigError names the option."""
    minimum, maximum = (_bytes(name, params.get(name)) for name in ("min_free_mib", "max_free_mib"))
    if minimum is not None and maximum is not None and minimum >= maximum:
        raise ConfigError(
            "max_free_mib: is not above min_free_mib, so a collection of garbage would end before it begins. "
            "Below min_free_mib free space Nix collects until max_free_mib is free."
        )
    guest = GuestConfig(
        config=_config(params.get("config")),
        min_free=minimum,
        max_free=maximum,
        proxy=_proxy(params.get("proxy") or ""),
        no_proxy=tuple(_host("no_proxy", host) for host in params.get("no_proxy") or ()),
        substituters=tuple(_substituter(url) for url in params.get("substituters") or ()),
        trusted_public_keys=tuple(_public_key(key) for key in params.get("trusted_public_keys") or ()),
        time_sync=bool(params.get("time_sync")),
        time_servers=tuple(_host("time_servers", host) for host in params.get("time_servers") or ()),
        grow_file_system=bool(params.get("grow_file_system")),
    )
    return guest.for_mac if params.get("stock_guest") else guest


def loopback(url: str) -> bool:
    """Whether a URL names the machine itself, which is another one on the Mac than in the guest."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _config(value: t.Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, t.Mapping):
        text = _nix_expression.value(value) if value else ""
    elif isinstance(value, str):
        text = value if value.strip() else ""
    else:
        raise ConfigError("config: is neither text nor a mapping. Give a NixOS module, or its attributes.")
    if len(text.encode()) > _CONFIG_LIMIT:
        raise ConfigError(f"config: has more than {_CONFIG_LIMIT} bytes. Put what is large into a flake of your own (package).")
    _nix_expression.string(text)  # refuses what no Nix string can hold
    return text


def _bytes(name: str, value: t.Any) -> int | None:
    if not value:
        return None
    if not 1 <= value <= 64 * 1024 * 1024:
        raise ConfigError(f"{name}: {value} is not between 1 and {64 * 1024 * 1024}.")
    return int(value) * _MIB


def _url(name: str, text: str, schemes: t.Sequence[str]) -> urllib.parse.SplitResult:
    """Check a URL. No message shows it, because it may have a password."""
    if _BAD_IN_URL.search(text):
        raise ConfigError(f"{name}: a URL has a blank, quote or other character that no URL has. Write it percent-encoded.")
    try:
        parts = urllib.parse.urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as exc:
        raise ConfigError(f"{name}: a URL is malformed. Write scheme://host:port.") from exc
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ConfigError(
            f"{name}: a URL has a user name or password in it. It would lie in the Nix stores of Mac and guest, which every "
            "user can read. Leave it out, and let the proxy know its clients by address, or a local proxy log in for them."
        )
    if parts.scheme not in schemes:
        raise ConfigError(f"{name}: a URL begins with none of {', '.join(scheme + '://' for scheme in schemes)}.")
    if not parts.hostname:
        raise ConfigError(f"{name}: a URL names no host. Write scheme://host:port.")
    return parts


def _proxy(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    parts = _url("proxy", text, _PROXY_SCHEMES)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError("proxy: has more than scheme, host and port. Write for example http://proxy.example.com:3128.")
    return text.rstrip("/")


def _substituter(text: str) -> str:
    _url("substituters", text, _CACHE_SCHEMES)
    return text


def _host(name: str, text: str) -> str:
    if not isinstance(text, str) or not _HOST.match(text):
        raise ConfigError(f"{name}: {text!r} is no host name, domain or address.")
    return text


def _public_key(text: str) -> str:
    name, _colon, key = text.partition(":")
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not re.match(r"^[A-Za-z0-9._-]+$", name) or size != 32:
        # A key pair's private half has 64 bytes; showing it would make it worse.
        raise ConfigError(
            "trusted_public_keys: an entry is no public key of a binary cache (name:base64 of 32 bytes), "
            "as nix key convert-secret-to-public prints it."
        )
    return text
