"""Coverage: who is in an answer, in words and in a header."""

from netsonde.model.coverage import Coverage


def test_one_that_answered() -> None:
    assert Coverage.of("10.0.0.2").header() == "1/1"


def test_who_is_missing_or_late_is_named() -> None:
    both = Coverage(
        members=("10.0.0.2", "10.0.0.7", "10.0.0.4", "10.0.0.3"),
        missing={"10.0.0.7": "no answer"},
        partial={"10.0.0.4": "late"},
    )
    assert both.header() == "3/4; missing=10.0.0.7; partial=10.0.0.4"
