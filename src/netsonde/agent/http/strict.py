"""Bodies of `/v1` are read strictly: of the right type, every field known, or refused by its name.

A framework's own reading would take `"5"` for a number and `"nan"` for a share.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from netsonde.model.strict import read_once


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
        content_type = self.asgi_connection.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(status_code=415, detail="a body of application/json is needed")
        return read_once(value, self.kind, self.decoder)

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
