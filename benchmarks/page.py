"""Results as Markdown: what every page of figures has in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.promise import Bar, Results, verdicts
from benchmarks.spread import Spread

METHOD = """\
What is compared is measured in one run, taking turns. Figures are medians over rounds with [lower
quartile, upper quartile]; a ratio is made within each round, then the median is taken. Promises are
about medians; they show the interval that holds the median with 95 % confidence instead (the sign
test's; all values when they are fewer than six), and are met `within the noise` when the bar lies
in it. Compare columns; absolute figures belong to this machine:
"""


def machine(found: dict[str, Any]) -> Iterator[str]:
    """List what figures depend on."""
    yield f"- {found['cpu']}, {found['cores']} cores, {found['kernel']},"
    yield f"  {found['distribution']}, Python {found['python']}"
    yield f"- load average {found['load_average_1min']} before, {found['load_after']} after;"
    yield f"  processor time stolen by the hypervisor {found['stolen_share']:.1%}"
    for name, state in found["mitigations"].items():
        yield f"- {name}: {state}"


def promises(bars: Iterable[Bar], results: Results) -> Iterator[str]:
    """Give the table of promises, those that are not kept in bold."""
    rows = [
        (
            verdict.what,
            verdict.bar,
            verdict.figure,
            f"**{verdict.met}**" if verdict.met.startswith("no") else verdict.met,
        )
        for verdict in verdicts(bars, results)
    ]
    yield from table(("what", "bar", "measured", "met"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Give a table line by line."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def brief(value: Spread, digits: int, unit: float = 1) -> str:
    """Write a median with its quartiles."""
    middle, low, high = (part / unit for part in (value["median"], value["low"], value["high"]))
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
