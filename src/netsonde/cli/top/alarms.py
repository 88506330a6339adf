"""Alarms as lines of styled text: active ones first, latest first, then what has been cleared."""

from __future__ import annotations

from textwrap import wrap

from rich.text import Text

from netsonde.cli.top import draw
from netsonde.cli.top.panels import ALARM, DIM, FINE, WARN, fitted
from netsonde.cli.top.told import Told
from netsonde.model.detector import Event
from netsonde.model.text import escaped

_NARROW = 70
"""Columns below which a sentence has lines of its own."""
_MOST_LINES = 2
"""Of such a sentence."""
_MOST_HOSTS = 3


def alarms(told: Told, now_wall_ns: int, width: int, height: int) -> list[Text]:
    """List alarms in at most `height` lines; what several hosts see of one key is one alarm."""
    lines = [] if (state := _state(told)) is None else [state]
    active = [_alarm(events, now_wall_ns, width) for events in _seen_together(told)]
    shown = 0
    for alarm in active:
        # What does not fit is counted in a line of its own; an alarm is shown whole or not.
        last = shown + 1 == len(active)
        if len(lines) + len(alarm) + (not last) > height:
            break
        lines += alarm
        shown += 1
    if shown < len(active):
        more = "more active alarms" if shown else "active alarms"
        lines.append(Text(f"▲ {len(active) - shown} {more}", ALARM))
    if told.events_dropped:
        lines.append(Text(f"{told.events_dropped} older events are no longer kept", WARN))
    lines += [_cleared(event, now_wall_ns) for event in reversed(told.past)]
    return [fitted(line, width) for line in lines[:height]]


def _seen_together(told: Told) -> list[list[Event]]:
    """Give active alarms, latest first, joined where hosts see the same key."""
    joined: dict[tuple[str, str], list[Event]] = {}
    for event in reversed(told.active.values()):
        joined.setdefault((event.detector, event.key), []).append(event)
    return list(joined.values())


def _state(told: Told) -> Text | None:
    """Say how alarms stand, where they do not say it themselves."""
    if "events" in told.troubles:
        before = " (below: those of before)" if told.active else ""
        return Text(f"alarms unknown{before}: {escaped(told.troubles['events'].why)}", WARN)
    if not told.events_known:
        return Text("alarms: not told yet", DIM)
    if not told.active:
        return Text("no active alarms" if told.past else "no alarms", FINE)
    return None


def _alarm(events: list[Event], now_wall_ns: int, width: int) -> list[Text]:
    largest = max(events, key=lambda event: event.count.estimate)
    since = draw.age(now_wall_ns - min(event.wall_ns for event in events))
    hosts = sorted({event.host for event in events})
    more = f" and {len(hosts) - _MOST_HOSTS} more" if len(hosts) > _MOST_HOSTS else ""
    line = Text(f"▲ {escaped(largest.detector)} ", ALARM)
    line.append(escaped(f"{since} · {', '.join(hosts[:_MOST_HOSTS])}{more}"), "red")
    sentence = escaped(largest.sentence)
    if width >= _NARROW:
        return [line.append(f": {sentence}", "")]
    wrapped = wrap(sentence, max(8, width - 2), max_lines=_MOST_LINES, placeholder=" …")
    return [line, *(Text(f"  {part}") for part in wrapped)]


def _cleared(event: Event, now_wall_ns: int) -> Text:
    ago = draw.age(now_wall_ns - event.wall_ns)
    text = f"  {event.detector} over {ago} ago: {event.key}, peak {event.peak:,} · {event.host}"
    return Text(escaped(text), DIM)
