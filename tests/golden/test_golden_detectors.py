"""Built-in detectors on the shared captures: attacks are named, and the page says how many."""

from __future__ import annotations

import re

import detectors_page as page
import pytest
from traces import traces_folder

from netsonde.model.detectors import BUILTIN


@pytest.fixture(scope="module")
def judged() -> list[page.Verdict]:
    folder = traces_folder()
    if folder is None:
        pytest.skip("the shared captures are not here")
    return page.verdicts(folder)


def part(name: str) -> str:
    found = re.search(f"<!-- {name} -->\n(.*)\n<!-- end {name} -->", page.PAGE.read_text(), re.S)
    assert found, f"no {name} in {page.PAGE}"
    return found[1]


def test_the_page_lists_the_detectors_as_they_are() -> None:
    assert part("built-in detectors") == page.builtin_table(BUILTIN)
    text = page.PAGE.read_text()
    for detector in BUILTIN:
        assert f"### `{detector.name}`" in text, f"nothing is said of {detector.name}"


def test_the_page_says_what_came_out(judged: list[page.Verdict]) -> None:
    assert part("verdicts") == page.verdict_table(judged)
    assert part("sentences") == page.sentences(judged)


def test_every_attack_is_named_and_nobody_else(judged: list[page.Verdict]) -> None:
    for one in judged:
        assert one.met == one.known, one
        if one.name in page.ATTACKS:
            assert not one.false, one.false
            # The evidence shows the culprit, or some of many.
            for event in one.right:
                assert event.count.exact
                assert event.count.lower >= event.threshold
                assert event.evidence
                assert event.sources
                assert event.ports


def test_ordinary_traffic_is_left_alone(judged: list[page.Verdict]) -> None:
    false = {one.name: len(one.false) for one in judged if one.false}
    # A load test of a name server, and a browser whose whole traffic goes through one proxy.
    assert false == {"dns-udp-tcp-random": 1, "mix-apps": 1}
