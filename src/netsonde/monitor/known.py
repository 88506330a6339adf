"""Answers about closed ticks: each question is answered once a tick, however many ask.

The one idea: who asks again and again, as a live view does, need not wait when a tick has closed.
What was asked in one tick is answered over the next before anybody asks; until that is done, the
answer over the tick before stands, which says by its window that it is that one.
"""

from __future__ import annotations

from netsonde.model.task import Question
from netsonde.recorder.questions import Answered

MOST_BYTES = 4 << 20
"""All answers over one tick that are remembered together."""


class Known:
    """Remembers answers over the last closed tick, and over the one before; first come, first fit.

    Guarantees: what `get` gives is over the last tick or the one before it, the latter only for a
    question that was asked since that one closed and is still `due`.
    """

    def __init__(self, end: int) -> None:
        """`end`: position after the last closed tick."""
        self._end = end
        self._answers: dict[Question, Answered] = {}
        self._former: dict[Question, Answered] = {}
        self._asked: dict[Question, None] = {}
        """Since the last tick closed; as many as there is room for answers."""
        self._due: dict[Question, None] = {}
        self._bytes = 0

    def close(self, end: int) -> None:
        """Say that a tick has closed."""
        self._former, self._due = self._answers, self._asked
        self._end, self._answers, self._asked, self._bytes = end, {}, {}, 0

    def get(self, question: Question, *, again: bool) -> Answered | None:
        """Find an answer; `again`: and answer the question ahead when the next tick has closed."""
        answered = self._answers.get(question)
        if answered is None and question in self._due:
            answered = self._former.get(question)
        if again and answered is not None:
            self._asked[question] = None
        return answered

    def put(self, end: int, question: Question, answered: Answered, *, again: bool) -> None:
        """Remember an answer over the ticks up to `end`; `again` as in `get`."""
        if end != self._end:
            return
        self._due.pop(question, None)
        if self._bytes + len(answered.part) <= MOST_BYTES:
            self._answers[question] = answered
            self._bytes += len(answered.part)
            if again:
                self._asked[question] = None

    def due(self) -> Question | None:
        """Take the next question that is to be answered before it is asked again."""
        return next(iter(self._due), None)

    def give_up(self, question: Question) -> None:
        """Answer a question no more before it is asked."""
        self._due.pop(question, None)
