"""How far another host's clock is from ours, told from one question and its answer.

The one idea (RFC 5905 §8): the answer left while our clock showed some time between the question's
sending and the answer's coming, but for the time the other held it. The middle of that is the best
guess, and it is wrong by no more than half of it, however unlike the two ways were.
"""

from __future__ import annotations

from collections.abc import Mapping

from netsonde.model.number import MAX_APART_MS, MAX_MS

Skew = tuple[float, float]
"""A clock against ours in ms, and how wrong that can be."""

_NS_PER_MS = 1e6


def compared(
    *, sent_mono_ns: int, came_mono_ns: int, came_wall_ns: int, held_ns: int, told_wall_ns: int
) -> Skew | None:
    """Compare a clock that showed `told_wall_ns` when its host answered, after `held_ns`.

    None where the other side's times cannot be: they are a stranger's.
    """
    way_ns = came_mono_ns - sent_mono_ns - held_ns
    if held_ns < 0 or way_ns < 0 or not 0 <= told_wall_ns < 1 << 63:
        return None
    half_ns = way_ns / 2
    return ((told_wall_ns - came_wall_ns + half_ns) / _NS_PER_MS, half_ns / _NS_PER_MS)


def seen_from_here(member: str, clock: Skew | None, below: Mapping[str, Skew]) -> dict[str, Skew]:
    """Give the clocks at and below a child against ours, from those below against the child's.

    What no two clocks can differ by is a lie, and is not told on: whoever is above would refuse it.
    """
    if clock is None:
        return {}
    offset_ms, error_ms = clock
    shifted = {host: (ms + offset_ms, wrong + error_ms) for host, (ms, wrong) in below.items()}
    known = {**shifted, member: clock}
    return {
        host: (ms, wrong)
        for host, (ms, wrong) in known.items()
        if abs(ms) <= MAX_APART_MS and wrong <= MAX_MS
    }
