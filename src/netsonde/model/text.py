"""Texts from outside: how long they may be, and how they are shown.

The one idea: a text that crosses a process has a type with a length, so that no sum of them can
outgrow what carries it; and whoever shows one to a person, on a terminal or in a log, shows it
`escaped`. Whoever makes one for others cuts it to its type with `clipped`, since a reader refuses
what is longer.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_ADDRESS_CHARS = 45
"""Of an IPv6 address in any form of text; INET6_ADDRSTRLEN less its end."""

MAX_NAME_CHARS = 80
MAX_LINE_CHARS = 200
MAX_SENTENCE_CHARS = 2000

AddressText = Annotated[str, Meta(max_length=MAX_ADDRESS_CHARS)]
"""An address, such as a member's name."""
Text80 = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
"""A name: of a field, a key type, a hook, a version, a prefix."""
Text200 = Annotated[str, Meta(max_length=MAX_LINE_CHARS)]
"""A sentence about one thing, such as why a member is missing; a list of ports; a key."""
Text2000 = Annotated[str, Meta(max_length=MAX_SENTENCE_CHARS)]
"""A sentence that repeats what it is about, such as what an error says."""

_CUT = "..."


def clipped(text: str, most: int) -> str:
    """Cut a text to `most` characters, its end marked where something is gone.

    Lone surrogates, which no frame can carry, are escaped on the way.
    """
    carried = text.encode("utf-8", "backslashreplace").decode() if not text.isascii() else text
    return carried if len(carried) <= most else carried[: most - len(_CUT)] + _CUT


def escaped(text: str, keep: str = "") -> str:
    """Write what steers a terminal, breaks a line, turns or hides text as `repr` does.

    These are control characters (C0, C1), line and paragraph ends, marks of direction and other
    invisible ones, lone surrogates, blanks that are not a space, and what Unicode has not
    assigned. Characters in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else repr(letter)[1:-1] for letter in text
    )


def json_text(encoded: bytes) -> str:
    """Write JSON so that no text in it steers a terminal: it reads back as the same."""
    text = encoded.decode()
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _in_json(letter) for letter in text)


def _in_json(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
