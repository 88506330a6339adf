"""Alarms as lines of styled text: active ones first, latest first, then what has been cleared."""

from __future__ import annotations

from rich.text import Text

from netsonde.cli.top import draw
from netsonde.cli.top.panels import ALARM, DIM, FINE, WARN, fitted
from netsonde.cli.top.told import Told
from netsonde.model.detector import Event

_NARROW = 70
"""Columns below which a sentence has a line of its own."""


def alarms(told: Told, now_wall_ns: int, width: int, height: int) -> list[Text]:
    """List alarms in at most `height` lines."""
    lines = [] if (state := _state(told)) is None else [state]
    active = list(reversed(told.active.values()))
    each = 2 if width < _NARROW else 1
    # What does not fit is counted in a line of its own; an alarm is shown whole or not.
    shown = min(len(active), (height - len(lines)) // each)
    if shown < len(active):
        shown = max(0, (height - len(lines) - 1) // each)
    for event in active[:shown]:
        lines += _alarm(event, now_wall_ns, each)
    if shown < len(active):
        more = "more active alarms" if shown else "active alarms"
        lines.append(Text(f"▲ {len(active) - shown} {more}", ALARM))
    if told.events_dropped:
        lines.append(Text(f"{told.events_dropped} older events are no longer kept", WARN))
    lines += [_cleared(event, now_wall_ns) for event in reversed(told.past)]
    return [fitted(line, width) for line in lines[:height]]


def _state(told: Told) -> Text | None:
    """Say how alarms stand, where they do not say it themselves."""
    if "events" in told.troubles:
        before = " (below: those of before)" if told.active else ""
        return Text(f"alarms unknown{before}: {draw.clean(told.troubles['events'].why)}", WARN)
    if not told.events_known:
        return Text("alarms: not told yet", DIM)
    if not told.active:
        return Text("no active alarms" if told.past else "no alarms", FINE)
    return None


def _alarm(event: Event, now_wall_ns: int, each: int) -> list[Text]:
    since = draw.age(now_wall_ns - event.wall_ns)
    line = Text(f"▲ {draw.clean(event.detector)} ", ALARM)
    line.append(f"{since} · {draw.clean(event.host)}", "red")
    sentence = draw.clean(event.sentence)
    if each == 1:
        return [line.append(f": {sentence}", "")]
    return [line, Text(f"  {sentence}")]


def _cleared(event: Event, now_wall_ns: int) -> Text:
    ago = draw.age(now_wall_ns - event.wall_ns)
    text = f"  {event.detector} cleared {ago} ago · {event.host}: {event.key}, peak {event.peak:,}"
    return Text(draw.clean(text), DIM)
