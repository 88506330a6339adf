"""Reading the arguments of a program: one way to run, one way to say what was wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Protocol

from cyclopts import App, CycloptsError, Parameter, Token

from netsonde.command import terminal, wording

WRONG = 2
"""Exit status for wrong arguments."""
_HELP = {"-h", "--help", "--version"}


class Wrong(Protocol):
    """An error about a field, whoever raises it."""

    field: str
    value: object
    allowed: str


def run(app: App, argv: Sequence[str]) -> int:
    """Run a program and give its exit status; of wrong arguments a sentence goes to stderr."""
    terminal.guard()
    try:
        status = app(
            argv,
            console=terminal.console(),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        chain = wording.chain_of(app, argv)
        sys.stderr.write(wording.told(app, chain, wording.of_arguments(error, app, chain)))
        return WRONG
    if isinstance(status, int):
        return status
    return WRONG if is_group(app, argv) else 0


def is_group(app: App, argv: Sequence[str]) -> bool:
    """Whether a command was meant and none named: its help was printed, and nothing was done."""
    command = wording.command_of(app, wording.chain_of(app, argv))
    return command.default_command is None and not _HELP & set(argv)


def refuse(app: App, argv: Sequence[str], error: Wrong, meant: str | None = None) -> int:
    """Say on stderr which field has a wrong value; gives the exit status."""
    chain = wording.chain_of(app, argv)
    typed = wording.typed(wording.command_of(app, chain), error.field)
    said = wording.of_field(typed, error.value, error.allowed, meant)
    sys.stderr.write(wording.told(app, chain, said))
    return WRONG


def _whole(_: object, tokens: Sequence[Token]) -> int:
    return int(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number; by itself cyclopts would round 1.5 to 2 without a word."""
MaybeWhole = Annotated[int | None, Parameter(converter=_whole)]
"""The same of an option that may be left out."""
