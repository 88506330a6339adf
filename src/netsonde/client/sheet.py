"""Answers as people read them: a small table and what must be said with it.

One sheet serves the command, `repr`, notebooks and replay, so that all show the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from netsonde.model import answer
from netsonde.model.bound import Bound


@dataclass(frozen=True, slots=True)
class Sheet:
    """Text ready to be laid out."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first cell of each is text, those after it are numbers."""
    notes: tuple[str, ...] = ()
    """Sentences that belong below."""
    bars: tuple[float, ...] = ()
    """Of each row: 0 to 1 of the longest; empty where bars say nothing."""


@singledispatch
def sheet(_: answer.Answer) -> Sheet:
    """Lay out an answer."""
    raise TypeError("not an answer")


def number(value: int) -> str:
    """Write a number with separators: 1,234."""
    return f"{value:,}"


def bounded(bound: Bound) -> str:
    """Write a number with its bounds where they differ: `1,234` or `1,234 [1,200..1,300]`."""
    if bound.exact:
        return number(bound.estimate)
    return f"{number(bound.estimate)} [{number(bound.lower)}..{number(bound.upper)}]"


def key_header(by: str) -> str:
    """Write a key type as its keys are written: src_dst as `src,dst`."""
    return by.replace("_", ",")


def unlisted(absent_upper: int, what: str, shown: int) -> str:
    """Say how much a key that is not among the `shown` can have."""
    if not absent_upper:
        return "there is no other key" if shown else "there is no key"
    return f"any other key has at most {number(absent_upper)} {what}"


@sheet.register
def _count(found: answer.CountAnswer) -> Sheet:
    key = "all" if found.key is None else found.key
    return Sheet(("key", found.increment), ((key, bounded(found.count)),))


@sheet.register
def _top(found: answer.TopAnswer) -> Sheet:
    total = found.total.estimate
    rows = tuple(
        (row.key, bounded(row.count), _share(row.count.estimate, total)) for row in found.rows
    )
    notes = (
        f"{bounded(found.total)} {found.increment} in all; "
        f"{unlisted(found.absent_upper, found.increment, len(rows))}",
    )
    bars = tuple(row.count.estimate / total if total else 0.0 for row in found.rows)
    return Sheet((key_header(found.by), found.increment, "share"), rows, notes, _scaled(bars))


@sheet.register
def _keys(found: answer.KeysAnswer) -> Sheet:
    rows = tuple((row.key, bounded(row.count)) for row in found.rows)
    notes = []
    if found.next is not None:
        notes.append(f"there are more after {found.next}")
    if found.unlisted.upper:
        notes.append(
            f"{bounded(found.unlisted)} keys cannot be listed, "
            f"none has more than {number(found.absent_upper)} {found.increment}"
        )
    return Sheet((key_header(found.by), found.increment), rows, tuple(notes))


@sheet.register
def _distinct(found: answer.DistinctAnswer) -> Sheet:
    error = found.standard_error
    notes = (f"standard error of the estimate: {error:.1%}",) if error else ()
    return Sheet(("key type", "distinct"), ((found.by, bounded(found.distinct)),), notes)


@sheet.register
def _distribution(found: answer.DistributionAnswer) -> Sheet:
    rows = tuple((_span(each), bounded(each.keys)) for each in found.bins)
    entropy = found.entropy_bits
    doubt = "" if entropy.lower == entropy.upper else f" [{entropy.lower:.2f}..{entropy.upper:.2f}]"
    shares = [f"{100 * each.q:.6g}%" for each in found.quantiles]
    quantiles = ", ".join(
        f"{share} of keys have at most {bounded(each.value)}"
        for share, each in zip(shares, found.quantiles, strict=True)
    )
    notes = (
        f"{bounded(found.keys)} keys with {bounded(found.total)} {found.increment} in all",
        quantiles,
        f"entropy {entropy.estimate:.2f}{doubt} bits",
    )
    header = (f"{found.increment} of a {key_header(found.by)}", "keys")
    bars = _scaled(tuple(float(each.keys.estimate) for each in found.bins))
    return Sheet(header, rows, tuple(note for note in notes if note), bars)


@sheet.register
def _spreaders(found: answer.SpreadersAnswer) -> Sheet:
    what = f"distinct {key_header(found.of)}"
    rows = tuple((row.key, bounded(row.count)) for row in found.rows)
    bars = _scaled(tuple(float(row.count.estimate) for row in found.rows))
    header = (key_header(found.by), what)
    return Sheet(header, rows, (unlisted(found.absent_upper, what, len(rows)),), bars)


@sheet.register
def _change(found: answer.ChangeAnswer) -> Sheet:
    rows = tuple(_changed(row, row.key) for row in found.rows)
    total = _changed(found.total, "all")
    header = (key_header(found.by), f"{found.increment} before", "now", "change")
    notes = (
        f"{unlisted(found.absent_upper, f'{found.increment} more or fewer', len(rows))}",
        f"before: {found.before.line}",
    )
    return Sheet(header, (*rows, total), notes)


@sheet.register
def _series(found: answer.SeriesAnswer) -> Sheet:
    whole = found.step_ms % 1000 == 0
    stretches = _stretches(found.points)
    rows = tuple((_times(points, whole=whole), _counted(points[0])) for points in stretches)
    counts = tuple(float(p[0].count.estimate if p[0].count else 0) for p in stretches)
    step = f"{found.step_ms // 1000} s" if whole else f"{found.step_ms} ms"
    notes = () if found.key is None else (f"of {found.key}",)
    return Sheet(("UTC", f"{found.increment} in {step}"), rows, notes, _scaled(counts))


def _stretches(points: tuple[answer.Point, ...]) -> list[list[answer.Point]]:
    """Put steps that nobody counted together, as one row says it; each other step is its own."""
    found: list[list[answer.Point]] = []
    for point in points:
        if point.count is None and found and found[-1][0].count is None:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _times(points: list[answer.Point], *, whole: bool) -> str:
    first, last = (point.begins[11 : 19 if whole else 21] for point in (points[0], points[-1]))
    return first if first == last else f"{first} to {last}"


def _counted(point: answer.Point) -> str:
    if point.count is None:
        return "not counted"
    return bounded(point.count) if point.whole else f"at least {bounded(point.count)}"


def _share(part: int, total: int) -> str:
    if not total:
        return "-"
    return "<0.1%" if 0 < part < total / 1000 else f"{part / total:.1%}"


def _span(each: answer.Bin) -> str:
    low, high = number(each.low), number(each.high)
    return low if each.low == each.high else f"{low}..{high}"


def _changed(row: answer.KeyChange, key: str) -> tuple[str, ...]:
    sign = "+" if row.change.estimate > 0 else ""
    return (key, bounded(row.before), bounded(row.now), sign + bounded(row.change))


def _scaled(values: tuple[float, ...]) -> tuple[float, ...]:
    most = max(values, default=0.0)
    return tuple(value / most if most else 0.0 for value in values)
