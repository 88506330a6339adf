"""The parts of a page as lines of styled text, each fitted to a width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

from netsonde.cli.top import draw
from netsonde.cli.top.choice import Choice, Sort
from netsonde.cli.top.told import Told
from netsonde.model.answer import KeyCount, TopAnswer
from netsonde.model.certificate import Certificate
from netsonde.model.evidence import Evidence
from netsonde.model.text import escaped

ALARM = "bold red"
WARN = "yellow"
FINE = "green"
DIM = "dim"
HEAD = "bold"
CHOSEN = "reverse"
_BAR = "cyan"
_LEAST_BAR = 8
_MOST_BAR = 60
_LEAST_KEY = 15
_GAP = 2
TICK_MS = 100
_NOT_IP = "not_ip"


def fitted(text: Text, width: int) -> Text:
    """Cut or fill a line to exactly `width` cells."""
    line = text.copy()
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def middle_cut(text: str, width: int) -> str:
    """Leave the middle of a text out where it is too long: both ends of a key tell most."""
    if len(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{text[:left]}…{text[len(text) - (width - 1 - left) :]}"


def ordered(rows: Sequence[KeyCount], sort: Sort) -> list[KeyCount]:
    """Sort rows: by estimate, by doubt or by key."""
    if sort == "key":
        return sorted(rows, key=lambda row: row.key)
    if sort == "doubt":
        return sorted(rows, key=lambda row: (row.count.lower - row.count.upper, row.key))
    return list(rows)


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths of a table's columns, and how its counts are written."""

    key: int
    count: int
    rate: int
    share: int
    bar: int
    whole: bool

    @classmethod
    def fitting(cls, answer: TopAnswer, rows: Sequence[KeyCount], width: int) -> Columns:
        """Choose columns: counts to the last digit if a bar is left room for, else rounded."""
        keys = [len(escaped(row.key)) for row in rows]
        longest = max([len(escaped(answer.by)), *keys])
        seconds = answer.certificate.window.seconds
        rates = max(
            [6, *(len(draw.rate(r.count.estimate, seconds, answer.increment)) for r in rows)]
        )
        for exactly in (True, False):
            write = draw.whole if exactly else draw.short
            counts = max([len(answer.increment), *(len(write(row.count)) for row in rows)])
            rest = width - longest - counts - rates - 6 - 4 * _GAP
            if rest >= _LEAST_BAR:
                break
        key = longest + min(0, rest - _LEAST_BAR)
        key = max(key, min(longest, _LEAST_KEY))
        bar = max(0, min(width - key - counts - rates - 6 - 4 * _GAP, _MOST_BAR))
        return cls(key=key, count=counts, rate=rates, share=6, bar=bar, whole=exactly)


def table(
    answer: TopAnswer, choice: Choice, width: int, height: int, selected: str | None
) -> tuple[list[Text], list[str]]:
    """Draw the top keys in at most `height` lines, the first of them the header.

    Gives the lines, and the keys of those after the first.
    """
    rows = ordered(answer.rows, choice.sort)[: max(0, height - 1)]
    if selected is not None and selected not in {row.key for row in rows}:
        rows = _with(answer, choice, selected, rows)
    columns = Columns.fitting(answer, rows, width)
    most = max((row.count.upper for row in rows), default=0)
    lines = [_table_head(answer, choice, columns, width)]
    for row in rows:
        line = _row(answer, row, columns, most)
        if row.key == selected:
            line.stylize(CHOSEN)
        lines.append(fitted(line, width))
    if not rows:
        lines.append(fitted(Text("nothing passed in this window", DIM), width))
    return lines[:height], [row.key for row in rows]


def _with(answer: TopAnswer, choice: Choice, selected: str, rows: list[KeyCount]) -> list[KeyCount]:
    """Scroll so that the selected key is the last row, if it is in the answer at all."""
    every = ordered(answer.rows, choice.sort)
    at = next((place for place, row in enumerate(every) if row.key == selected), None)
    return rows if at is None or not rows else every[at + 1 - len(rows) : at + 1]


def _table_head(answer: TopAnswer, choice: Choice, columns: Columns, width: int) -> Text:
    marks = {"count": ("", "▾", ""), "doubt": ("", "±▾", ""), "key": ("▴", "", "")}[choice.sort]
    key = escaped(answer.by.replace("_", ",")) + marks[0]
    count = answer.increment + marks[1]
    gap = " " * _GAP
    line = gap.join(
        [
            middle_cut(key, columns.key).ljust(columns.key),
            count.rjust(columns.count),
            "rate".rjust(columns.rate),
            "share".rjust(columns.share),
        ]
    )
    return fitted(Text(line, HEAD), width)


def _row(answer: TopAnswer, row: KeyCount, columns: Columns, most: int) -> Text:
    gap = " " * _GAP
    write = draw.whole if columns.whole else draw.short
    seconds = answer.certificate.window.seconds
    line = Text(middle_cut(escaped(row.key), columns.key).ljust(columns.key))
    line.append(gap + write(row.count).rjust(columns.count))
    line.append(gap + draw.rate(row.count.estimate, seconds, answer.increment).rjust(columns.rate))
    part = draw.share(row.count.estimate, answer.total.estimate)
    line.append(gap + part.rjust(columns.share) + gap)
    solid, likely, possible = draw.bar(row.count, most, columns.bar)
    line.append(solid, _BAR)
    line.append(likely + possible, f"{_BAR} {DIM}")
    return line


def detail(answer: TopAnswer, key: str, width: int) -> Text:
    """Say everything of one key: to the last digit, and never cut in the middle."""
    found = next((row for row in answer.rows if row.key == key), None)
    if found is None:
        most = f"not among the largest; at most {answer.absent_upper:,} {answer.increment}"
        return fitted(Text(f"{escaped(key)}  {most}"), width)
    share = draw.share(found.count.estimate, answer.total.estimate)
    about = f"{escaped(key)}  {draw.whole(found.count)} {answer.increment}, {share}"
    return fitted(Text(f"{about} · enter looks into it", HEAD), width)


def rates(told: Told, width: int, height: int) -> list[Text]:
    """Draw how much passed each second: a line of figures, and `height` lines of a sparkline."""
    if not told.points or told.points_choice is None:
        return [fitted(Text("rate: no answer yet", DIM), width), *[Text(" " * width)] * height]
    last, first = max(told.points), min(told.points)
    points = [told.points.get(second) for second in range(max(first, last - width + 1), last + 1)]
    bounds = [None if point is None else point.count for point in points]
    in_bits = told.points_choice.increment == "bytes"
    factor, unit = (8, "bit/s") if in_bits else (1, "packets/s")
    write = draw.scaled if in_bits else draw.compact
    counts = [None if bound is None else float(bound.estimate * factor) for bound in bounds]
    known = [count for count in counts if count is not None]
    mean, peak = sum(known) / max(1, len(known)), max(known, default=0.0)
    latest = "not counted" if counts[-1] is None else write(counts[-1])
    line = Text(f"{unit}  ", HEAD)
    line.append(f"{escaped(told.points[last].begins[11:19])} {latest}")
    line.append(f" · mean {write(mean)} · peak {write(peak)} in {len(counts)} s")
    if len(known) < len(counts):
        line.append(f" · {len(counts) - len(known)} s not counted", WARN)
    in_part = sum(1 for point in points if point and point.count and not point.whole)
    if in_part:
        line.append(f" · {in_part} s in part", WARN)
    drawn = draw.spark(counts, width, height)
    return [fitted(line, width), *(Text(each, _BAR) for each in drawn)]


def hosts(certificate: Certificate, width: int, most: int) -> list[Text]:
    """Say who answered, and who did not and why, in at most `most` lines."""
    seen = certificate.coverage
    full = not seen.missing and not seen.partial
    noun = "host" if seen.asked == 1 else "hosts"
    lines = [Text(f"{seen.answered}/{seen.asked} {noun} answered", FINE if full else WARN)]
    left = len(seen.missing) + len(seen.partial)
    for what, who, style in (("missing", seen.missing, ALARM), ("partial", seen.partial, WARN)):
        for name, why in sorted(who.items()):
            said = escaped(f"{name} {what}: {why}")
            parts = wrap(said, width, max_lines=2, initial_indent="  ", subsequent_indent="    ")
            if len(lines) + len(parts) + (left > 1) > most:
                return [*lines, Text(f"  and {left} more", WARN)]
            lines += [Text(part, style) for part in parts]
            left -= 1
    return lines


def drops(certificate: Certificate) -> list[Text]:
    """Say what was seen and put into no flow, by cause, and what is in no record."""
    found = certificate.evidence
    causes = _dropped(found)
    lines = [Text("dropped by us: " + ("" if causes else "none"), WARN if causes else FINE)]
    lines += [Text(f"  {cause} {number:,}", WARN) for cause, number in causes.items()]
    if not_ip := found.drops.get(_NOT_IP):
        lines.append(Text(f"  besides {not_ip:,} not IP", DIM))
    hidden = {
        "spilled": found.spilled_packets,
        "contended": found.contended_packets,
        "thinned": found.thinned_packets,
    }
    lines += [
        Text(f"  {name} {number:,} (within the bounds)", DIM)
        for name, number in hidden.items()
        if number
    ]
    return lines


def _dropped(found: Evidence) -> dict[str, int]:
    """Give drops by cause; what is not IP belongs to no flow, and misses in none."""
    return {
        escaped(cause): number
        for cause, number in sorted(found.drops.items())
        if number and cause != _NOT_IP
    }


def cost(certificate: Certificate) -> Text:
    """Say what measuring costs where it costs most."""
    found = certificate.evidence
    line = Text(f"monitor CPU {found.cpu_ratio:.1%}, {found.rss_bytes / 1e6:.0f} MB, ")
    line.append(f"tick {found.tick_ms} ms", WARN if found.tick_ms > TICK_MS else "")
    return line


def thinned(certificate: Certificate) -> list[Text]:
    """Say where a monitor tells some flows alone, to keep within its budget."""
    one_in = certificate.evidence.told_one_in
    return [Text(f"flows of 1 in {one_in} told", WARN)] if one_in > 1 else []


def facts(certificate: Certificate, width: int) -> Text:
    """Say who answered, what was dropped and what it cost, in one line."""
    seen, found = certificate.coverage, certificate.evidence
    noun = "host" if seen.asked == 1 else "hosts"
    line = Text(f"{seen.answered}/{seen.asked} {noun}", WARN if seen.partial else FINE)
    if seen.missing:
        line = Text(escaped(f"{line.plain}, missing {', '.join(sorted(seen.missing))}"), ALARM)
    causes = _dropped(found)
    dropped = ", ".join(f"{cause} {draw.compact(number)}" for cause, number in causes.items())
    parts = [
        Text(f"dropped {dropped or 'none'}", WARN if causes else FINE),
        *thinned(certificate),
        cost(certificate),
    ]
    for part in parts:
        line.append(" · ", DIM)
        line.append_text(part)
    return fitted(line, width)
