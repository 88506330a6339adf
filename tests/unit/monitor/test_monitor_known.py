"""Answers over closed ticks are remembered for a tick, made ahead, and no more than fit."""

from __future__ import annotations

import pytest

from netsonde.model.evidence import Evidence
from netsonde.model.task import Question
from netsonde.monitor import known
from netsonde.monitor.known import Known
from netsonde.recorder.questions import Answered

EVIDENCE = Evidence(software={}, hooks={}, first_tick=0, last_tick=0)
ONE, OTHER = Question(key_type="src"), Question(key_type="dst")
ANSWER, NEXT = (Answered(part=part, evidence=EVIDENCE) for part in (b"12345", b"67890"))


def test_an_answer_stands_until_a_tick_closes() -> None:
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=False)
    assert answers.get(ONE, again=False) is ANSWER
    assert answers.get(OTHER, again=False) is None
    answers.close(8)
    assert answers.get(ONE, again=False) is None
    assert answers.due() is None


def test_what_is_asked_again_stands_until_the_next_answer_is_made() -> None:
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=True)
    answers.close(8)
    assert answers.get(ONE, again=True) is ANSWER
    assert answers.due() == ONE
    answers.put(8, ONE, NEXT, again=False)
    assert answers.get(ONE, again=True) is NEXT
    assert answers.due() is None


def test_no_answer_stands_for_two_ticks() -> None:
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=True)
    answers.close(8)
    assert answers.get(ONE, again=True) is ANSWER
    answers.close(9)
    assert answers.due() == ONE
    assert answers.get(ONE, again=True) is None
    answers.put(8, ONE, ANSWER, again=True)
    assert answers.get(ONE, again=True) is None, "it came too late"
    assert answers.due() == ONE


def test_what_nobody_asks_any_more_is_not_made_ahead() -> None:
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=True)
    answers.close(8)
    answers.put(8, ONE, NEXT, again=False)
    answers.close(9)
    assert answers.due() is None
    assert answers.get(ONE, again=True) is None


def test_what_cannot_be_answered_ahead_does_not_stand() -> None:
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=True)
    answers.close(8)
    answers.give_up(ONE)
    assert answers.due() is None
    assert answers.get(ONE, again=True) is None


def test_answers_are_remembered_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_BYTES", 9)
    answers = Known(7)
    answers.put(7, ONE, ANSWER, again=True)
    answers.put(7, OTHER, ANSWER, again=True)
    assert answers.get(OTHER, again=True) is None
    answers.close(8)
    assert answers.due() == ONE
    answers.put(8, OTHER, ANSWER, again=True)
    assert answers.get(OTHER, again=True) is ANSWER
    answers.put(8, ONE, ANSWER, again=False)
    assert answers.due() is None, "there is no room for it"
