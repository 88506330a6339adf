"""One run of a group of sections: measured, judged, written down as results and as a page.

Exit status: 0 measured (whether or not every promise is kept: the page says so), 2 unfit machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks import machine
from benchmarks.promise import Bar, Results, verdicts

ROOT = Path(__file__).parents[1]
_RESULTS = ROOT / "benchmarks" / "results"

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[S]):
    """Sections that are run together; `S` says how much of everything a run does."""

    name: str
    """Part of the results' file name."""
    page: str
    """Markdown file in docs/reference."""
    sections: Mapping[str, Callable[[S], Any]]
    full: S
    smoke: S
    bars: Sequence[Bar]
    render: Callable[[Results], str]


def main(group: Group[S]) -> int:
    """Run the command line of a group."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{group.name}")
    parser.add_argument(
        "--smoke", action="store_true", help="everything once, tiny; writes nothing"
    )
    parser.add_argument(
        "--only", nargs="+", choices=group.sections, help="these sections; writes nothing"
    )
    arguments = parser.parse_args()
    chosen = arguments.only or list(group.sections)
    try:
        results = _measure(group, chosen, group.smoke if arguments.smoke else group.full)
    except machine.Unfit as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 2
    page = group.render(results)
    if arguments.smoke or arguments.only:
        print("sizes too small to mean anything" if arguments.smoke else "", page, sep="\n")
        return 0
    _RESULTS.mkdir(exist_ok=True)
    file = _RESULTS / f"{results['date']}-{group.name}.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "docs" / "reference" / group.page).write_text(page)
    for verdict in verdicts(group.bars, results):
        print(f"{verdict.met:24}{verdict.what}: {verdict.figure}")
    return 0


def _measure(group: Group[S], sections: Sequence[str], size: S) -> Results:
    """Run sections one after the other on this machine."""
    machine.require_fit()
    results: Results = {
        "date": time.strftime("%Y-%m-%d"),
        "scale": "smoke" if size is group.smoke else "full",
    }
    described, before = machine.describe(), machine.cpu_times()
    for name in sections:
        start_s = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        results[name] = group.sections[name](size)
        print(f"{time.monotonic() - start_s:.0f} s")
    stolen = machine.stolen_share(before, machine.cpu_times())
    load_after = machine.describe()["load_average_1min"]
    results["machine"] = {**described, "load_after": load_after, "stolen_share": stolen}
    return results
