"""What questions give: the structs of `netsonde.model.answer`, which also show themselves.

Each is its answer and nothing more: the same fields, the same JSON. `repr` and notebooks show the
table and the certificate's line; `to_pandas` and `to_polars` give a data frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from netsonde.client import frames, html, text
from netsonde.client.columns import Columns, columns
from netsonde.client.sheet import sheet
from netsonde.model import answer

if TYPE_CHECKING:
    import pandas
    import polars


class Shown:
    """How an answer shows itself; mixed into the structs below."""

    __slots__ = ()

    def columns(self) -> Columns:
        """Give the rows as named columns of plain values."""
        return columns(cast("answer.Answer", self))

    def to_pandas(self) -> pandas.DataFrame:
        """Give the rows as a pandas data frame; raises MissingLibrary without pandas."""
        return frames.to_pandas(cast("answer.Answer", self))

    def to_polars(self) -> polars.DataFrame:
        """Give the rows as a polars data frame; raises MissingLibrary without polars."""
        return frames.to_polars(cast("answer.Answer", self))

    def __repr__(self) -> str:
        found = cast("answer.Answer", self)
        shown = sheet(found)
        return "\n".join([*text.lines(shown), *shown.notes, found.certificate.line])

    def _repr_html_(self) -> str:
        found = cast("answer.Answer", self)
        return html.table(sheet(found), found.certificate.line)


class CountResult(Shown, answer.CountAnswer, frozen=True, kw_only=True, tag="count"):
    """How much."""


class TopResult(Shown, answer.TopAnswer, frozen=True, kw_only=True, tag="top"):
    """The largest keys."""


class KeysResult(Shown, answer.KeysAnswer, frozen=True, kw_only=True, tag="keys"):
    """One page of all keys."""


class DistinctResult(Shown, answer.DistinctAnswer, frozen=True, kw_only=True, tag="distinct"):
    """How many different keys."""


class DistributionResult(
    Shown, answer.DistributionAnswer, frozen=True, kw_only=True, tag="distribution"
):
    """How unequal keys are."""


class SpreadersResult(Shown, answer.SpreadersAnswer, frozen=True, kw_only=True, tag="spreaders"):
    """Keys by their number of different others."""


class ChangeResult(Shown, answer.ChangeAnswer, frozen=True, kw_only=True, tag="change"):
    """What differs from another window."""


class SeriesResult(Shown, answer.SeriesAnswer, frozen=True, kw_only=True, tag="series"):
    """A count for each step."""


Result = (
    CountResult
    | TopResult
    | KeysResult
    | DistinctResult
    | DistributionResult
    | SpreadersResult
    | ChangeResult
    | SeriesResult
)
