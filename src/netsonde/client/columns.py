"""Answers as columns of plain values: what data frames and CSV are made of.

A key's parts have a column each, named as in the key type (`src`, `dst/24`, `dport`); ports and
protocols are numbers. Every count is three columns, `lower`, `estimate` and `upper`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch

from netsonde.model import answer
from netsonde.model.bound import Bound
from netsonde.model.key import KeyType

Value = str | int | float | None
Columns = dict[str, list[Value]]
"""Name -> values, all of the same length."""

_NUMBERS = ("sport", "dport", "proto")
_ENDS = ("lower", "estimate", "upper")


@singledispatch
def columns(_: answer.Answer) -> Columns:
    """Give an answer's rows as columns; raises TypeError for what is no answer."""
    raise TypeError("not an answer")


@columns.register
def _count(found: answer.CountAnswer) -> Columns:
    return {"key": [found.key], "increment": [found.increment], **_bounds([found.count])}


@columns.register
def _top(found: answer.TopAnswer) -> Columns:
    total = found.total.estimate
    share: list[Value] = [row.count.estimate / total if total else None for row in found.rows]
    return {**_rows(found.by, found.rows), "share": share}


@columns.register
def _keys(found: answer.KeysAnswer) -> Columns:
    return _rows(found.by, found.rows)


@columns.register
def _distinct(found: answer.DistinctAnswer) -> Columns:
    return {
        "by": [found.by],
        **_bounds([found.distinct]),
        "standard_error": [found.standard_error],
    }


@columns.register
def _distribution(found: answer.DistributionAnswer) -> Columns:
    return {
        "low": [each.low for each in found.bins],
        "high": [each.high for each in found.bins],
        **_bounds(each.keys for each in found.bins),
    }


@columns.register
def _spreaders(found: answer.SpreadersAnswer) -> Columns:
    return _rows(found.by, found.rows)


@columns.register
def _change(found: answer.ChangeAnswer) -> Columns:
    return {
        **_parts(found.by, [row.key for row in found.rows]),
        **_bounds((row.before for row in found.rows), "before_"),
        **_bounds((row.now for row in found.rows), "now_"),
        **_bounds((row.change for row in found.rows), "change_"),
    }


@columns.register
def _series(found: answer.SeriesAnswer) -> Columns:
    return {
        "begins": [point.begins for point in found.points],
        "tick": [point.tick for point in found.points],
        **_bounds(point.count for point in found.points),
        "whole": [point.whole for point in found.points],
    }


def _rows(by: str, rows: Sequence[answer.KeyCount]) -> Columns:
    return {**_parts(by, [row.key for row in rows]), **_bounds(row.count for row in rows)}


def _parts(by: str, keys: list[str]) -> Columns:
    names = KeyType.parse(by, "by").name.split("_")
    split = [key.split(",") for key in keys]
    return {
        name: [int(parts[place]) if name in _NUMBERS else parts[place] for parts in split]
        for place, name in enumerate(names)
    }


def _bounds(bounds: Iterable[Bound | None], prefix: str = "") -> Columns:
    known = list(bounds)
    return {
        f"{prefix}{end}": [None if each is None else getattr(each, end) for each in known]
        for end in _ENDS
    }
