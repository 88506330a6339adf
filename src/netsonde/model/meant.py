"""What somebody who typed a value that cannot be probably meant."""

from __future__ import annotations

from difflib import get_close_matches

from netsonde.model.errors import BadField
from netsonde.model.key import FIELDS, KeyType
from netsonde.model.window import Window

_KEY_TYPES = (*FIELDS, "src_dst", "src_dport", "dst_dport", "src_dst_dport", "src/24", "dst/24")


def meant(field: str, value: str, allowed: str) -> str | None:
    """Guess a key type or a window, by field and by what is allowed there; None: no idea."""
    if field in ("by", "of", "counters"):
        joined = value.replace(",", "_").replace("-", "_")
        try:
            found = KeyType.parse(joined, field).name
            return None if found == value else found
        except BadField:
            close = get_close_matches(joined, _KEY_TYPES, n=1)
            return close[0] if close else None
    if field in ("window", "against") and "'last " in allowed:
        length = value.removeprefix("last").strip()
        try:
            return f"'{Window.parse(f'last {length}').text}'"
        except BadField:
            return None
    return None
