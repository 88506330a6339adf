"""What the results of the kernels say, as the page docs/reference/kernels.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

PAGE = Path(__file__).parents[2] / "docs/reference/kernels.md"
_HEAD = """\
# Kernels

`make test-kernels` boots Debian's stock kernels in a virtual machine over this machine's files and
runs there every test marked `guest`: the programs in the kernel, and for every hook a small lab
with real traffic. This page is made from what came out; do not edit it.
"""
_HOOKS = """\
A hook passes where it attaches, where it counts echo requests and a TCP transfer exactly at both
ends of a link, of a VLAN and of stacked VLANs, and where under netem's loss and delay its counts
and the agents' answers are what netem says. Where it needs a newer Linux, the monitor says so.
"""
_COLUMN = re.compile(r"test_(kernel_hooks|lab_matrix)::\w+\[(?P<hook>\w+)[\w-]*\]$")
_UNSUPPORTED = re.compile(r"(\w+) needs Linux (\S+),")


class Test(TypedDict):
    """One test on one kernel."""

    name: str
    verdict: str
    """passed, failed or skipped."""
    reason: str
    """Why, when it did not pass."""


class Result(TypedDict):
    """All tests on one kernel."""

    release: str
    tests: list[Test]


def tally(result: Result) -> dict[str, int]:
    """Count the tests by verdict."""
    return dict(Counter(test["verdict"] for test in result["tests"]))


def passed(result: Result) -> bool:
    """Say whether no test failed and some passed."""
    counts = tally(result)
    return "failed" not in counts and counts.get("passed", 0) > 0


def render(results: Mapping[str, Result]) -> str:
    """Give the page as Markdown."""
    return "\n".join([_HEAD, *_hooks(results), "", *_files(results), ""])


def _hooks(results: Mapping[str, Result]) -> list[str]:
    """Kernel x hook: every test of the hook in one cell."""
    hooks: dict[str, None] = {}
    for result in results.values():
        for test in result["tests"]:
            if found := _COLUMN.match(test["name"]):
                hooks[found["hook"]] = None
    lines = [_row("kernel", *hooks), _row(*["---"] * (len(hooks) + 1))]
    for result in results.values():
        cells = [_cell([t for t in result["tests"] if _is_of(t, hook)]) for hook in hooks]
        lines.append(_row(result["release"], *cells))
    return ["## Hooks", "", _HOOKS, *lines] if hooks else []


def _files(results: Mapping[str, Result]) -> list[str]:
    """Test x kernel, for the tests that no hook's cell holds."""
    rows: dict[str, None] = {}
    for result in results.values():
        for test in result["tests"]:
            if not _COLUMN.match(test["name"]):
                rows[_stem(test)] = None
    releases = [result["release"] for result in results.values()]
    lines = [_row("test", *releases), _row(*["---"] * (len(releases) + 1))]
    for stem in sorted(rows):
        cells = [
            _cell([test for test in result["tests"] if _stem(test) == stem])
            for result in results.values()
        ]
        lines.append(_row(stem.replace("::test_", ": ").replace("_", " "), *cells))
    return ["## All else", "", *lines]


def _cell(tests: list[Test]) -> str:
    if not tests:
        return "not run"
    failed = [test for test in tests if test["verdict"] == "failed"]
    if failed:
        return f"FAILED {len(failed)} of {len(tests)}: {failed[0]['reason']:.80}".replace("|", "/")
    ran = [test for test in tests if test["verdict"] == "passed"]
    if ran:
        return "passes" if len(ran) == len(tests) else f"passes {len(ran)} of {len(tests)}"
    reason = tests[0]["reason"]
    found = _UNSUPPORTED.search(reason)
    return f"needs Linux {found[2]}" if found else f"skipped: {reason:.80}".replace("|", "/")


def _is_of(test: Test, hook: str) -> bool:
    found = _COLUMN.match(test["name"])
    return found is not None and found["hook"] == hook


def _stem(test: Test) -> str:
    """Name of a test without its parameters."""
    return test["name"].partition("[")[0].removeprefix("test_")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
