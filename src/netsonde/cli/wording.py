"""Why a call of the client failed, in a sentence that says what to type instead."""

from __future__ import annotations

from cyclopts import App

from netsonde.cli import exits
from netsonde.command.wording import of_field, typed
from netsonde.model.errors import BadField, NetsondeError
from netsonde.model.meant import meant


def of_failure(error: NetsondeError, command: App) -> tuple[str, int]:
    """Say why a command failed, and give its exit status."""
    if isinstance(error, BadField):
        return _of_field(command, error.field, error.value, error.allowed), exits.WRONG
    return _of_client(error, command)


def _of_client(error: NetsondeError, command: App) -> tuple[str, int]:
    from netsonde.client import errors

    if isinstance(error, errors.WrongField) and error.field is not None:
        allowed = error.allowed or str(error)
        return _of_field(command, error.field, error.value, allowed), exits.WRONG
    if isinstance(error, errors.WrongField):
        return str(error), exits.WRONG
    if isinstance(error, errors.BadAddress):
        return f"--{error}", exits.WRONG
    if isinstance(error, errors.Unreachable | errors.NotUnderstood):
        hint = "Is an agent listening there? " if isinstance(error, errors.Unreachable) else ""
        return f"{error}. {hint}--url names another", exits.UNREACHABLE
    return str(error), exits.REFUSED


def _of_field(command: App, field: str, value: object, allowed: str) -> str:
    return of_field(typed(command, field), value, allowed, meant(field, str(value), allowed))
