"""Numbers, bars and sparklines as text."""

from __future__ import annotations

from collections.abc import Sequence

from netsonde.model.bound import Bound

NS = 1_000_000_000
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"
_UNKNOWN = "·"
_STEPS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def compact(value: float) -> str:
    """Write a number in at most six characters, rounded: `9,999`, `12.3k`, `4.56M`."""
    if abs(value) < 9999.5:
        return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"
    for size, name in _STEPS:
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{scaled:.{digits}f}{name}"
    return f"{value:.0f}"


def scaled(value: float) -> str:
    """Write a number before its unit: `5.06 k`, `12.3 M`; `950 ` below a thousand."""
    if value < 999.5:
        return f"{compact(value)} "
    text = compact(value) if value >= 9999.5 else f"{value / 1000:.2f}k"
    return f"{text[:-1]} {text[-1]}"


def whole(bound: Bound) -> str:
    """Write a count to the last digit, with its bounds where they differ."""
    if bound.exact:
        return f"{bound.estimate:,}"
    return f"{bound.estimate:,} [{bound.lower:,}..{bound.upper:,}]"


def short(bound: Bound) -> str:
    """Write a count in few characters, with its bounds where they differ."""
    if bound.exact:
        return compact(bound.estimate)
    return f"{compact(bound.estimate)} [{compact(bound.lower)}..{compact(bound.upper)}]"


def rate(count: int, seconds: float, increment: str) -> str:
    """Write a count over some seconds as a rate: packets/s, or bit/s of bytes."""
    if seconds <= 0:
        return "-"
    if increment == "bytes":
        return f"{scaled(8 * count / seconds)}bit/s"
    return f"{compact(count / seconds)}/s"


def share(part: int, total: int) -> str:
    """Write a share of a total."""
    return f"{part / total:.1%}" if total else "-"


def age(ns: int) -> str:
    """Write how long ago something was: `3 s`, `4 min`, `2 h`; never negative."""
    seconds = max(0, ns) // NS
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


def bar(bound: Bound, most: int, width: int) -> tuple[str, str, str]:
    """Draw a count of at most `most`: its certain part, the likely one, and what is possible.

    The three together are `width` characters at most; what is not 0 is seen.
    """
    if most <= 0 or width <= 0:
        return "", "", ""
    cells = 8 * width
    certain = min(cells, bound.lower * cells // most)
    if bound.lower and not certain:
        certain = 1
    full, part = divmod(certain, 8)
    solid = "█" * full + (_EIGHTHS[part] if part else "")
    likely = min(width, -(-bound.estimate * width // most)) - len(solid)
    possible = min(width, -(-bound.upper * width // most)) - len(solid) - max(0, likely)
    if bound.exact:
        likely = possible = 0
    return solid, "▒" * max(0, likely), "░" * max(0, possible)


def spark(values: Sequence[float | None], width: int, height: int) -> list[str]:
    """Draw the last `width` values in `height` lines, the newest at the right.

    None, nobody counted, is a dot and no zero.
    """
    shown = list(values[-width:])
    most = max((value for value in shown if value is not None), default=0.0)
    steps = len(_LEVELS) - 1
    lines = [""] * height
    for value in shown:
        level = 0 if not value or not most else max(1, round(value / most * steps * height))
        for row in range(height):
            inside = min(max(level - steps * (height - 1 - row), 0), steps)
            lowest = row == height - 1
            lines[row] += _UNKNOWN if value is None and lowest else _LEVELS[inside]
    return [line.rjust(width) for line in lines]
