"""The page of kernels is what the kept results say."""

from __future__ import annotations

import json
from pathlib import Path

import page


def _result(verdict: str, reason: str = "") -> page.Result:
    name = "test_kernel_hooks::test_a_hook[tcx]"
    return {"release": "6.1.0", "tests": [{"name": name, "verdict": verdict, "reason": reason}]}


def test_the_page_is_made_of_the_kept_results():
    results = json.loads((Path(page.__file__).with_name("results.json")).read_text())
    assert page.PAGE.read_text() == page.render(results)
    assert list(results) == ["5.10", "6.1", "6.12", "newest"]
    assert all(page.passed(result) for result in results.values())


def test_a_failure_cannot_hide():
    failed = _result("failed", "assert 1 == 2")
    assert not page.passed(failed)
    assert "| 6.1.0 | FAILED 1 of 1: assert 1 == 2 |" in page.render({"6.1": failed})


def test_a_kernel_on_which_nothing_ran_has_not_passed():
    skipped = _result("skipped", "tcx needs Linux 6.6, this is 6.1: no")
    assert not page.passed(skipped)
    assert "| 6.1.0 | needs Linux 6.6 |" in page.render({"6.1": skipped})
