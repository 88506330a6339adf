"""Structs read strictly: every field known and of its type, or refused by its name in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from netsonde.model.errors import BadField

_AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")
_SHOWN_BYTES = 80
_KINDS: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
}


def read(body: bytes, kind: Any, decoder: msgspec.json.Decoder[Any] | None = None) -> Any:
    """Read JSON as a type; raises BadField naming the field, its value and what is allowed."""
    try:
        try:
            return (decoder or msgspec.json.Decoder(kind)).decode(body)
        except msgspec.ValidationError as error:
            raise _refused(str(error), kind, msgspec.json.decode(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = body[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise BadField("body", shown, f"JSON ({error})") from None


def read_once(body: bytes, kind: Any, decoder: msgspec.json.Decoder[Any] | None = None) -> Any:
    """Read JSON as a type, and refuse fields that it gives twice; raises BadField as `read`."""
    made = read(body, kind, decoder)
    check_once(body)
    return made


def check_once(body: bytes) -> None:
    """Raise BadField for a field that JSON which can be read gives twice, however deep it is.

    Readers differ in which of two they take (RFC 8259 §4). Time is linear.
    """
    try:
        # Numbers are left alone: making one of many digits takes longer than linear time.
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        shown = body[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise BadField("body", shown, f"JSON ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, value in pairs:
        if name in names:
            raise BadField(name, value or "", "one value; the object gives the field twice")
        names.add(name)


def check(made: msgspec.Struct) -> None:
    """Check a struct that was never JSON as if it were; raises BadField as `read`."""
    read(msgspec.json.encode(made), type(made), _decoder(type(made)))


def check_field(field: str, value: object, kind: Any) -> None:
    """Check a value by itself; raises BadField naming `field`."""
    try:
        read(msgspec.json.encode(value), kind)
    except BadField as error:
        raise BadField(field, value, error.allowed) from None


@cache
def _decoder(kind: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def allowed(kind: Any) -> str:
    """Say in words what a plain value of a type may be; empty for what is none."""
    return _allowed(inspect.type_info(kind))


def _refused(message: str, kind: Any, given: Any) -> BadField:
    """Tell from msgspec's message which field it is, and from the type what may stand there."""
    found = _AT.fullmatch(message)
    said, path = (found[1], found[2] or "") if found else (message, "")
    info: inspect.Type = inspect.type_info(kind)
    value = given
    for step in _STEP.findall(path):
        info, value = _below(info, value, step)
    if named := _NAMED.fullmatch(said):
        known = ", ".join(_fields(info, value))
        path = f"{path}.{named[2]}" if path else named[2]
        if named[1] == "contains unknown":
            return BadField(path, value[named[2]], f"no such field; there are {known}")
        tags = ", ".join(_tags(info)) if named[2] in _tag_fields(info) else ""
        return BadField(path, None, tags or f"a value; there are the fields {known}")
    if path.rpartition(".")[2] == "ask" and said.startswith("Invalid value"):
        said = ", ".join(_tags(inspect.type_info(kind)))
        return BadField(path, value, said)
    return BadField(path or "body", value, _allowed(info) or said)


def _allowed(info: inspect.Type) -> str:
    """Say what a field may be; nothing of what is no plain value."""
    match info:
        case inspect.Metadata(type=inspect.StrType(pattern=str()), extra_json_schema={**told}):
            said = str(told.get("description", ""))
        case inspect.Metadata():
            said = _allowed(info.type)
        case inspect.UnionType():
            kinds = [_allowed(one) for one in info.types if not isinstance(one, inspect.NoneType)]
            said = " or ".join(kinds) if all(kinds) else ""
        case inspect.LiteralType():
            said = ", ".join(map(str, info.values))
        case inspect.EnumType():
            said = ", ".join(str(member.value) for member in info.cls)
        case inspect.IntType() | inspect.FloatType():
            said = _KINDS[type(info)] + _range(info)
        case inspect.StrType():
            said = f"text of at most {info.max_length} characters" if info.max_length else "text"
        case inspect.ListType() | inspect.VarTupleType() if _allowed(info.item_type):
            most = "" if info.max_length is None else f"at most {info.max_length}, "
            said = f"a list: {most}each {_allowed(info.item_type)}"
        case _:
            said = _KINDS.get(type(info), "")
    return said


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    gt, ge, le = (None if end is None else _plain(end) for end in (info.gt, info.ge, info.le))
    if ge is not None and le is not None:
        return f", {ge} to {le}"
    least = f" over {gt}" if gt is not None else ""
    least = f" of at least {ge}" if ge is not None else least
    return least + (f" up to {le}" if le is not None else "")


def _plain(number: float) -> str:
    return str(int(number) if number == int(number) else number)


def _structs(info: inspect.Type) -> list[inspect.StructType]:
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    plain = (kind.type if isinstance(kind, inspect.Metadata) else kind for kind in kinds)
    return [kind for kind in plain if isinstance(kind, inspect.StructType)]


def _chosen(info: inspect.Type, value: object) -> list[inspect.StructType]:
    """Give the structs that a value may be: one, where its tag says which."""
    structs = _structs(info)
    given = value if isinstance(value, dict) else {}
    return [s for s in structs if s.tag_field and given.get(s.tag_field) == s.tag] or structs


def _below(info: inspect.Type, value: Any, step: str) -> tuple[inspect.Type, Any]:
    inner: Any = value.get(step) if isinstance(value, dict) else value
    if isinstance(value, list) and step.isdigit():
        inner = value[int(step)]
    for struct in _chosen(info, value):
        for field in struct.fields:
            if field.encode_name == step:
                return field.type, inner
    item = info.type if isinstance(info, inspect.Metadata) else info
    if isinstance(item, inspect.ListType | inspect.VarTupleType):
        return item.item_type, inner
    return inspect.AnyType(), inner


def _fields(info: inspect.Type, value: object) -> Iterable[str]:
    names = (field.encode_name for struct in _chosen(info, value) for field in struct.fields)
    return dict.fromkeys((*_tag_fields(info), *names))


def _tag_fields(info: inspect.Type) -> Iterable[str]:
    return dict.fromkeys(s.tag_field for s in _structs(info) if s.tag_field)


def _tags(info: inspect.Type) -> Iterable[str]:
    return (str(struct.tag) for struct in _structs(info))
