"""Sizes of sets that were counted one after the other, and a sample of their members.

The one idea: the same member may be in several sets, so the union of a key's sets is at least as
large as the largest and at most as their sum; and a member's hash decides whether it is in the
sample, so one that comes again is drawn again, and not twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsonde.model.key import KEY_BYTES

Rows = NDArray[np.uint8]
"""Shape (n, KEY_BYTES): masked keys, or pairs of a key and an other."""
Places = NDArray[np.intp]
Sizes = NDArray[np.int64]

_NAME = np.dtype(f"S{KEY_BYTES}")
_ODD = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
    ],
    np.uint64,
)


def hashed(members: Rows, seed: int) -> NDArray[np.uint64]:
    """Hash rows, keyed by a seed."""
    words = np.ascontiguousarray(members).view("<u8").reshape(-1, KEY_BYTES // 8)
    mixed: NDArray[np.uint64] = np.full(len(words), seed % (1 << 64), np.uint64)
    for word, odd in zip(words.T, _ODD, strict=True):
        mixed = (mixed ^ word) * odd
        mixed ^= mixed >> np.uint64(29)
    mixed *= _ODD[0]
    return mixed


def ascending(values: NDArray[Any]) -> NDArray[Any]:
    """Give the different values in order.

    Asked for the values alone, numpy would load its masked arrays first: a megabyte, and not to be
    had by a process that may no longer read where they lie.
    """
    different, _ = np.unique(values, return_counts=True)
    return different


def distinct(members: Rows) -> tuple[Rows, Places]:
    """Give the different rows, in no order of meaning, and where each row is among them."""
    _, first, places = np.unique(hashed(members, 0), return_index=True, return_inverse=True)
    found, places = members[first], places.reshape(-1)
    if not np.array_equal(found[places], members):  # two rows of one hash
        whole = np.ascontiguousarray(members).view(_NAME).reshape(-1)
        _, first, places = np.unique(whole, return_index=True, return_inverse=True)
        found, places = members[first], places.reshape(-1)
    return found, places


def united(parts: Sequence[Rows]) -> tuple[Rows, list[Places]]:
    """Give the rows of all parts once, and where those of each part are among them."""
    found, places = distinct(np.concatenate(parts))
    return found, np.split(places, np.cumsum([len(part) for part in parts[:-1]]))


def tallied(keys: Rows) -> tuple[Rows, Sizes]:
    """Give the different keys, and how often each is there."""
    found, places = distinct(keys)
    return found, np.bincount(places, minlength=len(found)).astype(np.int64)


def sampled(members: Rows, seed: int, shift: int) -> NDArray[np.bool_]:
    """Tell which members are in a sample of 1 in 2^shift, by their hash and the seed."""
    drawn = hashed(members, seed) >> np.uint64(32)
    chosen: NDArray[np.bool_] = (drawn & np.uint64((1 << shift) - 1)) == 0
    return chosen


@dataclass(frozen=True, slots=True)
class Sets:
    """For each key, the sizes of its sets so far."""

    most: int
    """Keys that are kept, those with the largest totals."""
    keys: Rows
    largest: Sizes
    total: Sizes
    let_go: int
    """Most that a key may have beside what is kept of it."""

    @classmethod
    def empty(cls, most: int) -> Sets:
        """Begin with no set."""
        none = np.zeros(0, np.int64)
        return cls(most, np.zeros((0, KEY_BYTES), np.uint8), none, none, 0)

    def joined(self, keys: Rows, sizes: Sizes) -> Sets:
        """Add one set of each key, none of them twice."""
        found, (old, new) = united([self.keys, keys]) if len(self.keys) else (keys, _only(keys))
        largest, total = np.zeros((2, len(found)), np.int64)
        largest[old], total[old] = self.largest, self.total
        largest[new] = np.maximum(largest[new], sizes)
        total[new] += sizes
        if len(found) <= self.most:
            return Sets(self.most, found, largest, total, self.let_go)
        order = np.argsort(total)
        kept, lightest = order[-self.most :], order[: -self.most]
        let_go = self.let_go + int(total[lightest].max())
        return Sets(self.most, found[kept], largest[kept], total[kept], let_go)


def _only(keys: Rows) -> list[Places]:
    return [np.zeros(0, np.intp), np.arange(len(keys))]
