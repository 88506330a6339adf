"""What a web page of somebody else may make a browser send is refused here.

The one idea: a page cannot forge two things. To read what an agent says it must be of the agent's
own origin, which a stranger's name can be made to look like (DNS rebinding) but an address or this
host's own name cannot: so `Host` is checked. And a browser says which page a request is from
(`Origin`, Fetch Metadata): so what changes or starts something is taken from the agent's own pages,
and from programs, which say nothing of the kind.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.types import HTTPScope

_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]@/\s]*)(?::[0-9]{0,5})?")
_SITES = {b"origin": "Origin", b"sec-fetch-site": "Sec-Fetch-Site"}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_STARTS = "/stream"
"""What a path that starts something, though by GET, ends with; routing passes over slashes after
it."""
_OF_ITSELF = frozenset({"same-origin", "none"})
_LOCAL = "localhost"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken."""

    status: int
    cause: str
    detail: str
    field: str
    value: str | None
    allowed: str


def refusal(scope: HTTPScope, names: Iterable[str]) -> Refusal | None:
    """Tell why a request may not be what it says, None where it may; `names` are of this host."""
    hosts: list[str] = []
    sites: list[tuple[str, str]] = []
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value.decode("latin-1"))
        elif name in _SITES:
            sites.append((_SITES[name], value.decode("latin-1")))
    return _bad_host(hosts, scope["http_version"], names) or _bad_site(scope, sites, hosts)


def _bad_host(hosts: list[str], version: str, names: Iterable[str]) -> Refusal | None:
    if len(hosts) != 1:
        if not hosts and version == "1.0":
            return None  # it had none then, and no browser speaks it
        allowed = "once, as in RFC 9112"
        return Refusal(400, "host", f"header 'Host' is needed {allowed}", "Host", None, allowed)
    if is_of_this_host(hosts[0], names):
        return None
    allowed = "an address, localhost, this host's name, or one of the setting 'http_names'"
    detail = f"header 'Host' is {hosts[0]!r:.120}; allowed: {allowed}"
    return Refusal(421, "host", detail, "Host", hosts[0], allowed)


def is_of_this_host(authority: str, names: Iterable[str]) -> bool:
    """Tell whether an authority (RFC 3986 §3.2) is one of this host, with whichever port.

    No name is looked up.
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return False
    host = found[1].lower().removesuffix(".")
    if host == _LOCAL or _is_address(host):
        return True
    own = socket.gethostname().lower().removesuffix(".")
    return bool(host) and host in {own, own.partition(".")[0], *map(str.lower, names)}


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1].partition("%")[0])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _bad_site(
    scope: HTTPScope, sites: Iterable[tuple[str, str]], hosts: list[str]
) -> Refusal | None:
    if scope["method"] in _SAFE and not scope["path"].rstrip("/").endswith(_STARTS):
        return None
    allowed = "this agent's own pages, and programs, which send no such header"
    for name, text in sites:
        if not (_is_own(text, hosts) if name == "Origin" else text in _OF_ITSELF):
            detail = f"header '{name}' is {text!r:.120}; allowed: {allowed}"
            return Refusal(403, "origin", detail, name, text, allowed)
    return None


def _is_own(origin: str, hosts: list[str]) -> bool:
    """Tell whether an origin is that of the page that was asked for; `null` never is."""
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and [parts.netloc.lower()] == [
            host.lower() for host in hosts
        ]
    except ValueError:
        return False
