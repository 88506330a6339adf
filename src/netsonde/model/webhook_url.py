"""URLs that events are sent to, read once and strictly, so that nothing later guesses at them.

The one idea: what a URL's host is must be plain to see. It is an address as people write it, or a
name in ASCII; `2130706433` and `127.1`, which resolvers take for addresses, are neither.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from netsonde.model.errors import BadField

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^/?#@\\]*)@)?"
    r"(?P<host>\[[^\]]*\]|[^:/?#@\[\]\\]*)(?::(?P<port>[0-9]{0,5}))?(?P<path>[/?][^#]*)?(?:#.*)?"
)
_USER = re.compile(r"^(https?://)[^/?#]*@")
_NAME = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}\.?")
_NUMBER = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)\.?")
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_IN_PATHS = "".join(map(chr, range(0x21, 0x7F)))
"""What a path may hold as it stands; the rest is percent-encoded (RFC 3986 §2.1)."""
_LONGEST_NAME = 253
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a URL leads."""

    tls: bool
    host: str
    """A name, or an address without brackets and zone."""
    address: IPAddress | None
    """The host, where it is an address."""
    zone: str
    """The interface of a link-local address, or nothing."""
    port: int
    path: str
    """Path and query, in printable ASCII."""
    user: str
    """User and password, joined by a colon, percent-encoded; or nothing."""

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == (443 if self.tls else 80) else f"{shown}:{self.port}"


def parse(text: str, field: str = "url") -> Target:
    """Read a URL; raises BadField naming `field`, and never shows a password."""
    found = _URL.fullmatch(text)
    if found is None or _UNPRINTABLE.search(text) or not found["host"]:
        raise _bad(field, text, "an http or https URL with a host, such as http://10.0.0.1:9000/a")
    port = int(found["port"] or _DEFAULT_PORT[found["scheme"]])
    if not 1 <= port <= 65535:
        raise _bad(field, text, "a URL with a port from 1 to 65535")
    host, zone = found["host"].lower(), ""
    address = _literal(host)
    if host.startswith("["):
        zone = _zone(found["host"])
        address = _bracketed(field, text, host, zone)
        host = str(address)
    elif address is None:
        _check_name(field, text, host)
    path = found["path"] or "/"
    return Target(
        tls=found["scheme"] == "https",
        host=host,
        address=address,
        zone=zone,
        port=port,
        path=quote(path if path[0] == "/" else "/" + path, safe=_IN_PATHS),
        user=found["user"] or "",
    )


def masked(text: str) -> str:
    """Give a URL for listing: with `***` for user and password."""
    return _USER.sub(r"\1***@", text)


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def _zone(bracketed: str) -> str:
    """Give the zone of `[fe80::1%25eth0]` (RFC 6874); a bare `%` is taken as well."""
    _, _, zone = bracketed[1:-1].partition("%")
    return zone[2:] if zone.startswith("25") and len(zone) > 2 else zone


def _bracketed(field: str, text: str, host: str, zone: str) -> IPAddress:
    bare, mark, _ = host[1:-1].partition("%")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise _bad(field, text, "an IPv6 address in brackets, such as [2001:db8::1]") from None
    if mark and not (address.is_link_local and _ZONE.fullmatch(zone)):
        allowed = "a zone of 1 to 15 of a-z, A-Z, 0-9, '.', '_', '-' behind a link-local address"
        raise _bad(field, text, allowed + ", such as [fe80::1%25eth0]")
    return address


def _check_name(field: str, text: str, host: str) -> None:
    if not host.isascii():
        raise _bad(field, text, "a host name in ASCII; other letters are written as xn--...")
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise _bad(field, text, f"a host name of at most {_LONGEST_NAME} characters (RFC 1123)")
    if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        raise _bad(field, text, "an IPv4 address as four numbers, such as 10.0.0.1, or a name")


def _bad(field: str, text: str, allowed: str) -> BadField:
    return BadField(field, masked(text), allowed)
