"""Ports of a filter: numbers and ranges as canonical text, such as `80,443,8000-8010`."""

from __future__ import annotations

from netsonde.model.errors import BadField

MAX_RANGES = 16
"""Numbers and ranges of one field."""
_MOST = 65535
_ALLOWED = f"ports 0 to {_MOST}, ranges and lists of them, such as 80,443,8000-8010"


def ports(field: str, value: str) -> str:
    """Check a list of ports and ranges and give its canonical text: sorted, joined where they meet.

    Raises BadField naming `field`.
    """
    ranges = sorted(_range(field, value, part.strip()) for part in value.split(","))
    joined: list[tuple[int, int]] = []
    for low, high in ranges:
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    if len(joined) > MAX_RANGES:
        raise BadField(field, value, f"at most {MAX_RANGES} ports and ranges")
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in joined)


def ranges(canonical: str) -> tuple[tuple[int, int], ...]:
    """Give the inclusive ranges of a canonical text."""
    pairs = (part.partition("-") for part in canonical.split(","))
    return tuple((int(low), int(high or low)) for low, _, high in pairs)


def _range(field: str, value: str, part: str) -> tuple[int, int]:
    low, dash, high = part.partition("-")
    ends = (low.strip(), (high if dash else low).strip())
    if not all(end.isascii() and end.isdigit() and int(end[:6]) <= _MOST for end in ends):
        raise BadField(field, value, _ALLOWED)
    first, last = (int(end) for end in ends)
    if first > last:
        raise BadField(field, value, f"{_ALLOWED}; {part} ends before it begins")
    return first, last
