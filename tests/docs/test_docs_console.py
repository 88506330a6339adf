"""Sessions in the documentation print what it says they print; root, in a lab of their own."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

import pytest
from console import LAB_PROMPT, ROOT, Step, difference, run_prompt, run_shell, sessions

PAGES = sorted(
    page
    for folder in ("tutorial", "how-to")
    for page in (ROOT / "docs" / folder).glob("*.md")
    if any(sessions(page))
)


@pytest.fixture
def no_lab():
    run_shell("netsonde lab down")
    yield
    run_shell("netsonde lab down")


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="sessions begin with sudo")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
@pytest.mark.usefixtures("no_lab")
def test_a_page_s_sessions_print_what_it_says(page: Path) -> None:
    found = []
    for session in sessions(page):
        for prompt, steps in groupby(session, key=lambda step: step.prompt):
            found += _differences(prompt, list(steps))
    assert not found, "\n\n".join(found)


def _differences(prompt: str, steps: list[Step]) -> list[str]:
    commands = [step.command for step in steps]
    if prompt == LAB_PROMPT:
        printed = run_prompt(commands)
    else:
        printed = [run_shell(command) for command in commands]
    return [
        f"{prompt}{step.command}\n{what}\nprinted:\n{text}"
        for step, text in zip(steps, printed, strict=True)
        if (what := difference(step.expected, text))
    ]


def test_numbers_may_differ_and_words_may_not() -> None:
    assert difference(("a  12,345 b", "...", "end"), "a 7 b\nmore\nend") is None
    assert difference(("a 1 b",), "a 1 c") is not None
    assert difference(("a ... c",), "a 1 b c") is None
    assert difference(("a ... c",), "a 1 b d") is not None
    assert difference(("second", "first"), "first\nsecond") is not None
