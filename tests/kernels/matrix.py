"""`make test-kernels`: the kernel and lab tiers on other kernels, and the table of what came out.

    python tests/kernels/matrix.py 6.1               # one kernel; says what came out
    python tests/kernels/matrix.py --record          # all of fetch.SUITES, and keeps it

Exit status 1 when a kernel cannot be fetched, does not boot, gives no verdict, or fails a test.
Results are kept in `results.json`, one entry a kernel, and the page in docs/ is made of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import page
from boot import NotBooted, Outcome, run
from fetch import SUITES, Kernel, Unfetched, fetch

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
LOGS = REPOSITORY / "build/kernels"
# Each in a guest of its own, at once: most of the time one of a guest's processors works.
TIERS = ("kernel", "lab")
# Two: on one processor every CPU's slices would be the same, and nothing would run at once.
CPUS = 2
MEMORY_MIB = 1536
DEADLINE_S = 900
# -m: what asserts on a speed says nothing in an emulated machine.
_PYTEST = """\
cd {repository}
dmesg -n 1
export NETSONDE_TRACES={traces}
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1 NETSONDE_STOCK_KERNEL=1
.venv/bin/python -m pytest -v --color=no --durations=15 --tb=short -p no:cacheprovider \\
    -m guest -o junit_family=xunit1 --junitxml=/run/results.xml tests/{tier}
status=$?
cat /run/results.xml >&3
exit $status
"""


class _NothingRan(Exception):
    """A guest gave no results; the message says which, and where to look."""


def main(names: Sequence[str], *, record: bool) -> int:
    """Run on the kernels named, all when none is; returns the exit status."""
    LOGS.mkdir(parents=True, exist_ok=True)
    results: dict[str, page.Result | None] = {}
    for name in names or SUITES:
        results[name], sentence = _one(name)
        print(f"kernel {name}: {sentence}", flush=True)
    if record:
        _record({name: result for name, result in results.items() if result})
    return 0 if all(result and page.passed(result) for result in results.values()) else 1


def _record(results: dict[str, page.Result]) -> None:
    kept = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | results
    kept = {name: kept[name] for name in SUITES if name in kept}
    RESULTS.write_text(json.dumps(kept, indent=1))
    page.PAGE.write_text(page.render(kept))


def _one(name: str) -> tuple[page.Result | None, str]:
    """Give the result of one kernel, and a sentence about it; no result is a failure."""
    try:
        kernel = fetch(name)
        with ThreadPoolExecutor(len(TIERS)) as guests:
            parts = list(guests.map(lambda tier: _part(kernel, name, tier), TIERS))
    except (Unfetched, NotBooted, _NothingRan) as error:
        return None, f"FAILED: {error}"
    tests = [test for of_tier, _ in parts for test in of_tier]
    result: page.Result = {"release": kernel.release, "tests": tests}
    counted = ", ".join(f"{count} {what}" for what, count in page.tally(result).items())
    seconds = " and ".join(f"{seconds:.0f}" for _, seconds in parts)
    return result, f"{kernel.release}: {counted} in {seconds} s; see {_shown(name, '*')}"


def _part(kernel: Kernel, name: str, tier: str) -> tuple[list[page.Test], float]:
    """Run one tier; gives its tests and the seconds it took; raises NotBooted and _NothingRan."""
    command = _PYTEST.format(
        repository=shlex.quote(str(REPOSITORY)),
        traces=shlex.quote(os.environ.get("NETSONDE_TRACES", "")),
        tier=tier,
    )
    outcome = run(kernel, command, cpus=CPUS, memory_mib=MEMORY_MIB, deadline_s=DEADLINE_S)
    (LOGS / f"{name}-{tier}.log").write_text(outcome.console)
    shown = _shown(name, tier)
    if outcome.status is None:
        raise _NothingRan(f"no verdict after {outcome.seconds:.0f} s; {shown} has the console")
    tests = _tests(outcome)
    if not tests:
        raise _NothingRan(f"pytest ended with {outcome.status} and ran nothing; see {shown}")
    return tests, outcome.seconds


def _shown(name: str, tier: str) -> str:
    return f"{(LOGS / name).relative_to(REPOSITORY)}-{tier}.log"


def _tests(outcome: Outcome) -> list[page.Test]:
    """Read pytest's report."""
    try:
        report = ET.fromstring(outcome.results)  # noqa: S314  our own guest wrote it
    except ET.ParseError:
        return []
    return [_test(case) for case in report.iter("testcase")]


def _test(case: ET.Element) -> page.Test:
    name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
    for tag, verdict in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (found := case.find(tag)) is not None:
            return {"name": name, "verdict": verdict, "reason": _first_line(found)}
    return {"name": name, "verdict": "passed", "reason": ""}


def _first_line(found: ET.Element) -> str:
    lines: Iterable[str] = (found.get("message") or "").splitlines()
    # A path of this machine says nothing to a reader of the page.
    return re.sub(r"^\S+\.py:\d+: ", "", next(iter(lines), ""))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("names", nargs="*", metavar="KERNEL", help=f"of {', '.join(SUITES)}")
    arguments.add_argument("--record", action="store_true", help="keep the results for the page")
    given = arguments.parse_args()
    sys.exit(main(given.names, record=given.record))
