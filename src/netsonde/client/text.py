"""A sheet as lines of text, columns aligned."""

from __future__ import annotations

from netsonde.client.sheet import Sheet

MIN_BAR = 8
MAX_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BETWEEN = " · "
_GAP = "  "


def lines(sheet: Sheet, width: int = 80) -> list[str]:
    """Lay out a sheet: the header, its rows, with bars where at least MIN_BAR columns are left.

    No cell is cut: a row whose cells are wider than `width` is as wide as they are.
    """
    columns = [_aligned(column) for column in zip(*sheet.rows, strict=True)]
    table = [sheet.header, *zip(*columns, strict=True)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = min(MAX_BAR, width - sum(widths) - len(_GAP) * len(widths))
    bars = [""] * len(table)
    if sheet.bars and left >= MIN_BAR:
        bars[1:] = [bar(value, left) for value in sheet.bars]
    return [_line(row, widths, drawn) for row, drawn in zip(table, bars, strict=True)]


def facts(line: str, width: int = 80) -> list[str]:
    """Part a certificate's line between its facts, where it is wider than `width`.

    No fact is cut: one that is wider is a line of its own.
    """
    first, *rest = line.split(_BETWEEN)
    parted = [first]
    for fact in rest:
        if len(parted[-1]) + len(_BETWEEN) + len(fact) <= width:
            parted[-1] += _BETWEEN + fact
        else:
            parted.append(f"{_BETWEEN.lstrip()}{fact}")
    return parted


def bar(value: float, width: int) -> str:
    """Draw 0 to 1 as a bar of up to `width` characters; what is not 0 is seen."""
    eighths = round(value * width * 8)
    if value > 0:
        eighths = max(1, eighths)
    full, part = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[part] if part else "")


def _aligned(column: tuple[str, ...]) -> list[str]:
    """Put the bounds of a column's numbers below each other, and so the numbers."""
    parts = [cell.partition(" [") for cell in column]
    width = max((len(bracket + ends) for _, bracket, ends in parts), default=0)
    return [value + (bracket + ends).ljust(width) for value, bracket, ends in parts]


def _line(row: tuple[str, ...], widths: list[int], drawn: str) -> str:
    first, *numbers = row
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
    return _GAP.join([*cells, drawn]).rstrip()
