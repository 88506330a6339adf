"""Structs that were never JSON, checked as if they were; and what their fields may be, in words."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from netsonde.model import asked, strict
from netsonde.model.detector import Name
from netsonde.model.errors import BadField
from netsonde.model.meant import meant
from netsonde.model.resource import DetectorSpec
from netsonde.model.task import Interface


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (Annotated[int, Meta(ge=1, le=1 << 50)] | None, "a whole number, 1 to 1125899906842624"),
        (Annotated[int, Meta(ge=1)], "a whole number of at least 1"),
        (Annotated[float, Meta(gt=0, le=1)], "a number over 0 up to 1"),
        (Annotated[float, Meta(le=0.5)], "a number up to 0.5"),
        (Literal["a", "b"], "a, b"),
        (bool, "true or false"),
        (Annotated[str, Meta(max_length=9)], "text of at most 9 characters"),
        (Name, "1 to 40 of a-z, 0-9 and _, a letter first"),
        (Interface, "INPUT, OUTPUT, both"),
        (str | int, "text or a whole number"),
        (
            Annotated[tuple[asked.Share, ...], Meta(max_length=32)],
            "a list: at most 32, each a number, 0 to 1",
        ),
        (dict[str, int], ""),
    ],
)
def test_what_is_allowed_is_said_in_words(kind: object, words: str) -> None:
    assert strict.allowed(kind) == words


@pytest.mark.parametrize(
    ("made", "field", "value"),
    [
        (asked.Top(by="src", k=0), "k", 0),
        (asked.Top(by="src", share=1.5), "share", 1.5),
        (asked.Distribution(by="src", quantiles=(0.5, 2.0)), "quantiles[1]", 2.0),
        (DetectorSpec(measure="count", by="src", threshold=0), "threshold", 0),
    ],
)
def test_a_struct_is_checked_as_json_is(made: msgspec.Struct, field: str, value: object) -> None:
    with pytest.raises(BadField) as refused:
        strict.check(made)
    assert (refused.value.field, refused.value.value) == (field, value)
    strict.check(asked.Top(by="src", k=1))


def test_a_value_is_checked_by_itself() -> None:
    strict.check_field("name", "port_scan", Name)
    with pytest.raises(BadField, match=r"field 'name' is 'A b'; allowed: 1 to 40 of a-z"):
        strict.check_field("name", "A b", Name)


@pytest.mark.parametrize(
    ("field", "value", "allowed", "guess"),
    [
        ("by", "scr", "", "src"),
        ("by", "src,dst", "", "src_dst"),
        ("of", "src", "other fields", None),
        ("window", "30s", "real_time, 'last 30s'", "'last 30s'"),
        ("window", "5", "100ms to 60s, such as 5s", None),
        ("k", "1", "", None),
    ],
)
def test_what_was_meant(field: str, value: str, allowed: str, guess: str | None) -> None:
    assert meant(field, value, allowed) == guess
