"""Questions checked before they are sent, so that a typo is told without anybody to ask."""

from __future__ import annotations

import msgspec

from netsonde.model import asked
from netsonde.model.asking import chosen_window, key_types
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.resource import CounterSpec
from netsonde.model.window import Window


def check(question: asked.Asked) -> None:
    """Raise BadField for what no service can accept; the service checks the rest."""
    chosen_window(question)
    if question.task is not None and question.filter is not None:
        raise BadField("task", question.task, "a task or options that choose packets, not both")
    by = getattr(question, "by", None)
    key = getattr(question, "key", None)
    if by is not None:
        kind, _ = key_types(by, getattr(question, "of", None))
        if key is not None:
            kind.parse_key(key, "key")
    elif key is not None:
        raise BadField("by", None, "the key type of the key: --by src")
    if isinstance(question, asked.Change) and question.against != "before":
        Window.parse(question.against, "against")


def behind(question: asked.Keys, key: str) -> asked.Keys:
    """Ask for the page behind a key."""
    return msgspec.structs.replace(question, after=key)


def check_counters(counters: tuple[CounterSpec, ...]) -> None:
    """Raise BadField for a counter that no task can have."""
    for counter in counters:
        KeyType.parse(counter.by, "counters")
        if counter.increment not in ("packets", "bytes"):
            written = f"{counter.by}:{counter.increment}"
            raise BadField("counters", written, "a key type, or one with :packets or :bytes")
