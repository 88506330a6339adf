"""Answers of the last closed tick: a question that many ask is answered once a tick."""

from __future__ import annotations

from netsonde.model.task import Question
from netsonde.recorder.questions import Answered

MOST_BYTES = 4 << 20
"""All answers that are remembered together."""


class Known:
    """Remembers answers until a tick closes, the first that come and fit."""

    def __init__(self) -> None:
        self._end = -1
        self._answers: dict[Question, Answered] = {}
        self._bytes = 0

    def get(self, end: int, question: Question) -> Answered | None:
        """Find the answer to a question that was answered when as many ticks had closed."""
        return self._answers.get(question) if end == self._end else None

    def put(self, end: int, question: Question, answered: Answered) -> None:
        """Remember an answer over the ticks up to `end`."""
        if end > self._end:
            self._end, self._answers, self._bytes = end, {}, 0
        if end == self._end and self._bytes + len(answered.part) <= MOST_BYTES:
            self._answers[question] = answered
            self._bytes += len(answered.part)
