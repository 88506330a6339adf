"""Part: what one host, or one part of the network, answers to one question, ready to be merged.

A `Summary` for questions about keys and totals, a `Series` for those about a rate over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from netsonde.model.errors import ProtocolError
from netsonde.model.task import Filter, Increment, Question
from netsonde.sketch.series import Series
from netsonde.sketch.summary import Summary

Part = Summary | Series


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    type: str


def read(data: bytes) -> Part:
    """Read what either's `to_bytes` wrote; raises ProtocolError on anything else."""
    try:
        kind = msgspec.msgpack.decode(data, type=_Kind).type
    except msgspec.DecodeError as error:
        raise ProtocolError(f"cannot read a part of an answer: {error}") from None
    if kind == "summary":
        return Summary.from_bytes(data)
    if kind == "series":
        return Series.from_bytes(data)
    raise ProtocolError(f"a part of an answer of an unknown kind {kind!r:.40}")


def alike(one: Part, other: Part) -> bool:
    """Tell whether two parts answer the same question, so that they may be merged."""
    return type(one) is type(other) and one.fingerprint == other.fingerprint


def merged(parts: Sequence[Part], limit: int) -> Part:
    """Merge parts of disjoint traffic, keeping at most `limit` keys.

    Raises ProtocolError when they answer different questions.
    """
    if not all(alike(parts[0], part) for part in parts):
        raise ProtocolError("answers to different questions cannot be merged")
    if isinstance(parts[0], Series):
        return Series.merged(cast(Sequence[Series], parts))
    return Summary.merged(cast(Sequence[Summary], parts), limit)


def fingerprint(task_filter: Filter, increment: Increment, question: Question) -> str:
    """Say what a part counts: parts that say the same may be merged, others never.

    `task_filter` and `increment` are those that were applied, the task's where there is one.
    """
    counted = f"distinct {question.of}" if question.of else str(increment)
    step = f"|{question.step_ticks}" if question.step_ticks else ""
    key = f"|{question.key.hex()}" if question.key is not None else ""
    return f"{task_filter}|{question.key_type}|{counted}|{question.window.text}{step}{key}"
