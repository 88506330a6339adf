"""A whole page as lines of text for a terminal of any size: pure, so that it is tested without one.

Wide terminals have a column for alarms, hosts, drops and cost; narrow ones have a line for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

from netsonde.cli.top import draw, panels
from netsonde.cli.top.alarms import alarms
from netsonde.cli.top.choice import Choice
from netsonde.cli.top.told import NS, Told, same_top
from netsonde.model.text import escaped

WIDE = 120
"""Columns from which there is a second column."""
_SIDE = 52
_MOST_REASON = 3
"""Lines of why there is no answer."""
_MOST_CERTIFICATE = 2
_LEAST_WRAPPED = 8
_STALE_NS = 3 * NS
"""An answer older than this, and than three turns, has its age shown and is dimmed."""
KEYS = (
    ("k", "key"),
    ("w", "window"),
    ("i", "unit"),
    ("d", "side"),
    ("/", "filter"),
    ("t", "task"),
    ("p", "pause"),
    ("?", "help"),
    ("q", "quit"),
)
"""Said at the bottom; the help says all."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a page depends on."""

    url: str
    choice: Choice
    told: Told
    now_mono_ns: int
    now_wall_ns: int
    every_ns: int = NS
    paused: bool = False
    waiting: bool = False
    """Whether a question is under way."""
    retry_in_s: int = 0
    selected: str | None = None

    @property
    def age_ns(self) -> int:
        """Of the answer that is shown."""
        return self.now_mono_ns - self.told.top_mono_ns

    @property
    def stale(self) -> bool:
        """Whether what is shown is not what is chosen, or no longer true of now."""
        told = self.told
        if told.top_choice is None or not same_top(told.top_choice, self.choice):
            return True
        return self.age_ns > max(_STALE_NS, 3 * self.every_ns)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of exactly the width asked for, and which keys are on them."""

    lines: tuple[Text, ...]
    keys: tuple[str, ...]
    """Of the table's rows, in order."""
    first_row: int
    """Line of the first of them."""


def page(view: View, width: int, height: int) -> Page:
    """Draw a page; every line has `width` cells, and there are `height` lines."""
    wide = width >= WIDE
    main = width - _SIDE - 3 if wide else width
    above = [*_head(view, width), *_notices(view, width)]
    below = _foot(view, width, wide)
    room = max(0, height - len(above) - len(below))
    upper = panels.rates(view.told, main, 6 if room >= 40 else 2 if room >= 24 else 1)
    if not wide:
        most = max(1, min(8, room // 6))
        upper += alarms(view.told, view.now_wall_ns, main, most)
    rows, keys = _rows(view, main, max(0, room - len(upper)))
    left = (upper + rows)[:room]
    left += [Text(" " * main)] * (room - len(left))
    if wide:
        side = _side(view, _SIDE, room)
        left = [_joined(one, other) for one, other in zip(left, side, strict=True)]
    lines = (*above, *left, *below)[:height]
    return Page(lines, tuple(keys), len(above) + len(upper) + 1)


def _joined(left: Text, right: Text) -> Text:
    line = left.copy()
    line.append(" │ ", panels.DIM)
    line.append_text(right)
    return line


def _head(view: View, width: int) -> list[Text]:
    """Say what is looked at; the filter has a line of its own where it must."""
    chosen = view.choice
    where = view.url.removeprefix("http://")
    unit = f"{chosen.by.replace('_', ',')} by {chosen.increment}"
    name = " netsonde top · " if width >= WIDE else " "
    left = escaped(f"{name}{where} · {unit} · {chosen.window}")
    about = escaped(chosen.about)
    state = "PAUSED" if view.paused else "live"
    if "top" in view.told.troubles:
        state = "NO ANSWER" if not view.paused else state
    elif view.stale and not view.paused:
        state = "asking" if view.waiting else state
    style = "reverse bold" if state == "live" else "reverse bold yellow"
    room = max(0, width - len(state) - 2)
    fits = len(left) + len(about) + 3 <= room
    line = panels.fitted(Text(f"{left} · {about}" if fits else left), room)
    line.append(f" {state} ")
    lines = [line] if fits else [line, Text(f" {about}")]
    for each in lines:
        each.stylize(style)
    return [panels.fitted(Text("", style) + each, width) for each in lines]


def _notices(view: View, width: int) -> list[Text]:
    """Say why what is shown is not now."""
    told, lines = view.told, []
    trouble = told.troubles.get("top")
    if trouble is not None:
        since = draw.age(view.now_mono_ns - trouble.since_mono_ns)
        again = "" if view.paused else f" · next try in {view.retry_in_s} s"
        if view.waiting:
            again = " · trying"
        said = f"no answer for {since}{again}: {escaped(trouble.why)}"
        wrapped = wrap(said, max(width, _LEAST_WRAPPED), max_lines=_MOST_REASON, placeholder=" …")
        lines += [Text(line, panels.ALARM) for line in wrapped]
    if told.top is not None and view.stale:
        age = draw.age(view.age_ns)
        other = told.top_choice is not None and not same_top(told.top_choice, view.choice)
        what = _was(told.top_choice) if other and told.top_choice else "the last answer"
        slow = " · a question is under way" if view.waiting and trouble is None else ""
        lines.append(Text(f"below is {what}, of {age} ago{slow}", panels.WARN))
    return [panels.fitted(line, width) for line in lines]


def _was(choice: Choice) -> str:
    unit = f"{choice.by.replace('_', ',')} by {choice.increment}"
    return escaped(f"{unit}, {choice.window}, {choice.about}")


def _rows(view: View, width: int, height: int) -> tuple[list[Text], list[str]]:
    told = view.told
    if told.top is None:
        if "top" in told.troubles:
            return [panels.fitted(Text("nothing was answered yet", panels.DIM), width)], []
        return [panels.fitted(Text("asking ...", panels.DIM), width)], []
    detail = []
    if view.selected is not None and height > 4:
        detail = [panels.detail(told.top, view.selected, width)]
    lines, keys = panels.table(told.top, view.choice, width, height - len(detail), view.selected)
    lines += [Text(" " * width)] * (height - len(detail) - len(lines))
    lines += detail
    if view.stale:
        for line in lines:
            line.stylize(panels.DIM)
    return lines, keys


def _foot(view: View, width: int, wide: bool) -> list[Text]:
    """Give the certificate and the keys."""
    lines = []
    certificate = view.told.certificate
    if certificate is not None and width >= _LEAST_WRAPPED:
        if not wide:
            lines.append(panels.facts(certificate, width))
        style = panels.FINE if certificate.exact else ""
        said = wrap(escaped(certificate.line), width, max_lines=_MOST_CERTIFICATE)
        lines += [panels.fitted(Text(line, style), width) for line in said]
        if view.stale:
            for line in lines:
                line.stylize(panels.DIM)
    keys = Text()
    for name, what in KEYS:
        keys.append(f"{name} ", panels.HEAD)
        keys.append(f"{what}  ", panels.DIM)
    return [*lines, panels.fitted(keys, width)]


def _side(view: View, width: int, height: int) -> list[Text]:
    """Draw the second column."""
    certificate = view.told.certificate
    below: list[Text] = []
    if certificate is not None:
        below = [
            Text(""),
            Text("hosts", panels.HEAD),
            *panels.hosts(certificate, width, max(3, height // 3)),
            Text(""),
            *panels.drops(certificate),
            Text(""),
            Text("own cost, at the host where it is most", panels.HEAD),
            panels.cost(certificate),
            *panels.thinned(certificate),
        ]
        if view.stale:
            for line in below:
                line.stylize(panels.DIM)
    room = max(2, height - len(below))
    above = [Text("alarms", panels.HEAD), *alarms(view.told, view.now_wall_ns, width, room - 1)]
    lines = [panels.fitted(line, width) for line in (above + below)[:height]]
    return lines + [Text(" " * width)] * (height - len(lines))
