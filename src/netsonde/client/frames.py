"""Answers as data frames of pandas or polars, whichever is there; neither is needed otherwise."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netsonde.client.columns import columns
from netsonde.model.answer import Answer
from netsonde.model.errors import NetsondeError

if TYPE_CHECKING:
    import pandas
    import polars

TIMES = ("begins",)
"""Columns of wall-clock time, UTC."""


class MissingLibrary(NetsondeError, ImportError):
    """The library of these data frames is not installed."""


def to_pandas(answer: Answer) -> pandas.DataFrame:
    """Give the rows as a data frame; counts that are not known are <NA>, never 0.

    Raises MissingLibrary.
    """
    library = _imported("pandas")
    frame = library.DataFrame(columns(answer)).convert_dtypes()
    for name in TIMES:
        if name in frame:
            frame[name] = library.to_datetime(frame[name], utc=True)
    return frame


def to_polars(answer: Answer) -> polars.DataFrame:
    """Give the rows as a data frame; counts that are not known are null, never 0.

    Raises MissingLibrary.
    """
    library = _imported("polars")
    frame = library.DataFrame(columns(answer))
    times = [name for name in TIMES if name in frame.columns]
    return frame.with_columns(library.col(name).str.to_datetime(time_zone="UTC") for name in times)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingLibrary(
            f"to_{name} needs {name}, which is not installed here: pip install {name}"
        ) from error
