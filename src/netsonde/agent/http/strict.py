"""Bodies of `/v1` are read strictly: of the right type, every field known, or refused by its name.

A framework's own reading would take `"5"` for a number and `"nan"` for a share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import inspect

from netsonde.model.errors import BadField

_AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")
_SHOWN_BYTES = 80


class Strict(AbstractDTO[Any]):
    """Reads a body by msgspec's own strict rules; `of` makes one for a type."""

    decoder: msgspec.json.Decoder[Any]
    kind: Any

    @classmethod
    def of(cls, kind: Any) -> type[Strict]:
        """Give the reader of bodies of a type."""
        return type("Strict", (cls,), {"kind": kind, "decoder": msgspec.json.Decoder(kind)})

    def decode_bytes(self, value: bytes) -> Any:
        """Read a body; raises BadField naming the field, its value and what is allowed."""
        content_type = self.asgi_connection.headers.get("content-type", "application/json")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(status_code=415, detail="a body of application/json is needed")
        return read(value, self.kind, self.decoder)

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        """Take every type that msgspec knows."""
        return True

    @classmethod
    def create_for_field_definition(cls, *_: object, **__: object) -> None:
        """Need no transfer model: the model's structs are read as they are."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """Describe the type itself."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema


def read(body: bytes, kind: Any, decoder: msgspec.json.Decoder[Any] | None = None) -> Any:
    """Read JSON as a type; raises BadField as `Strict.decode_bytes`."""
    try:
        try:
            return (decoder or msgspec.json.Decoder(kind)).decode(body)
        except msgspec.ValidationError as error:
            raise _refused(str(error), kind, msgspec.json.decode(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = body[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise BadField("body", shown, f"JSON ({error})") from None


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
    return BadField(path or "body", value, said)


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
