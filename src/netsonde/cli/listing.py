"""Lists of what a service holds: a table for people, JSON and CSV for programs.

CSV follows the schema by itself: every field of the JSON has a column; of an object in it each
field, joined by `_` (`count_lower`); a list of words is one cell, with spaces between; any other
list or object is a cell of JSON; unknown is empty.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import fields

from netsonde.cli import printing
from netsonde.cli.exits import OK
from netsonde.cli.options import Listed

T = TypeVar("T", bound=msgspec.Struct)
Cell = str | int | float | None


def listed(
    found: Sequence[T],
    kind: type[T],
    output: Listed,
    header: Sequence[str],
    row: Callable[[T], Sequence[str]],
) -> int:
    """Print structs of a kind, as a table by `header` and `row` unless told otherwise."""
    if output.json:
        printing.json(found)
    elif output.csv:
        stream(found, kind)
    else:
        printing.listing(header, map(row, found))
    return OK


def stream(found: Iterable[T], kind: type[T]) -> None:
    """Print structs as CSV as they come."""
    printing.csv_line(names(kind))
    for each in found:
        printing.csv_line(cells(each))
        sys.stdout.flush()


def names(kind: type[msgspec.Struct]) -> list[str]:
    """Give the columns of a kind of struct."""
    made: list[str] = []
    for field in fields(kind):
        inner = _struct(field.type)
        made += [field.name] if inner is None else [f"{field.name}_{name}" for name in names(inner)]
    return made


def cells(one: msgspec.Struct) -> list[Cell]:
    """Give a struct's values, in the order of `names`."""
    made: list[Cell] = []
    for field in fields(type(one)):
        value = getattr(one, field.name)
        made += [_cell(value)] if _struct(field.type) is None else cells(value)
    return made


def _struct(hint: object) -> type[msgspec.Struct] | None:
    """Tell whether a field is always an object; one that may be missing is a cell."""
    return hint if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else None


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list) and all(isinstance(each, str | int) for each in value):
        return " ".join(map(str, value))
    return msgspec.json.encode(value).decode()
