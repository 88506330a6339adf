"""From the bytes of a request to flat fields: a form, or a JSON object of plain values."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from netsonde.model.errors import BadField
from netsonde.model.strict import check_once

MAX_BODY_BYTES = 64 << 10
MAX_FIELDS = 32

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_OBJECT = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


def read(content_type: str, body: bytes) -> dict[str, object]:
    """Give the fields of a message; raises BadField.

    A body that begins with `{` is JSON whatever its content type says, as `curl -d` says it is a
    form; without a content type it is tried as a form.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", _FORM, _JSON):
        raise BadField("Content-Type", content_type, f"{_FORM} or {_JSON}")
    fields = _json(body) if kind == _JSON or body.lstrip()[:1] == b"{" else _form(body)
    if len(fields) > MAX_FIELDS:
        raise BadField("body", f"{len(fields)} fields", f"at most {MAX_FIELDS} fields")
    return fields


def _json(body: bytes) -> dict[str, object]:
    try:
        fields: dict[str, object] = {**_OBJECT.decode(body)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadField("body", _shown(body), f"a JSON object of plain values ({error})") from None
    check_once(body)
    return fields


def _form(body: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        allowed = f"a form such as type=query+bw&src=10.0.0.2&dst=10.0.0.5 ({error})"
        raise BadField("body", _shown(body), allowed) from None
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise BadField(name, value, "one value; the form gives the field twice")
        fields[name] = value
    return fields


def _shown(body: bytes) -> str:
    return body[:80].decode("utf-8", "replace")
