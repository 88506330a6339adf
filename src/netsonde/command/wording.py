"""What was wrong with a command line, in a sentence that says what to type instead."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, get_args, get_origin

from cyclopts import (
    App,
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

WIDTH = 80
SUCH_AS = "Such as: "
"""Begins the epilogue of a command that has an example."""
_MOST_NAMED = 8
"""Options that are told to somebody who typed none of them."""
_KINDS = {int: "a whole number", float: "a number"}


def told(app: App, chain: Sequence[str], said: str, *, wrong: bool = True) -> str:
    """Lay a sentence out for the terminal; for wrong arguments with an example of right ones."""
    command = " ".join((app.name[0], *chain))
    said = said[:1].lower() + said[1:] if said[1:2].islower() else said
    lines = _wrapped(f"{command}: {said}")
    if wrong:
        epilogue = command_of(app, chain).help_epilogue or ""
        if isinstance(epilogue, str) and epilogue.startswith(SUCH_AS):
            lines.append(f"such as: {epilogue.removeprefix(SUCH_AS)}")
        lines.append(f"'{command} --help' tells more")
    return "\n".join(lines) + "\n"


def no_command(program: str, given: str, known: Sequence[str]) -> str:
    """Say that a program has no such command, and which was perhaps meant."""
    return "\n".join(_wrapped(f"{program}: {_unknown('command', given, known)}")) + "\n"


def chain_of(app: App, argv: Sequence[str]) -> tuple[str, ...]:
    """Give the commands that arguments begin with: `ask`, `top`."""
    chain, _, _ = app.parse_commands(list(argv))
    return chain


def command_of(app: App, chain: Sequence[str]) -> App:
    """Find a command."""
    for name in chain:
        app = app[name]
    return app


def typed(command: App, field: str) -> str:
    """Give a field as it is typed: `--by`, or `BY` where it is known by its place."""
    last = re.sub(r"\[.*", "", field).rsplit(".", 1)[-1]
    option = f"--{last.replace('_', '-')}"
    for argument in _arguments(command):
        if {option, option.removesuffix("s"), last, last.upper()} & set(argument.names):
            return _typed(argument)
    return last


def of_field(name: str, value: object, allowed: str, meant: str | None = None) -> str:
    """Say which value a field may not have."""
    shown = "is missing" if value is None else f"is '{value}'"
    hint = f"did you mean {meant}? " if meant else ""
    return f"{name} {shown}; {hint}allowed: {allowed}"


def of_arguments(error: CycloptsError, app: App, chain: Sequence[str]) -> str:
    """Say what is wrong with arguments that were not understood."""
    command = command_of(app, chain)
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        what = "needs a value" if error.keyword else "is missing"
        return f"{_typed(error.argument)} {what}{_described(command, error.argument)}"
    if isinstance(error, CoercionError) and error.argument is not None and error.token is not None:
        return _of_value(error.argument, error.token.value)
    if isinstance(error, UnknownOptionError):
        given = (error.token.keyword or error.token.value).partition("=")[0]
        known = [_typed(argument) for argument in _arguments(command)]
        return _unknown("option", given, [name for name in known if name.startswith("--")])
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        known = [name for name in command if not name.startswith("-")]
        return _unknown("command", error.unused_tokens[0], known)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"'{' '.join(error.unused_tokens)}' is one too many{_named(command)}"
    return re.sub(r'"([^"]*)"', r"'\1'", str(error)).rstrip(".")


def _of_value(argument: Argument, value: str) -> str:
    for hint in (argument.hint, *get_args(argument.hint)):
        if hint in _KINDS:
            return of_field(_typed(argument), value, _KINDS[hint])
        if get_origin(hint) is Literal:
            choices = [str(choice) for choice in get_args(hint)]
            close = next(iter(get_close_matches(value, choices, n=1)), None)
            return of_field(_typed(argument), value, ", ".join(choices), close)
    return of_field(_typed(argument), value, "what --help says")


def _unknown(kind: str, given: str, known: Sequence[str]) -> str:
    """Names are compared without dashes, which all options have in common."""
    bare = {name.lstrip("-"): name for name in known}
    close = get_close_matches(given.lstrip("-"), bare, n=1)
    shown = given if kind == "option" else f"'{given}'"
    said = f"there is no {kind} {shown}"
    if close:
        return f"{said}; did you mean {bare[close[0]]}?"
    named = len(known) <= _MOST_NAMED or kind == "command"
    return f"{said}; allowed: {', '.join(known)}" if known and named else said


def _named(command: App) -> str:
    options = {argument.names[0] for argument in _arguments(command)}
    return "; options are named, such as --window 'last 30s'" if "--window" in options else ""


def _arguments(command: App) -> list[Argument]:
    if command.default_command is None:
        return []
    return list(command.assemble_argument_collection(parse_docstring=True))


def _typed(argument: Argument) -> str:
    if argument.field_info.is_keyword_only:
        return argument.names[0]
    return argument.names[0].removeprefix("--").upper()


def _described(command: App, argument: Argument) -> str:
    found = (each for each in _arguments(command) if each.names == argument.names)
    text = next((each.parameter.help for each in found), None)
    if text and not text.endswith("..."):
        text = text.removesuffix(".")
    return f": {text}" if text else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
