"""Lines that fit a terminal: what is too wide goes on below, between words.

A width of None is no terminal: then one thing is one line. No word is cut, so that an address or a
URL can be copied; a line that holds a longer one is as wide as that.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

_GAP = "  "
_INDENT = "    "
_NUMBER = re.compile(r"-?[\d,]+")


def wrapped(line: str, width: int | None) -> list[str]:
    """Part a line; all but its first part begin further in."""
    begins = line[: len(line) - len(line.lstrip())]
    return _parts(line, width, begins + _INDENT)


def facts(named: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Write facts in a column of their own, behind their names."""
    first = max((len(name) for name, _ in named), default=0)
    room = None if width is None else max(1, width - first - len(_GAP))
    return [
        f"{shown:<{first}}{_GAP}{part}".rstrip()
        for name, fact in named
        for shown, part in zip_longest([name], _parts(fact, room), fillvalue="")
    ]


def table(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Write a table, its first row the header; columns of numbers are flush right."""
    columns = list(zip(*rows, strict=True))
    right = [all(map(_NUMBER.fullmatch, column[1:])) for column in columns]
    widths = _fitted(columns, width)
    lines = []
    for row in rows:
        cells = [_parts(cell, room) for cell, room in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            shown = [
                part.rjust(room) if flush else part.ljust(room)
                for part, room, flush in zip(parts, widths, right, strict=True)
            ]
            lines.append(_GAP.join(shown).rstrip())
    return lines


def _fitted(columns: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Give the columns' widths: the widest are narrowed, down to their longest words."""
    widths = [max(map(len, column)) for column in columns]
    least = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in columns
    ]
    if width is None:
        return widths
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        wider = [place for place in range(len(widths)) if widths[place] > least[place]]
        if not wider:
            break
        widths[max(wider, key=lambda place: widths[place])] -= 1
    return widths


def _parts(text: str, width: int | None, indent: str = "") -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
