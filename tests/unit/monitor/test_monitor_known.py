"""Answers are remembered until a tick closes, and no more than there is room for."""

from __future__ import annotations

import pytest

from netsonde.model.evidence import Evidence
from netsonde.model.task import Question
from netsonde.monitor import known
from netsonde.monitor.known import Known
from netsonde.recorder.questions import Answered

EVIDENCE = Evidence(software={}, hooks={}, first_tick=0, last_tick=0)
ONE, OTHER = Question(key_type="src"), Question(key_type="dst")
ANSWER = Answered(part=b"12345", evidence=EVIDENCE)


def test_an_answer_stands_until_a_tick_closes() -> None:
    answers = Known()
    answers.put(7, ONE, ANSWER)
    assert answers.get(7, ONE) is ANSWER
    assert answers.get(7, OTHER) is None
    assert answers.get(8, ONE) is None


def test_an_answer_that_came_too_late_is_not_remembered() -> None:
    answers = Known()
    answers.put(8, OTHER, ANSWER)
    answers.put(7, ONE, ANSWER)
    assert answers.get(8, ONE) is None
    assert answers.get(8, OTHER) is ANSWER


def test_answers_are_remembered_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_BYTES", 9)
    answers = Known()
    answers.put(7, ONE, ANSWER)
    answers.put(7, OTHER, ANSWER)
    assert answers.get(7, OTHER) is None
    answers.put(8, OTHER, ANSWER)
    assert answers.get(8, OTHER) is ANSWER
