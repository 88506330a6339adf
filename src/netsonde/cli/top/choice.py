"""What the view looks at: key type, window, filter and so on, and the questions that makes.

A choice never changes; a key pressed gives another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from netsonde.cli.top import words
from netsonde.model.asked import FilterText, IncrementName, Series, Top
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.resource import TaskBody
from netsonde.model.task import Scope

KEY_TYPES = ("src", "dst", "src_dst", "dport", "proto", "src/24", "src_dst_sport_dport_proto")
"""What `k` goes through; any other is typed."""
WINDOWS = ("real_time", "last 10s", "last 60s", "last 10m")
"""What `w` goes through; of a task `total` comes before."""
MOST_KEYS = 100
"""Rows asked for on the largest screen."""

Sort = Literal["count", "doubt", "key"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of looking."""

    by: str = "src"
    increment: IncrementName = "packets"
    window: str = "last 10s"
    filter: FilterText = field(default_factory=FilterText)
    task: TaskBody | None = None
    """Whose filter and counters are looked at, instead of `filter`."""
    scope: Scope | None = None
    sort: Sort = "count"

    def top(self, k: int) -> Top:
        """Ask who has most."""
        return Top(
            by=self.by,
            increment=self.increment,
            k=k,
            window=self.window,
            scope=self.scope,
            task=None if self.task is None else self.task.id,
            filter=self.filter if self.task is None else None,
        )

    def series(self, seconds: int) -> Series:
        """Ask how much passed in each of the last seconds."""
        return Series(
            increment=self.increment,
            step="1s",
            window=f"last {seconds}s",
            scope=self.scope,
            task=None if self.task is None else self.task.id,
            filter=self.filter if self.task is None else None,
        )

    def another_key_type(self, step: int = 1) -> Choice:
        """Look at the next key type, or the one before."""
        kinds = KEY_TYPES if self.task is None else tuple(c.by for c in self.task.counters)
        return self.keyed_by(_next(kinds, self.by, step))

    def keyed_by(self, by: str) -> Choice:
        """Look at a key type; raises BadField when it is none, or none of the task's."""
        name = KeyType.parse(by.strip(), "key type").name
        if self.task is None:
            return replace(self, by=name)
        for counter in self.task.counters:
            if counter.by == name:
                return replace(self, by=name, increment=counter.increment)
        kinds = ", ".join(counter.by for counter in self.task.counters)
        raise BadField("key type", by, f"what task {self.task.id} counts: {kinds or 'nothing'}")

    def another_window(self, step: int = 1) -> Choice:
        """Look at the next window, or the one before."""
        total = ("total",) if self.task else ()
        return replace(self, window=_next(total + WINDOWS, self.window, step))

    def another_increment(self) -> Choice:
        """Look at bytes instead of packets, or back; a task's counter has its own."""
        if self.task is not None:
            return self
        return replace(self, increment="packets" if self.increment == "bytes" else "bytes")

    def another_interface(self) -> Choice:
        """Look at what goes out, or both, or what comes in; a task has its own."""
        if self.task is not None:
            return self
        names = ("INPUT", "OUTPUT", "both")
        chosen = words.read(words.write(self.filter), _next(names, self.filter.interface, 1))
        return replace(self, filter=chosen)

    def another_sort(self) -> Choice:
        """Sort rows by something else."""
        orders: dict[Sort, Sort] = {"count": "doubt", "doubt": "key", "key": "count"}
        return replace(self, sort=orders[self.sort])

    def filtered(self, text: str) -> Choice:
        """Look at what a typed filter takes; raises BadField. Leaves the task."""
        return replace(self.untasked(), filter=words.read(text, self.filter.interface))

    def tasked(self, task: TaskBody) -> Choice:
        """Look at a task; raises BadField when it counts no keys."""
        if not task.counters:
            raise BadField("task", task.id, "a task with counters; this one has totals only")
        names = [counter.by for counter in task.counters]
        counter = task.counters[names.index(self.by) if self.by in names else 0]
        return replace(self, task=task, by=counter.by, increment=counter.increment, window="total")

    def untasked(self) -> Choice:
        """Look at a filter again."""
        window = WINDOWS[1] if self.window == "total" else self.window
        return replace(self, task=None, window=window)

    def into(self, key: str) -> Choice:
        """Look into one key: what it names becomes the filter, and the rest is told apart.

        Raises BadField where the filter already says something else.
        """
        kind = KeyType.parse(self.by, "key type")
        named = dict(zip(kind.fields, key.split(","), strict=True))
        if kind.is_flow and named["sport"] == named["dport"] == "0":
            named = {field: value for field, value in named.items() if "port" not in field}
        origin = self.filter if self.task is None else self.task.filter
        kept = [word for word in words.write(origin).split() if not _sets(word, named)]
        line = " ".join([*kept, *(f"{field}={value}" for field, value in named.items())])
        chosen = words.read(line, origin.interface)
        return replace(self.untasked(), filter=chosen, by=_further(kind))

    @property
    def about(self) -> str:
        """Whose traffic it is, in words."""
        if self.task is not None:
            own = f"{self.task.filter.interface} {words.write(self.task.filter)}".strip()
            return f"task {self.task.id} ({own})"
        return f"{self.filter.interface} {words.write(self.filter) or 'all traffic'}"


def _next(kinds: tuple[str, ...], now: str, step: int) -> str:
    if not kinds:
        return now
    return kinds[(kinds.index(now) + step) % len(kinds)] if now in kinds else kinds[0]


def _sets(word: str, named: dict[str, str]) -> bool:
    """Tell whether a word of a filter says what a key says more exactly."""
    field, equals, _ = word.partition("=")
    return field in named if equals else "proto" in named and not field.startswith("ipv")


def _further(kind: KeyType) -> str:
    """Choose what to tell apart once this key type's fields are known."""
    named = {
        field
        for field, lengths in zip(kind.fields, kind.prefixes, strict=True)
        if lengths == (32, 128) or field not in ("src", "dst")
    }
    rest = (field for field in ("src", "dst", "dport", "sport") if field not in named)
    return next(rest, "src_dst_sport_dport_proto")
