"""Questions in JSON: told apart by `ask`, and held to what each may say."""

from __future__ import annotations

import msgspec
import pytest

from netsonde.model import asked
from netsonde.model.asked import Asked, FilterText

QUESTIONS: list[Asked] = [
    asked.Count(by="src", key="10.0.0.1", increment="bytes"),
    asked.Top(by="src_dst", share=0.01, task=3),
    asked.Keys(by="src/24", limit=7, after="10.0.0.0/24"),
    asked.Distinct(by="dport", filter=FilterText(proto=6, dport=[80, "8000-8010"])),
    asked.Distribution(by="src", quantiles=(0.5, 1)),
    asked.Spreaders(window="last 5s", scope="host"),
    asked.Change(by="dst", against="last 60s"),
    asked.Series(step="100ms"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: type(one).__name__)
def test_it_is_read_as_it_was_written(question: Asked) -> None:
    assert msgspec.json.decode(msgspec.json.encode(question), type=Asked) == question


def test_one_of_each_kind_is_tried() -> None:
    assert {type(one) for one in QUESTIONS} == set(Asked.__args__)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"ask":"how much"}', "how much"),
        ('{"ask":"top"}', "by"),
        ('{"ask":"top","by":"src","k":0}', r"\$\.k"),
        ('{"ask":"top","by":"src","share":2}', r"\$\.share"),
        ('{"ask":"top","by":"src","limit":3}', "limit"),
        ('{"ask":"count","filter":{"port":80}}', "port"),
        ('{"ask":"series","step":"2s"}', r"\$\.step"),
        ('{"ask":"distribution","by":"src","quantiles":[0.5,1.5]}', r"\$\.quantiles"),
    ],
)
def test_what_no_question_says_is_named(text: str, why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.json.decode(text, type=Asked)
