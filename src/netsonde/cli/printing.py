"""From answers to the terminal: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console

from netsonde.cli.exits import OK, PARTIAL
from netsonde.cli.options import Output
from netsonde.client import certificate_text, text
from netsonde.client.columns import columns
from netsonde.client.sheet import Sheet, sheet
from netsonde.model.answer import Answer
from netsonde.model.certificate import Certificate


def answer(found: Answer, output: Output) -> int:
    """Print an answer and give the exit status it stands for."""
    if output.json:
        json(found)
    elif output.csv:
        rows(columns(found))
        Console(stderr=True, soft_wrap=True).print(
            found.certificate.line, style="dim", highlight=False, markup=False
        )
    else:
        table(sheet(found))
        certificate(found.certificate, whole=output.certificate)
    return status(found.certificate)


def status(found: Certificate) -> int:
    """Give the exit status of an answer with a certificate."""
    return PARTIAL if found.coverage.missing or found.coverage.partial else OK


def json(found: object) -> None:
    """Print a struct as /v1 gives it, on one line."""
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()


def rows(found: dict[str, list[str | int | float | None]]) -> None:
    """Print columns as CSV (RFC 4180, but for the line ends); unknown is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(found)
    writer.writerows(zip(*found.values(), strict=True))


def table(shown: Sheet) -> None:
    """Print a sheet."""
    console = _console()
    header, *lines = text.lines(shown, console.width)
    _print(console, [header], "bold")
    _print(console, lines)
    _print(console, shown.notes)


def listing(header: Sequence[str], body: Iterable[Sequence[str]]) -> None:
    """Print a table of texts, all columns flush left."""
    console = _console()
    table = [tuple(header), *map(tuple, body)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    _print(console, lines[:1], "bold")
    _print(console, lines[1:])


def certificate(found: Certificate, *, whole: bool) -> None:
    """Print a certificate, whole or in one line, which goes on below where it is too long."""
    console = _console()
    short = text.facts(found.line, console.width)
    _print(console, certificate_text.lines(found) if whole else short, "dim")


def sentences(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    _print(_console(), lines)


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def _print(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    for line in lines:
        console.print(line, style=style)
