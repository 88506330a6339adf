"""A sheet as an HTML table, for notebooks; every text in it is escaped."""

from __future__ import annotations

from html import escape

from netsonde.client.sheet import Sheet

MAX_ROWS = 200
"""Rows drawn; a notebook keeps its output in the file, and more are nobody's reading."""


def table(sheet: Sheet, certificate: str) -> str:
    """Draw a sheet, its notes and the certificate's line."""
    head = "".join(_cell("th", cell, place) for place, cell in enumerate(sheet.header))
    rows = "".join(
        "<tr>" + "".join(_cell("td", cell, place) for place, cell in enumerate(row)) + "</tr>"
        for row in sheet.rows[:MAX_ROWS]
    )
    notes = list(sheet.notes)
    if len(sheet.rows) > MAX_ROWS:
        notes.insert(0, f"{len(sheet.rows) - MAX_ROWS:,} more rows are not drawn")
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f'{below}<div style="opacity:.6">{escape(certificate)}</div>'
    )


def _cell(tag: str, text: str, place: int) -> str:
    side = "right" if place else "left"
    return f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>'
