"""How often lines of one kind may come: a burst, then one a second, and "n more" of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

BURST = 20
"""Lines of one kind that may come at once."""
A_SECOND = 1.0
"""Lines of one kind that may come each second after that."""
MAX_KINDS = 256
"""Kinds that are told apart; the others are one kind."""

Kind = tuple[str, ...]
"""Such as the level and the event of a line."""
OTHERS: Kind = ("warning", "other lines")


@dataclass(slots=True)
class _Seen:
    room: float
    at_s: float
    more: int = 0
    """Lines left out that nobody was told of."""


class Rates:
    """Decides which lines are written; any thread may ask."""

    def __init__(self, mono_s: Callable[[], float]) -> None:
        self._mono_s = mono_s
        self._lock = threading.RLock()
        self._kinds: dict[Kind, _Seen] = {}

    def let(self, kind: Kind) -> int | None:
        """Give how many lines of the kind were left out before this one; None leaves it out too."""
        with self._lock:
            now_s = self._mono_s()
            seen = self._seen(kind, now_s)
            if not self._take(seen, now_s):
                seen.more += 1
                return None
            more, seen.more = seen.more, 0
            return more

    def overdue(self) -> list[tuple[Kind, int]]:
        """Give the kinds of which lines were left out and one may come now, and how many were."""
        with self._lock:
            now_s = self._mono_s()
            found = [
                (kind, seen.more)
                for kind, seen in self._kinds.items()
                if seen.more and self._take(seen, now_s)
            ]
            for kind, _ in found:
                self._kinds[kind].more = 0
            return found

    def owed(self) -> list[tuple[Kind, int]]:
        """Give the kinds of which lines were left out since one was told, and how many were."""
        with self._lock:
            return [(kind, seen.more) for kind, seen in self._kinds.items() if seen.more]

    def _seen(self, kind: Kind, now_s: float) -> _Seen:
        seen = self._kinds.get(kind)
        if seen is None and len(self._kinds) >= MAX_KINDS:
            self._forget(now_s)
            if len(self._kinds) >= MAX_KINDS:
                kind = OTHERS
                seen = self._kinds.get(kind)
        if seen is None:
            seen = self._kinds[kind] = _Seen(BURST, now_s)
        return seen

    def _forget(self, now_s: float) -> None:
        """Forget the kinds that would be as new."""
        calm_s = now_s - BURST / A_SECOND
        self._kinds = {
            kind: seen for kind, seen in self._kinds.items() if seen.more or seen.at_s > calm_s
        }

    def _take(self, seen: _Seen, now_s: float) -> bool:
        seen.room = min(BURST, seen.room + (now_s - seen.at_s) * A_SECOND)
        seen.at_s = now_s
        if seen.room < 1:
            return False
        seen.room -= 1
        return True
