"""A filter as one types it: `tcp dport=443 src=10.0.0.0/8`, its words in any order."""

from __future__ import annotations

from difflib import get_close_matches

import msgspec

from netsonde.model import proto
from netsonde.model.asked import FilterText
from netsonde.model.asking import checked_filter
from netsonde.model.errors import BadField
from netsonde.model.flow import FlowClass
from netsonde.model.task import Interface

_FIELDS = ("interface", "family", "proto", "src", "dst", "sport", "dport", "flow")
_FAMILIES: dict[str, int] = {"4": 4, "ipv4": 4, "ip4": 4, "6": 6, "ipv6": 6, "ip6": 6}
_INTERFACES = {each.value.lower(): each.value for each in Interface}
_FLOWS = tuple(each.value for each in FlowClass)
ALLOWED = (
    "a protocol such as tcp, ipv4 or ipv6, INPUT, OUTPUT or both, and "
    "src= dst= sport= dport= proto= flow= interface="
)


def read(text: str, interface: str = "INPUT") -> FilterText:
    """Read a line of words; raises BadField naming the field, also when nothing can pass.

    `interface`: of a line that names none.
    """
    given: dict[str, str | int] = {}
    for word in text.split():
        field, value = _pair(word)
        if field in given:
            raise BadField(field, word, f"once in a filter; it was {given[field]} already")
        given[field] = value
    found = msgspec.convert({"interface": interface, **given}, FilterText)
    checked_filter(found)
    return found


def write(chosen: FilterText) -> str:
    """Write a filter as `read` takes it, without its interface; empty when everything passes."""
    words = [] if chosen.family is None else [f"ipv{chosen.family}"]
    if chosen.proto is not None:
        known = str(chosen.proto)
        named = proto.name(int(known)) if known.isdigit() else known
        words.append(f"proto={named}" if named.isdigit() else named)
    for field in ("src", "dst", "sport", "dport"):
        value = getattr(chosen, field)
        if value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            words.append(f"{field}={str(shown).replace(' ', '')}")
    if chosen.flow != "any":
        words.append(f"flow={chosen.flow}")
    return " ".join(words)


def _pair(word: str) -> tuple[str, str | int]:
    """Give the field that a word sets, and its value."""
    name, equals, value = word.partition("=")
    if not equals:
        return _bare(word)
    name = name.lower()
    if name not in _FIELDS:
        raise BadField("filter", word, _allowed(name, _FIELDS, "="))
    if not value:
        raise BadField(name, value, f"a value: {name}=...")
    if name == "interface":
        return name, _INTERFACES.get(value.lower(), value)
    if name == "family":
        return name, _one_of(name, value, _FAMILIES)
    if name == "flow" and value not in _FLOWS:
        raise BadField(name, value, ", ".join(_FLOWS))
    if name == "proto":
        return name, proto.name(proto.number(name, value))
    return name, value


def _bare(word: str) -> tuple[str, str | int]:
    lower = word.lower()
    if lower in _INTERFACES:
        return "interface", _INTERFACES[lower]
    if lower in _FAMILIES and not lower.isdigit():
        return "family", _FAMILIES[lower]
    if lower in proto.NUMBERS:
        return "proto", lower
    known = (*proto.NUMBERS, *_INTERFACES, "ipv4", "ipv6")
    raise BadField("filter", word, _allowed(lower, known))


def _one_of(field: str, value: str, known: dict[str, str] | dict[str, int]) -> str | int:
    found = known.get(value.lower())
    if found is None:
        raise BadField(field, value, ", ".join(str(each) for each in dict.fromkeys(known.values())))
    return found


def _allowed(word: str, known: tuple[str, ...], after: str = "") -> str:
    close = get_close_matches(word, known, n=1)
    return f"{close[0]}{after} perhaps, or {ALLOWED}" if close else ALLOWED
