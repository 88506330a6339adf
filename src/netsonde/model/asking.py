"""From what people wrote (`asked`) to what is applied: every field checked, or refused by name."""

from __future__ import annotations

from netsonde.model import address, port, proto
from netsonde.model.asked import Asked, FilterText
from netsonde.model.detector import Choice, Detector
from netsonde.model.device import SIDES, side_or_device
from netsonde.model.errors import BadField
from netsonde.model.flow import FlowClass
from netsonde.model.key import KeyType
from netsonde.model.resource import DetectorSpec
from netsonde.model.task import Filter, Increment, Interface
from netsonde.model.window import TICKS_PER_S, TOTAL, Window

DEFAULT_WINDOW = Window.last(100)
"""Of a question without a task: ten seconds."""
MAX_WINDOW_S = 60
"""Longest window of a detector."""
MAX_CLEAR_S = 600
"""Longest time after which an alarm is cleared."""


def checked_filter(text: FilterText) -> Filter:
    """Check a filter; raises BadField naming the field, also when it can match nothing."""
    side, device = _where(text.interface)
    wanted = Filter(
        interface=side,
        device=device,
        family=text.family,
        proto=None if text.proto is None else proto.number("proto", str(text.proto)),
        src=None if text.src is None else address.prefix("src", text.src),
        dst=None if text.dst is None else address.prefix("dst", text.dst),
        sport=_ports("sport", text.sport),
        dport=_ports("dport", text.dport),
        flow=FlowClass(text.flow),
    )
    _possible(wanted)
    return wanted


def written_filter(wanted: Filter) -> FilterText:
    """Write a filter as people do."""
    return FilterText(
        interface=wanted.device or wanted.interface.value,
        family=wanted.family,
        proto=None if wanted.proto is None else proto.name(wanted.proto),
        src=wanted.src,
        dst=wanted.dst,
        sport=wanted.sport,
        dport=wanted.dport,
        flow=wanted.flow.value,
    )


def chosen_window(asked: Asked) -> Window:
    """Read the window of a question, or give its default; raises BadField."""
    if asked.window is None:
        return DEFAULT_WINDOW if asked.task is None else TOTAL
    window = Window.parse(asked.window)
    if window == TOTAL and asked.task is None:
        raise BadField(
            "window",
            asked.window,
            "total of a task only; a filter is asked about a window such as 'last 30s'",
        )
    return window


def checked_detector(name: str, spec: DetectorSpec) -> Detector:
    """Check a detector as people write it; raises BadField naming the field."""
    chosen = checked_filter(spec.filter)
    if chosen.device is not None:
        allowed = f"{', '.join(SIDES)}: detectors watch the host's own packets"
        raise BadField("interface", chosen.device, allowed)
    detector = Detector(
        name=name,
        measure=spec.measure,
        filter=chosen,
        by=KeyType.parse(spec.by, "by").name,
        of=None if spec.of is None else KeyType.parse(spec.of, "of").name,
        increment=Increment(spec.increment),
        threshold=spec.threshold,
        factor=spec.factor,
        window_ticks=length_ticks("window", spec.window, MAX_WINDOW_S),
        clear_ratio=spec.clear_ratio,
        clear_ticks=length_ticks("clear", spec.clear, MAX_CLEAR_S),
        sentence=spec.sentence,
    )
    detector.check()
    return detector


def written_detector(choice: Choice) -> DetectorSpec:
    """Write a detector as people do."""
    detector = choice.detector
    return DetectorSpec(
        measure=detector.measure,
        by=detector.by,
        of=detector.of,
        filter=written_filter(detector.filter),
        increment=detector.increment.value,
        threshold=detector.threshold,
        factor=detector.factor,
        window=f"{detector.window_ticks / TICKS_PER_S:g}s",
        clear_ratio=detector.clear_ratio,
        clear=f"{detector.clear_ticks / TICKS_PER_S:g}s",
        sentence=detector.sentence,
        enabled=choice.enabled,
    )


def key_types(by: str, of: str | None = None) -> tuple[KeyType, KeyType | None]:
    """Read the key types of a question; raises BadField when one is no key type or they overlap."""
    kind = KeyType.parse(by, "by")
    if of is None:
        return kind, None
    counted = KeyType.parse(of, "of")
    if set(counted.fields) & set(kind.fields):
        raise BadField("of", of, f"fields that are not in by={by}")
    return kind, counted


def _where(interface: str) -> tuple[Interface, str | None]:
    """Give the sides that count, and the device that is named instead of the host."""
    chosen = side_or_device("interface", interface)
    return (Interface(chosen), None) if chosen in SIDES else (Interface.BOTH, chosen)


def length_ticks(field: str, text: str, most_s: int) -> int:
    """Read a length of time of a detector, such as `5s`; raises BadField naming `field`."""
    allowed = f"100ms to {most_s}s, such as 5s"
    try:
        ticks = Window.parse(f"last {text}", field).ticks
    except BadField:
        raise BadField(field, text, allowed) from None
    if ticks > most_s * TICKS_PER_S:
        raise BadField(field, text, allowed)
    return ticks


def _ports(field: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        value = ",".join(str(part) for part in value)
    return port.ports(field, str(value))


_WITH_PORTS = {proto.NUMBERS[name] for name in ("tcp", "udp", "dccp", "sctp", "udplite")}


def _possible(wanted: Filter) -> None:
    """Refuse a filter that no packet can pass: a typo, not a question."""
    families = {
        name: 6 if ":" in value else 4
        for name, value in (("src", wanted.src), ("dst", wanted.dst))
        if value is not None
    }
    for name, family in families.items():
        if wanted.family not in (None, family):
            value = getattr(wanted, name)
            raise BadField(name, value, f"an IPv{wanted.family} address, as family says")
    if len(set(families.values())) > 1:
        raise BadField("dst", wanted.dst, "an address of the same family as src")
    if wanted.proto is not None and wanted.proto not in _WITH_PORTS:
        for name in ("sport", "dport"):
            if getattr(wanted, name) is not None:
                raise BadField(name, getattr(wanted, name), "no ports: the protocol has none")
    if wanted.flow is FlowClass.HALF_OPEN and wanted.proto not in (None, 6):
        raise BadField("flow", wanted.flow.value, "half_open of tcp only")
