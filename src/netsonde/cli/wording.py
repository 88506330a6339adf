"""What went wrong, in sentences that say what to type instead."""

from __future__ import annotations

import re
import textwrap
from difflib import get_close_matches

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, UnusedCliTokensError

from netsonde.cli import exits
from netsonde.model.errors import BadField, NetsondeError
from netsonde.model.key import FIELDS, KeyType
from netsonde.model.window import Window

WIDTH = 80
_SUCH_AS = "Such as: "
_PLACED = ("by", "key", "name", "id", "counters", "to", "shell")
"""Fields that commands take by their place."""
_BY_AS_OPTION = (("ask", "count"), ("ask", "series"))
"""Commands whose first place is a key, if anything."""
_KEY_TYPES = (*FIELDS, "src_dst", "src_dport", "dst_dport", "src_dst_dport", "src/24", "dst/24")


def told(chain: tuple[str, ...], said: str, status: int, app: App) -> str:
    """Lay a sentence out for the terminal; for wrong arguments with an example of right ones."""
    command = " ".join(("netsonde", *chain))
    resolved = app
    for name in chain:
        resolved = resolved[name]
    said = said[:1].lower() + said[1:] if said[1:2].islower() else said
    lines = textwrap.wrap(
        f"{command}: {said}", WIDTH, break_long_words=False, break_on_hyphens=False
    )
    if status != exits.WRONG:
        return "\n".join(lines) + "\n"
    epilogue = resolved.help_epilogue or ""
    if isinstance(epilogue, str) and epilogue.startswith(_SUCH_AS):
        lines.append(f"such as: {epilogue.removeprefix(_SUCH_AS)}")
    lines.append(f"'{command} --help' tells more")
    return "\n".join(lines) + "\n"


def of_arguments(error: CycloptsError) -> str:
    """Say what is wrong with arguments that were not understood."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = _option(error.argument.name)
        what = "needs a value" if error.keyword else "is missing"
        return f"{name} {what}{_described(error)}"
    if isinstance(error, CoercionError) and error.argument is not None:
        value = error.token.value if error.token else ""
        hint = error.argument.hint
        kinds = {int: "a whole number", float: "a number"}
        allowed = next((words for kind, words in kinds.items() if kind.__name__ in str(hint)), None)
        if allowed and "Literal" not in str(hint):
            return f"{_option(error.argument.name)} is '{value}'; allowed: {allowed}"
    if isinstance(error, UnusedCliTokensError):
        unused = " ".join(error.unused_tokens or ())
        return f"'{unused}' is one too many; options are named, such as --window 'last 30s'"
    return _plain(str(error))


def of_failure(error: NetsondeError, chain: tuple[str, ...] = ()) -> tuple[str, int]:
    """Say why a call of the command `chain` failed, and give its exit status."""
    if isinstance(error, BadField):
        return _field(error.field, error.value, error.allowed, chain), exits.WRONG
    from netsonde.client import errors

    if isinstance(error, errors.WrongField) and error.field is not None:
        return _field(error.field, error.value, error.allowed or str(error), chain), exits.WRONG
    if isinstance(error, errors.WrongField | errors.BadAddress):
        return str(error), exits.WRONG
    if isinstance(error, errors.Unreachable):
        return f"{error}. Is an agent listening there? --url names another", exits.UNREACHABLE
    if isinstance(error, errors.NotUnderstood):
        return f"{error}. --url names another", exits.UNREACHABLE
    return str(error), exits.REFUSED


def _field(field: str, value: object, allowed: str, chain: tuple[str, ...]) -> str:
    shown = "is missing" if value is None else f"is '{value}'"
    close = _meant(field, str(value))
    hint = f"did you mean {close}? " if close else ""
    option = f"--{field}" if field == "by" and chain in _BY_AS_OPTION else _option(field)
    return f"{option} {shown}; {hint}allowed: {allowed}"


def _option(field: str) -> str:
    if field.startswith("--") and field[2:] not in _PLACED:
        return field
    last = field.removeprefix("--").rsplit(".", 1)[-1]
    return last.upper() if last in _PLACED else f"--{last.replace('_', '-')}"


def _meant(field: str, value: str) -> str | None:
    """Guess what was meant by a key type or a window."""
    if field in ("by", "of", "counters"):
        joined = value.replace(",", "_").replace("-", "_")
        try:
            meant = KeyType.parse(joined, field).name
            return None if meant == value else meant
        except BadField:
            close = get_close_matches(joined, _KEY_TYPES, n=1)
            return close[0] if close else None
    if field in ("window", "against"):
        length = value.removeprefix("last").strip()
        try:
            return f"'{Window.parse(f'last {length}').text}'"
        except BadField:
            return None
    return None


def _described(error: MissingArgumentError) -> str:
    argument = error.argument
    text = argument.parameter.help if argument is not None else None
    return f": {text.rstrip('.')}" if text else ""


def _plain(text: str) -> str:
    return re.sub(r'"([^"]*)"', r"'\1'", text).rstrip(".")
