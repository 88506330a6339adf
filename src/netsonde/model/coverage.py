"""Coverage: which members an answer holds, which are missing, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from netsonde.model.errors import BadField, FieldRefused, NetsondeError
from netsonde.model.number import Retry
from netsonde.model.text import (
    MAX_NAME_CHARS,
    MAX_SENTENCE_CHARS,
    AddressText,
    Text80,
    Text200,
    Text2000,
    clipped,
)

MAX_DEPTH = 32
"""Agents on a path from the root."""
MAX_MEMBERS = 20_000
"""Members that one host may know at and below itself."""
MAX_REFUSED = 64
"""Members of an answer whose refused field is told; the others' reasons say it in words."""
MAX_REASONS_BYTES = 1 << 20
"""Of all reasons of an answer, each way of not being in it whole; beyond, a reason is UNTOLD."""
UNTOLD = "with too many to tell why"
_MAX_VALUE_CHARS = 120

Members = Annotated[tuple[AddressText, ...], Meta(max_length=MAX_MEMBERS)]
Reasons = Annotated[dict[AddressText, Text200], Meta(max_length=MAX_MEMBERS)]
"""Member -> why."""


def told(reasons: Mapping[str, str]) -> dict[str, str]:
    """Give reasons that fit an answer together; every member stays named, the first keep theirs."""
    left_bytes, kept = MAX_REASONS_BYTES, {}
    for member, why in reasons.items():
        left_bytes -= len(why) if why.isascii() else len(why.encode())
        kept[member] = why if left_bytes >= 0 else UNTOLD
    return kept


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A field that was not accepted, as an error carries it between processes and hosts."""

    field: Text80
    value: Text200 | None
    """At most 120 characters of it; None: it is missing."""
    allowed: Text2000

    @classmethod
    def of(cls, error: NetsondeError) -> Refusal | None:
        """Give that of an error; None when it is not about a field."""
        if not isinstance(error, BadField | FieldRefused):
            return None
        value = None if error.value is None else clipped(str(error.value), _MAX_VALUE_CHARS)
        return cls(
            field=clipped(error.field, MAX_NAME_CHARS),
            value=value,
            allowed=clipped(error.allowed, MAX_SENTENCE_CHARS),
        )


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Members asked and how each fared; lists hold addresses, sorted when printed."""

    members: Members
    """Everyone asked, the answering host included."""
    missing: Reasons = {}
    """Member -> why it is not in the answer."""
    partial: Reasons = {}
    """Member in the answer whose data does not reach back to the start of the window -> why."""
    refused: Annotated[dict[AddressText, Refusal], Meta(max_length=MAX_REFUSED)] = {}
    """Of those missing: member -> the field of the request that it could not accept. The others
    are missing for reasons that may pass."""
    retry_after_s: Retry | None = None
    """Shortest wait after which one of those missing may answer; None: none of them has said."""

    @classmethod
    def of(cls, member: str) -> Coverage:
        """One member that answered."""
        return cls(members=(member,))

    @property
    def answered(self) -> int:
        """Number of members in the answer."""
        return len(self.members) - len(self.missing)

    def header(self) -> str:
        """Write it for the `X-Netsonde-Coverage` header: `7/8; missing=10.0.0.7`."""
        text = f"{self.answered}/{len(self.members)}"
        for name, who in (("missing", self.missing), ("partial", self.partial)):
            if who:
                text += f"; {name}={','.join(sorted(who))}"
        return text
