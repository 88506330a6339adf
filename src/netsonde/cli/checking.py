"""Questions checked before they are sent, so that a typo is told without anybody to ask."""

from __future__ import annotations

import msgspec

from netsonde.model import asked, strict, webhook_url
from netsonde.model.asking import MAX_CLEAR_S, MAX_WINDOW_S, chosen_window, key_types, length_ticks
from netsonde.model.detector import Name
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.resource import CounterSpec, DetectorSpec, Webhook
from netsonde.model.window import TOTAL, Window


def check(question: asked.Asked) -> None:
    """Raise BadField for what no service can accept; the service checks the rest."""
    strict.check(question)
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
        against = Window.parse(question.against, "against")
        if against == TOTAL:
            raise BadField("against", question.against, "'before', or a window in the past")


def behind(question: asked.Keys, key: str) -> asked.Keys:
    """Ask for the page behind a key."""
    return msgspec.structs.replace(question, after=key)


def check_counters(counters: tuple[CounterSpec, ...]) -> None:
    """Raise BadField for a counter that no task can have."""
    taken: set[str] = set()
    for counter in counters:
        name = KeyType.parse(counter.by, "counters").name
        if name in taken:
            raise BadField("counters", name, "each key type once")
        taken.add(name)
        if counter.increment not in ("packets", "bytes"):
            written = f"{counter.by}:{counter.increment}"
            raise BadField("counters", written, "a key type, or one with :packets or :bytes")


def check_detector(name: str, fields: dict[str, object]) -> None:
    """Raise BadField for fields that no detector can have, whatever its others are."""
    strict.check_field("name", name, Name)
    neutral = DetectorSpec(measure="count", by="src", threshold=1)
    strict.check(msgspec.structs.replace(neutral, **fields))
    for field, most_s in (("window", MAX_WINDOW_S), ("clear", MAX_CLEAR_S)):
        if field in fields:
            length_ticks(field, str(fields[field]), most_s)
    for field in ("by", "of"):
        if field in fields:
            KeyType.parse(str(fields[field]), field)


def check_webhook(name: str, to: str, detectors: tuple[str, ...]) -> None:
    """Raise BadField for what no webhook can be."""
    strict.check_field("name", name, Name)
    for each in detectors:
        strict.check_field("detector", each, Name)
    url = next(field for field in msgspec.structs.fields(Webhook) if field.name == "url")
    strict.check_field("to", to, url.type)
    webhook_url.parse(to, "to")
