"""`docs/reference/limits.md` tells the numbers that the code has, and tests that there are."""

from __future__ import annotations

import ast
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

ROOMS = ("agent", "monitor", "daemon", "wire", "overlay")
"""Whose limits bound something from outside."""
LIMIT = re.compile(r"_?(MAX|MOST)_[A-Z_]+|[A-Z_]+_S")
NO_LIMITS = {
    "how long we rest before the next try or look": """
        agent.child.FIRST_PAUSE_S agent.child.LAST_PAUSE_S agent.child.REFUSED_PAUSE_S
        agent.event_flow.FIRST_PAUSE_S agent.event_flow.LAST_PAUSE_S agent.event_flow.BUSY_PAUSE_S
        agent.monitor_link.FIRST_PAUSE_S agent.monitor_link.LAST_PAUSE_S
        agent.webhooks.FIRST_PAUSE_S agent.webhooks.LAST_PAUSE_S agent.http.budget._LOOK_S
        monitor.lease._RETRY_S monitor.main._LOOK_S monitor.views._LOOK_S agent.peer_server._LOOK_S
        monitor.server.REFUSED_PAUSE_S monitor.ticker.READ_PAUSE_S monitor.upkeep._PAUSE_S
        daemon.supervisor.FIRST_PAUSE_S daemon.supervisor.CALM_S daemon.log_writer._TELL_EVERY_S""",
    "how often memory goes back to the kernel": """
        agent.http.server._GIVE_BACK_S monitor.parts._GIVE_BACK_S""",
    "how often an idle stream or connection says that it is there": """
        agent.http.streams.HEARTBEAT_S agent.peers.KEEPALIVE_S""",
    "part of how a test measures: what is late counts as lost, who is away as not reached": """
        agent.kernel_stamps.WARM_UP_S agent.kernel_stamps._MAX_DATAGRAM_BYTES
        agent.probing._CLOSE_TIMEOUT_S
        agent.probing_echo.REPLY_TIMEOUT_S agent.probing_throughput._CONNECT_TIMEOUT_S
        agent.probing_throughput._COOKIE_TIMEOUT_S agent.probing_throughput._SETTLE_S""",
    "beyond the limit of a test, so that its own end comes first": "agent.paths.MARGIN_S",
    "of replies of this host's kernel or monitor, which REPLY_S bounds too": """
        agent.routes._TIMEOUT_S agent.event_flow.GREETING_S""",
    "of one line of the log, which MAX_LINE_BYTES bounds too": """
        agent.node.MAX_LOGGED daemon.log._MAX_KIND_CHARS daemon.log_fault._MAX_FRAMES
        daemon.log_fault._MAX_CHARS daemon.log_fault._MAX_CHAIN daemon.log_fault._MAX_OF_GROUP""",
    "what the system itself allows": """
        daemon.rights._MAX_ID daemon.files._MAX_PID_BYTES""",
    "names of detectors there may be, as counted in metrics": "agent.event_flow.MAX_KINDS",
}
"""Constants that look like limits and have no row, by why."""


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
    assert named, "a limit that no test holds is a wish"
    assert [name for name in named if name not in known_tests()] == []


def constants() -> set[str]:
    """Names of every constant that looks like a limit, as the page writes them."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / "src/netsonde" / room).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT / "src/netsonde").with_suffix("").parts)
            for node in ast.parse(path.read_text()).body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                names = {one.id for one in targets if isinstance(one, ast.Name)}
                found |= {f"{module}.{name}" for name in names if LIMIT.fullmatch(name)}
    return found


def test_every_constant_that_bounds_what_comes_from_outside_has_a_row() -> None:
    told = {name for row in ROWS for name in re.findall(r"`([\w.]+)`", row[4])}
    excepted = {name for names in NO_LIMITS.values() for name in names.split()}
    assert constants() - told - excepted == set()
    assert excepted - constants() == set(), "an exception that is none any more"
    assert excepted & told == set()
