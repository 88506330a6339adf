"""`python -m benchmarks.data_path`: run every section, write the results and the page.

Exit status: 0 measured (whether or not every promise is kept: the page says so), 2 unfit machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.data_path import (
    accuracy,
    bars,
    captures,
    ladder,
    machine,
    report,
    scale,
    ticks,
    traffic,
)

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
SECTIONS: dict[str, Callable[[scale.Scale], Any]] = {
    "ladder": ladder.measure,
    "traffic": traffic.measure,
    "captures": captures.measure,
    "ticks": ticks.measure,
    "accuracy": accuracy.measure,
}


def measure(sections: list[str], size: scale.Scale) -> bars.Results:
    """Run sections one after the other on this machine."""
    machine.require_fit()
    results: bars.Results = {"date": time.strftime("%Y-%m-%d"), "scale": size.name}
    described, before = machine.describe(), machine.cpu_times()
    for name in sections:
        start_s = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        results[name] = SECTIONS[name](size)
        print(f"{time.monotonic() - start_s:.0f} s")
    stolen = machine.stolen_share(before, machine.cpu_times())
    load_after = machine.describe()["load_average_1min"]
    results["machine"] = {**described, "load_after": load_after, "stolen_share": stolen}
    return results


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_path", description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="everything once, tiny; writes nothing"
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, help="these sections; writes nothing"
    )
    arguments = parser.parse_args()
    try:
        results = measure(
            arguments.only or list(SECTIONS), scale.SMOKE if arguments.smoke else scale.FULL
        )
    except machine.Unfit as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 2
    page = report.render(results)
    if arguments.smoke or arguments.only:
        print("sizes too small to mean anything" if arguments.smoke else "", page, sep="\n")
        return 0
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{results['date']}.json").write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page)
    for verdict in bars.verdicts(results):
        print(f"{verdict.met:24}{verdict.what}: {verdict.figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
