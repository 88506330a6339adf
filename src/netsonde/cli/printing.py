"""From answers to the terminal: tables for people, JSON and CSV for programs.

The one idea: text is laid out for the terminal that it goes to, and nothing is cut. Where there is
no terminal, one thing is one line, however long, for what reads it next.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from netsonde.cli import layout
from netsonde.cli.exits import OK, PARTIAL
from netsonde.cli.options import Output
from netsonde.client import certificate_text, text
from netsonde.client.columns import columns
from netsonde.client.sheet import Sheet, sheet
from netsonde.command import terminal
from netsonde.model.answer import Answer
from netsonde.model.certificate import Certificate
from netsonde.model.text import escaped, json_text

if TYPE_CHECKING:
    from rich.console import Console


def answer(found: Answer, output: Output) -> int:
    """Print an answer and give the exit status it stands for."""
    if output.json:
        json(found)
    elif output.csv:
        rows(columns(found))
        _print(_console(stderr=True), [found.certificate.line], "dim")
    else:
        table(sheet(found))
        certificate(found.certificate, whole=output.certificate)
    return status(found.certificate)


def status(found: Certificate) -> int:
    """Give the exit status of an answer with a certificate."""
    return PARTIAL if found.coverage.missing or found.coverage.partial else OK


def json(found: object) -> None:
    """Print a struct as /v1 gives it, on one line."""
    sys.stdout.write(json_text(msgspec.json.encode(found)) + "\n")
    sys.stdout.flush()


def rows(found: dict[str, list[str | int | float | None]]) -> None:
    """Print columns as CSV."""
    csv_line(list(found))
    for row in zip(*found.values(), strict=True):
        csv_line(row)


def csv_line(row: Sequence[str | int | float | None]) -> None:
    """Print a line of CSV (RFC 4180, but for the line ends); unknown is empty, truth as in JSON."""
    cells = [str(cell).lower() if isinstance(cell, bool) else cell for cell in row]
    csv.writer(sys.stdout, lineterminator="\n").writerow(cells)


def table(shown: Sheet) -> None:
    """Print a sheet."""
    console = _console()
    header, *lines = text.lines(shown, console.width)
    _print(console, [header], "bold")
    _print(console, lines)
    _print(console, shown.notes)


def listing(header: Sequence[str], body: Iterable[Sequence[str]]) -> None:
    """Print a table of texts; cells too wide for the terminal go on below."""
    console = _console()
    first, *rest = layout.table([header, *body], _width(console))
    _print(console, [first], "bold")
    _print(console, rest)


def facts(named: Iterable[tuple[str, str]]) -> None:
    """Print facts, each behind its name; one without a name goes on with the one before."""
    console = _console()
    _print(console, layout.facts(list(named), _width(console)))


def certificate(found: Certificate, *, whole: bool) -> None:
    """Print a certificate, whole or in one line, which goes on below where it is too long."""
    console = _console()
    if whole:
        lines = layout.facts(certificate_text.facts(found), _width(console))
    else:
        lines = text.facts(found.line, console.width)
    _print(console, lines, "dim")


def sentences(lines: Iterable[str]) -> None:
    """Print lines; one too wide for the terminal goes on below, further in."""
    console = _console()
    _print(console, (part for line in lines for part in layout.wrapped(line, _width(console))))


def _console(*, stderr: bool = False) -> Console:
    return terminal.console(stderr=stderr, highlight=False, soft_wrap=True)


def _width(console: Console) -> int | None:
    """Give the columns of the terminal; None without one."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def _print(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    for line in lines:
        console.print(escaped(line), style=style)
