"""The prototype's messages: flat fields, as a form or a JSON object gives them, to typed requests.

The one idea: a message is read completely or refused completely. Every field is known, needed or
named in a refusal, so a typo cannot quietly configure something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import msgspec

from netsonde.model import address, proto
from netsonde.model.device import side_or_device
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.task import MAX_ID, Counter, Filter, Increment, Interface, Scope
from netsonde.model.text import MAX_LINE_CHARS
from netsonde.model.window import REAL_TIME, TOTAL, Window

ProbeKind = Literal["bw", "jitter", "delay", "loss"]

Fields = Mapping[str, object]
"""Field name -> value: text from a form; text, number or anything else from JSON."""

T = TypeVar("T")

_SketchId = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

_INCREMENTS = {
    "pkt": Increment.PACKETS,
    "packet": Increment.PACKETS,
    "packets": Increment.PACKETS,
    "byte": Increment.BYTES,
    "bytes": Increment.BYTES,
}
_KEY_NUMBERS = {"key_num": TOTAL, "real_time_key_num": REAL_TIME}


class ConfigSketch(msgspec.Struct, frozen=True, kw_only=True):
    """`config sketch`: a new task; answered with its id."""

    filter: Filter
    scope: Scope | None


class ConfigSketchCounter(msgspec.Struct, frozen=True, kw_only=True):
    """`config sketch counter`: a counter for a task."""

    sketch_id: int
    counter: Counter
    scope: Scope | None


class QueryHeavyHitters(msgspec.Struct, frozen=True, kw_only=True):
    """`query heavy hitters`: keys over the counter's threshold at some host."""

    sketch_id: int
    key_type: str
    scope: Scope | None


class QuerySketch(msgspec.Struct, frozen=True, kw_only=True):
    """`query sketch`: the count of one key, or the number of distinct keys when `key` is None."""

    sketch_id: int
    key_type: str
    key: bytes | None
    """Masked 40-byte key."""
    window: Window
    scope: Scope | None


class QueryRealTimeCounter(msgspec.Struct, frozen=True, kw_only=True):
    """`query real time counter`: all keys of the last second."""

    sketch_id: int
    key_type: str
    scope: Scope | None


class ConfigCounter(msgspec.Struct, frozen=True, kw_only=True):
    """`config counter`: total packets and bytes of a filter."""

    filter: Filter
    scope: Scope | None


class QueryCounter(msgspec.Struct, frozen=True, kw_only=True):
    """`query counter`: the totals of a counter configured with this very filter."""

    filter: Filter
    scope: Scope | None


class ProbePath(msgspec.Struct, frozen=True, kw_only=True):
    """`query bw`, `jitter`, `delay`, `loss`: an active measurement from src to dst."""

    kind: ProbeKind
    src: str
    dst: str
    scope: Scope | None
    """Accepted as on every message; a path does not depend on it."""


class AddLeafAgent(msgspec.Struct, frozen=True, kw_only=True):
    """`add leaf agent`: makes the agent at that address a child of this one."""

    agent_addr: str
    scope: Scope | None


class RemoveLeafAgent(msgspec.Struct, frozen=True, kw_only=True):
    """`remove leaf agent`: that agent is no child of this one any more."""

    agent_addr: str
    scope: Scope | None


class LeaveParent(msgspec.Struct, frozen=True, kw_only=True):
    """`leave parent`: this agent is no child any more."""

    scope: Scope | None


class QueryLeafAgents(msgspec.Struct, frozen=True, kw_only=True):
    """`query leaf agents`: the children of this agent."""

    scope: Scope | None


LegacyRequest = (
    ConfigSketch
    | ConfigSketchCounter
    | QueryHeavyHitters
    | QuerySketch
    | QueryRealTimeCounter
    | ConfigCounter
    | QueryCounter
    | ProbePath
    | AddLeafAgent
    | RemoveLeafAgent
    | LeaveParent
    | QueryLeafAgents
)


def parse(fields: Fields) -> LegacyRequest:
    """Read one message; raises BadField naming the field, its value and what is allowed."""
    kind = fields.get("type")
    layout = _LAYOUTS.get(kind) if isinstance(kind, str) else None
    if layout is None:
        raise BadField("type", kind, f"one of {', '.join(_LAYOUTS)}")
    known = (*layout.fields, "scope")
    for name, value in fields.items():
        if _is_long(value):
            raise BadField(name, value, f"at most {MAX_LINE_CHARS} characters")
        if name not in known and name not in layout.ignored and name != "type":
            raise BadField(name, value, f"the fields of '{kind}', which are {', '.join(known)}")
    return layout.read(fields)


def _is_long(value: object) -> bool:
    """Tell what is over MAX_LINE_CHARS, before anything reads it: a number by its bits."""
    if isinstance(value, int):
        return value.bit_length() > 64
    return isinstance(value, str) and len(value) > MAX_LINE_CHARS


def _text(fields: Fields, name: str, allowed: str) -> str:
    """Read a text; JSON may also give a whole number where a text of digits is allowed."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadField(name, value, allowed)
    return value


def _choice(fields: Fields, name: str, choices: Mapping[str, T], default: T) -> T:
    if name not in fields:
        return default
    allowed = ", ".join(choices)
    value = _text(fields, name, allowed)
    if value.lower() not in choices:
        raise BadField(name, value, allowed)
    return choices[value.lower()]


def _scope(fields: Fields) -> Scope | None:
    scopes: dict[str, Scope | None] = {"host": "host", "subtree": "subtree"}
    return _choice(fields, "scope", scopes, None)


def _sketch_id(fields: Fields) -> int:
    value = fields.get("sketch_id")
    try:
        return msgspec.convert(value, _SketchId, strict=False)
    except msgspec.ValidationError:
        raise BadField("sketch_id", value, f"a whole number from 0 to {MAX_ID}") from None


def _threshold(fields: Fields) -> float:
    value = fields.get("hitter_threshold", 0.1)
    try:
        return msgspec.convert(value, _Share, strict=False)
    except msgspec.ValidationError:
        raise BadField("hitter_threshold", value, "a share from 0 to 1 such as 0.1") from None


def _key_type(fields: Fields) -> KeyType:
    return KeyType.parse(_text(fields, "counter_key_type", "a key type such as src_dst"))


def _prefix(fields: Fields, name: str) -> str | None:
    if name not in fields:
        return None
    return address.prefix(name, _text(fields, name, "an address or prefix such as 10.0.0.0/24"))


def _where(fields: Fields) -> tuple[Interface, str | None]:
    """Read `interface`: a side of the host in any case, or the name of a device."""
    sides = {"input": Interface.INPUT, "output": Interface.OUTPUT, "both": Interface.BOTH}
    allowed = "INPUT, OUTPUT, both, or a device's name"
    text = _text(fields, "interface", allowed) if "interface" in fields else "input"
    side = sides.get(text.lower())
    return (side, None) if side else (Interface.BOTH, side_or_device("interface", text))


def _filter(fields: Fields) -> Filter:
    protocol = _text(fields, "proto", "a protocol such as tcp") if "proto" in fields else None
    side, device = _where(fields)
    return Filter(
        interface=side,
        device=device,
        proto=None if protocol is None else proto.number("proto", protocol),
        src=_prefix(fields, "src"),
        dst=_prefix(fields, "dst"),
    )


def _config_sketch(fields: Fields) -> ConfigSketch:
    return ConfigSketch(filter=_filter(fields), scope=_scope(fields))


def _config_sketch_counter(fields: Fields) -> ConfigSketchCounter:
    counter = Counter(
        key_type=_key_type(fields).name,
        increment=_choice(fields, "increment", _INCREMENTS, Increment.PACKETS),
        hitter_threshold=_threshold(fields),
    )
    return ConfigSketchCounter(sketch_id=_sketch_id(fields), counter=counter, scope=_scope(fields))


def _query_heavy_hitters(fields: Fields) -> QueryHeavyHitters:
    return QueryHeavyHitters(
        sketch_id=_sketch_id(fields), key_type=_key_type(fields).name, scope=_scope(fields)
    )


def _query_sketch(fields: Fields) -> QuerySketch:
    key_type = _key_type(fields)
    value = _text(fields, "counter_key", "a key of the key type, key_num or real_time_key_num")
    window = _KEY_NUMBERS.get(value)
    return QuerySketch(
        sketch_id=_sketch_id(fields),
        key_type=key_type.name,
        key=None if window else key_type.parse_key(value),
        window=window or TOTAL,
        scope=_scope(fields),
    )


def _query_real_time_counter(fields: Fields) -> QueryRealTimeCounter:
    return QueryRealTimeCounter(
        sketch_id=_sketch_id(fields), key_type=_key_type(fields).name, scope=_scope(fields)
    )


def _config_counter(fields: Fields) -> ConfigCounter:
    return ConfigCounter(filter=_filter(fields), scope=_scope(fields))


def _query_counter(fields: Fields) -> QueryCounter:
    return QueryCounter(filter=_filter(fields), scope=_scope(fields))


def _host(fields: Fields, name: str) -> str:
    return address.host(name, _text(fields, name, "one address such as 10.0.0.5"))


def _probe_path(kind: ProbeKind) -> Callable[[Fields], ProbePath]:
    def read(fields: Fields) -> ProbePath:
        src, dst = _host(fields, "src"), _host(fields, "dst")
        if src == dst:
            raise BadField("dst", dst, "another host than src")
        return ProbePath(kind=kind, src=src, dst=dst, scope=_scope(fields))

    return read


def _add_leaf_agent(fields: Fields) -> AddLeafAgent:
    return AddLeafAgent(agent_addr=_host(fields, "agent_addr"), scope=_scope(fields))


def _remove_leaf_agent(fields: Fields) -> RemoveLeafAgent:
    return RemoveLeafAgent(agent_addr=_host(fields, "agent_addr"), scope=_scope(fields))


def _leave_parent(fields: Fields) -> LeaveParent:
    return LeaveParent(scope=_scope(fields))


def _query_leaf_agents(fields: Fields) -> QueryLeafAgents:
    return QueryLeafAgents(scope=_scope(fields))


@dataclass(frozen=True, slots=True)
class _Layout:
    read: Callable[[Fields], LegacyRequest]
    fields: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Fields that the prototype's own scripts send and that mean nothing here."""


_FILTER = ("interface", "proto", "src", "dst")
_COUNTER = ("sketch_id", "counter_key_type")
_PATH = ("src", "dst")

_LAYOUTS = {
    "config sketch": _Layout(
        _config_sketch, _FILTER, ("counter_key_type", "target", "queue number")
    ),
    "config sketch counter": _Layout(
        _config_sketch_counter, (*_COUNTER, "increment", "hitter_threshold")
    ),
    "query heavy hitters": _Layout(_query_heavy_hitters, _COUNTER),
    "query sketch": _Layout(_query_sketch, (*_COUNTER, "counter_key")),
    "query real time counter": _Layout(_query_real_time_counter, _COUNTER),
    "query bw": _Layout(_probe_path("bw"), _PATH, ("mode",)),
    "query jitter": _Layout(_probe_path("jitter"), _PATH, ("mode",)),
    "query delay": _Layout(_probe_path("delay"), _PATH, ("mode",)),
    "query loss": _Layout(_probe_path("loss"), _PATH, ("mode",)),
    "config counter": _Layout(_config_counter, _FILTER, ("target",)),
    "query counter": _Layout(_query_counter, _FILTER, ("target",)),
    "add leaf agent": _Layout(_add_leaf_agent, ("agent_addr",)),
    "remove leaf agent": _Layout(_remove_leaf_agent, ("agent_addr",)),
    "leave parent": _Layout(_leave_parent),
    "query leaf agents": _Layout(_query_leaf_agents),
}
