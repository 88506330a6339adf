"""Mutating what has a structure: a node of a message, not only its bytes.

A frame whose bytes are flipped at random is nearly never a message any more. Here half of the
mutations decode the input, change one node of it to something odd, and encode it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

ODD: tuple[Any, ...] = (
    *(0, 1, -1, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 17_900_000_000),
    *(0.5, -0.0, 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "\x00\x1b[31m", "\u202e\n", "fe80::1%zone", "10.0.0.300", "a" * 5000),
    *("::ffff:127.0.0.1", "127.0.0.1", "255.255.255.255", "src_dst", "last 100ms"),
    *(None, True, [], {}, [[]], b"", b"\xff" * 40),
)

Mutate = Callable[[bytes, int], bytes]


def structural(
    data: bytes,
    decode: Callable[[bytes], Any],
    encode: Callable[[Any], bytes],
    draw: Random,
) -> bytes:
    """Change one node; raises what decoding raises where there is no structure."""
    root = [decode(data)]
    place, key = draw.choice(list(_places(root)))
    kind = draw.random()
    if kind < 0.6:
        place[key] = draw.choice(ODD)
    elif kind < 0.7 and (key, len(place)) != (0, 1):
        del place[key]
    elif kind < 0.8:
        place[key] = [place[key]] * draw.choice((2, 3, 50))
    else:
        other, where = draw.choice(list(_places(root)))
        place[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(other[where]))
    return encode(root[0])


def _places(node: Any) -> list[tuple[Any, Any]]:
    keys: Any = ()
    if isinstance(node, dict):
        keys = list(node)
    elif isinstance(node, list):
        keys = range(len(node))
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((node, key))
        found += _places(node[key])
    return found[:2000]
