"""Settings of a daemon: one struct gives the flags, the keys of the TOML file and their help.

Flags win over the file, the file over the defaults. A field `query_deadline_ms` is the flag
`--query-deadline-ms` and the key `query_deadline_ms`; its help is the struct's `msgspec.Meta`. A
flag that is true or false may come alone, and is true then. A field of several texts is one flag
with commas, and a list in the file.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_origin

import msgspec

from netsonde.model.errors import BadField
from netsonde.model.strict import allowed

T = TypeVar("T", bound=msgspec.Struct)


def read(settings: type[T], program: str, description: str, argv: Sequence[str]) -> T:
    """Read flags and the file named by `--config`.

    Raises BadField for an unknown key or flag, or a bad value; `--help` ends the process with 0.
    """
    fields = msgspec.structs.fields(settings)
    parser = _Parser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="TOML file with the same settings")
    for field in fields:
        alone: dict[str, Any] = {"nargs": "?", "const": True} if _plain(field.type) is bool else {}
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            dest=field.name,
            default=argparse.SUPPRESS,
            metavar=_metavar(field.type),
            help=_help(field),
            **alone,
        )
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = ["--config", *("--" + field.name.replace("_", "-") for field in fields)]
        raise BadField("option", unknown[0], ", ".join(flags))
    given = vars(found)
    path = given.pop("config")
    for field in fields:
        if _plain(field.type) is tuple and field.name in given:
            given[field.name] = [part for part in given[field.name].split(",") if part]
    values = (_read_file(Path(path), [field.name for field in fields]) if path else {}) | given
    for field in fields:
        if field.name in values:
            _check(field, values[field.name])
    return msgspec.convert(values, settings, strict=False)


class _Parser(argparse.ArgumentParser):
    """Says in a sentence what argparse would say below its usage."""

    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(": ")[0]
        raise BadField(flag, None, "a value behind it")


def _read_file(path: Path, known: Sequence[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadField("config", str(path), f"a readable TOML file ({why})") from None
    for name in values:
        if name not in known:
            raise BadField(name, values[name], f"one of the settings {', '.join(known)}")
    return values


def _check(field: msgspec.structs.FieldInfo, value: object) -> None:
    try:
        msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise BadField(field.name, value, allowed(field.type) or str(error)) from None


def _meta(kind: Any) -> msgspec.Meta | None:
    return next((m for m in getattr(kind, "__metadata__", ()) if isinstance(m, msgspec.Meta)), None)


def _help(field: msgspec.structs.FieldInfo) -> str:
    meta = _meta(field.type)
    text = (meta.description if meta else None) or field.name
    default = "none" if field.default == () else field.default
    return f"{text} (default: {default})".replace("%", "%%")


def _plain(kind: Any) -> Any:
    if get_origin(kind) is Annotated:
        kind = kind.__origin__
    return get_origin(kind) or kind


def _metavar(kind: Any) -> str:
    plain = _plain(kind)
    if isinstance(plain, type) and issubclass(plain, Enum):
        return "|".join(member.value for member in plain)
    names = {int: "NUMBER", float: "NUMBER", bool: "true|false", tuple: "TEXT,TEXT,..."}
    return names.get(plain, "TEXT")
