"""Answers, one struct for each kind of question, in JSON told apart by `ask`; each carries its
certificate. Every count is a `Bound`; unknown is None, never 0."""

from __future__ import annotations

import msgspec

from netsonde.model.bound import Bound
from netsonde.model.certificate import Certificate


class RealBound(msgspec.Struct, frozen=True, kw_only=True):
    """`lower <= truth <= upper` of a real number."""

    lower: float
    estimate: float
    upper: float


class KeyCount(msgspec.Struct, frozen=True, kw_only=True):
    """One key."""

    key: str
    count: Bound


class _Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask"):
    certificate: Certificate


class CountAnswer(_Answer, frozen=True, kw_only=True, tag="count"):
    """Of one key, or of everything that passes."""

    increment: str
    count: Bound
    key: str | None = None


class TopAnswer(_Answer, frozen=True, kw_only=True, tag="top"):
    """The largest keys, largest estimate first, ties by text."""

    by: str
    increment: str
    rows: tuple[KeyCount, ...]
    total: Bound
    """Of everything that passes."""
    absent_upper: int
    """Most that a key which is not in `rows` can have."""


class KeysAnswer(_Answer, frozen=True, kw_only=True, tag="keys"):
    """One page of all keys, in the order of their text."""

    by: str
    increment: str
    rows: tuple[KeyCount, ...]
    next: str | None
    """What to ask `after` for the next page; None after the last."""
    unlisted: Bound
    """Keys that no page holds."""
    absent_upper: int
    """Most that one of those can have."""


class DistinctAnswer(_Answer, frozen=True, kw_only=True, tag="distinct"):
    """Number of keys."""

    by: str
    distinct: Bound
    standard_error: float | None
    """Relative, of the estimate where it is not exact: 0 exact, None unknown within the bounds."""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Keys whose total is from `low` to `high`, both included."""

    low: int
    high: int
    keys: Bound


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """A share `q` of the keys has at most `value`."""

    q: float
    value: Bound


class DistributionAnswer(_Answer, frozen=True, kw_only=True, tag="distribution"):
    """Histogram (log-linear: four bins to each power of two), quantiles, entropy."""

    by: str
    increment: str
    keys: Bound
    total: Bound
    """Of all keys; packets without ports have none where `by` has a port, and are not in it."""
    bins: tuple[Bin, ...]
    """Those that may hold a key, smallest first."""
    quantiles: tuple[Quantile, ...]
    entropy_bits: RealBound
    """Shannon's, of the share that each key has of the total."""


class SpreadersAnswer(_Answer, frozen=True, kw_only=True, tag="spreaders"):
    """Keys by the number of different others, largest estimate first."""

    by: str
    of: str
    rows: tuple[KeyCount, ...]
    absent_upper: int


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """One key in two windows."""

    key: str
    before: Bound
    now: Bound
    change: Bound
    """now - before; negative when it shrank."""


class ChangeAnswer(_Answer, frozen=True, kw_only=True, tag="change"):
    """Keys by how much they changed, largest estimate of |change| first."""

    by: str
    increment: str
    rows: tuple[KeyChange, ...]
    total: KeyChange
    """Of everything that passes; its key is empty."""
    absent_upper: int
    """Most that a key which is not in `rows` can have changed, up or down."""
    before: Certificate
    """Of the window compared with."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a series."""

    tick: int
    """Its first tick."""
    begins: str
    """Wall clock, UTC."""
    count: Bound | None
    """Of what was counted then; None: nobody counted."""
    whole: bool = True
    """Whether every host that answered counted all of the step; False: there may have been more."""


class SeriesAnswer(_Answer, frozen=True, kw_only=True, tag="series"):
    """A count for each step, oldest first."""

    increment: str
    step_ms: int
    points: tuple[Point, ...]
    key: str | None = None


Answer = (
    CountAnswer
    | TopAnswer
    | KeysAnswer
    | DistinctAnswer
    | DistributionAnswer
    | SpreadersAnswer
    | ChangeAnswer
    | SeriesAnswer
)
