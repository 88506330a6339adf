"""`docs/reference/limits.md` tells the numbers that the code has, and tests that there are."""

from __future__ import annotations

import dataclasses
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/limits.md"
COLUMNS = 6
UNITS = {
    "": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "MB": 1_000_000,
    "%": 1,
    "ms": 0.001,
    "s": 1,
    "min": 60,
    "h": 3600,
}
OF_A_NAME = {"_ms": 0.001, "_ns": 1e-9, "_ticks": 0.1, "_mb": 1 << 20}
"""What a number stands for whose name ends so, in seconds or bytes."""


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] != "what"]


ROWS = rows()


def test_every_row_is_whole() -> None:
    assert len(ROWS) > 50
    assert [row for row in ROWS if len(row) != COLUMNS or not all(row)] == []
    assert len({row[0] + row[4] for row in ROWS}) == len(ROWS)


def meant(text: str) -> float:
    found = re.fullmatch(r"([\d,]*\.?\d+) ?([A-Za-z%]*)", text)
    assert found, f"{text} is no number with one of the units {', '.join(filter(None, UNITS))}"
    return float(found[1].replace(",", "")) * UNITS[found[2]]


def in_code(name: str) -> tuple[float, float | None, bool]:
    """Value of a constant or default of a setting, how far it may be set, and if it is one."""
    place, _, last = name.rpartition(".")
    kind: Any = None
    try:
        owner: Any = importlib.import_module(f"netsonde.{place}")
    except ModuleNotFoundError:
        module, _, kind = place.rpartition(".")
        owner = getattr(importlib.import_module(f"netsonde.{module}"), kind)
    scale = next((s for end, s in OF_A_NAME.items() if last.lower().endswith(end)), 1)
    if dataclasses.is_dataclass(owner):
        default = next(one.default for one in dataclasses.fields(owner) if one.name == last)
        return default * scale, None, False
    if kind is None:
        return getattr(owner, last) * scale, None, False
    field = next(one for one in msgspec.structs.fields(owner) if one.name == last)
    meta = next((one for one in getattr(field.type, "__metadata__", ())), msgspec.Meta())
    most = meta.le if meta.le is not None else meta.lt
    return field.default * scale, None if most is None else most * scale, True


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_tells_what_the_code_does(row: list[str]) -> None:
    names = re.findall(r"`([\w.]+)`", row[4])
    assert names, row[4]
    for name in names:
        default, most, is_setting = in_code(name)
        assert meant(row[1]) == pytest.approx(default), name
        if not is_setting:
            assert row[2] == "fixed", name
        elif most is None:
            assert row[2] == "none", name
        else:
            assert meant(row[2]) == pytest.approx(most), name


@cache
def known_tests() -> frozenset[str]:
    texts = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(
        name for text in texts for name in re.findall(r"^ *(?:async )?def (test_\w+)", text, re.M)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_tests_that_there_are(row: list[str]) -> None:
    named = re.findall(r"`(\w+)`", row[5])
    assert named or row[5] == "-"
    assert [name for name in named if name not in known_tests()] == []
