"""`make test-kernels`: the kernel and lab tiers on other kernels, and the table of what came out.

    python tests/kernels/matrix.py            # all of fetch.SUITES, two machines at a time
    python tests/kernels/matrix.py 6.1        # one

Exit status 1 when a kernel cannot be fetched, does not boot, gives no verdict, or fails a test.
The results are kept in `results.json`, one entry a kernel, and the page in docs/ is made of them.
"""

from __future__ import annotations

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
from fetch import SUITES, Unfetched, fetch

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
LOGS = REPOSITORY / "build/kernels"
MACHINES = 2
MEMORY_MIB = 1536
DEADLINE_S = 1500
# -m: what asserts on a speed says nothing in an emulated machine.
_PYTEST = """\
cd {repository}
dmesg -n 1
export NETSONDE_TRACES={traces}
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1 NETSONDE_STOCK_KERNEL=1
.venv/bin/python -m pytest -p no:cacheprovider -m guest --junitxml=/run/results.xml tests
status=$?
cat /run/results.xml >&3
exit $status
"""


def main(names: Sequence[str]) -> int:
    """Run on the kernels named, all when none is; returns the exit status."""
    wanted = list(names) or list(SUITES)
    LOGS.mkdir(parents=True, exist_ok=True)
    machines = min(MACHINES, len(wanted))
    with ThreadPoolExecutor(machines) as pool:
        # One machine alone has both processors; two share them.
        verdicts = list(pool.map(lambda name: _one(name, MACHINES // machines), wanted))
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, (result, _) in zip(wanted, verdicts, strict=True):
        if result:
            kept[name] = result
    RESULTS.write_text(json.dumps({name: kept[name] for name in SUITES if name in kept}, indent=1))
    page.PAGE.write_text(page.render(kept))
    for name, (_, sentence) in zip(wanted, verdicts, strict=True):
        print(f"kernel {name}: {sentence}")
    return 0 if all(result and page.passed(result) for result, _ in verdicts) else 1


def _one(name: str, cpus: int) -> tuple[page.Result | None, str]:
    """Give the result of one kernel, and a sentence about it; no result is a failure."""
    try:
        kernel = fetch(name)
        command = _PYTEST.format(
            repository=shlex.quote(str(REPOSITORY)),
            traces=shlex.quote(os.environ.get("NETSONDE_TRACES", "")),
        )
        outcome = run(kernel, command, cpus=cpus, memory_mib=MEMORY_MIB, deadline_s=DEADLINE_S)
    except (Unfetched, NotBooted) as error:
        return None, f"FAILED: {error}"
    log = LOGS / f"{name}.log"
    log.write_text(outcome.console)
    shown = log.relative_to(REPOSITORY)
    if outcome.status is None:
        return None, f"FAILED: no verdict after {outcome.seconds:.0f} s; {shown} has the console"
    tests = _tests(outcome)
    if not tests:
        return None, f"FAILED: pytest ended with {outcome.status} and ran nothing; see {shown}"
    result: page.Result = {"release": kernel.release, "tests": tests}
    counted = ", ".join(f"{count} {what}" for what, count in page.tally(result).items())
    return result, f"{kernel.release}: {counted} in {outcome.seconds:.0f} s; see {shown}"


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
    sys.exit(main(sys.argv[1:]))
