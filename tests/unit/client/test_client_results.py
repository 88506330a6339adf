"""Answers as people and data frames have them."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
import sample_answers

from netsonde import client
from netsonde.client import frames, html, text
from netsonde.client.results import Result
from netsonde.client.sheet import Sheet, sheet
from netsonde.model import answer


def result(verb: str) -> Result:
    found: Result = msgspec.json.decode(
        msgspec.json.encode(sample_answers.ALL[verb]),
        type=Result,  # type: ignore[arg-type] # a union is a type to msgspec
    )
    return found


def test_there_is_one_of_each_kind() -> None:
    kinds = {type(each) for each in sample_answers.ALL.values()}
    assert kinds == set(answer.Answer.__args__)


@pytest.mark.parametrize("verb", sample_answers.ALL)
def test_a_result_is_its_answer(verb: str) -> None:
    found = result(verb)
    assert isinstance(found, type(sample_answers.ALL[verb]))
    assert msgspec.json.encode(found) == msgspec.json.encode(sample_answers.ALL[verb])


@pytest.mark.parametrize("verb", sample_answers.ALL)
def test_a_result_shows_itself_with_its_certificate(verb: str) -> None:
    found = result(verb)
    lines = repr(found).splitlines()
    assert lines[-1] == found.certificate.line
    assert max(map(len, lines)) <= 80
    assert found.certificate.line in found._repr_html_()


def test_a_table_of_the_largest_keys() -> None:
    assert repr(result("top")).splitlines()[:4] == [
        "src,dport                     packets  share",
        "10.0.0.6,443  12,345 [12,000..12,400]  61.7%  ██████████████████████████████████",
        "10.0.0.9,53       17                   <0.1%  ▏",
        "20,000 packets in all; any other key has at most 5 packets",
    ]


def test_what_was_not_counted_is_no_zero() -> None:
    found = result("series")
    assert "not counted" in repr(found)
    assert "at least 2 [1..9]" in repr(found)
    assert found.columns()["estimate"] == [1000, None, 2]
    frame = found.to_pandas()
    assert frame["estimate"].isna().tolist() == [False, True, False]
    assert found.to_polars()["estimate"].to_list() == [1000, None, 2]


def test_a_stretch_that_nobody_counted_is_one_row() -> None:
    gap = sample_answers.SERIES.points[1]
    later = msgspec.structs.replace(gap, begins="2025-11-24T12:04:59.2Z")
    series = msgspec.structs.replace(sample_answers.SERIES, points=(gap, gap, later))
    assert sheet(series).rows == (("12:04:22 to 12:04:59", "not counted"),)


def test_a_change_has_its_sign() -> None:
    shown = repr(result("change"))
    assert "+1,000" in shown
    assert "-90" in shown
    assert "any other key has at most 7 packets more or fewer" in shown
    assert "before: exact" in shown


def test_text_from_outside_is_escaped() -> None:
    drawn = html.table(Sheet(("<b>",), (("<script>",),), ("<i>",)), "<u>")
    assert not any(tag in drawn for tag in ("<b>", "<script>", "<i>", "<u>"))


def test_a_notebook_does_not_keep_more_than_is_read() -> None:
    rows = tuple((str(number), "1") for number in range(html.MAX_ROWS + 5))
    drawn = html.table(Sheet(("key", "packets"), rows), "")
    assert drawn.count("<tr>") == html.MAX_ROWS + 1
    assert "5 more rows" in drawn


@pytest.mark.parametrize(
    ("value", "drawn"), [(0.0, ""), (1e-9, "▏"), (0.5, "██"), (0.53125, "██▏"), (1.0, "████")]
)
def test_a_bar_shows_all_that_is_not_nothing(value: float, drawn: str) -> None:
    assert text.bar(value, 4) == drawn


def test_an_empty_answer_says_so() -> None:
    empty = msgspec.structs.replace(sample_answers.SPREADERS, rows=())
    assert sheet(empty).notes == ("there is no key",)
    assert text.lines(sheet(empty)) == ["src  distinct dst,dport"]


def test_keys_have_a_column_for_each_part() -> None:
    found = result("top")
    frame = found.to_pandas()
    assert list(frame.columns) == ["src", "dport", "lower", "estimate", "upper", "share"]
    assert frame["dport"].tolist() == [443, 53]
    assert frame["estimate"].sum() == 12_362
    assert found.to_polars().columns == list(frame.columns)


@pytest.mark.parametrize("verb", sample_answers.ALL)
def test_columns_have_one_length(verb: str) -> None:
    found = result(verb)
    lengths = {len(values) for values in found.columns().values()}
    assert len(lengths) == 1
    assert len(found.to_pandas()) == len(found.to_polars()) == lengths.pop()


def test_times_are_times() -> None:
    begins = result("series").to_pandas()["begins"]
    assert begins[0].isoformat() == "2025-11-24T12:04:21.200000+00:00"
    assert result("series").to_polars()["begins"][0].isoformat() == begins[0].isoformat()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_missing_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(client.MissingLibrary, match=f"pip install {library}"):
        getattr(frames, f"to_{library}")(sample_answers.TOP)


def test_what_is_public_is_there_and_sorted() -> None:
    assert client.__all__ == sorted(client.__all__)
    assert all(hasattr(client, name) for name in client.__all__)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = client.nothing_of_ours


def test_showing_answers_costs_no_http_library() -> None:
    code = (
        "import sys, netsonde.client.results; "
        "print(*(name for name in ('httpx', 'anyio', 'pandas', 'polars') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
