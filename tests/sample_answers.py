"""One answer of each kind, with bounds that differ, as an agent would give it."""

from __future__ import annotations

from netsonde.model import answer
from netsonde.model.asked import FilterText
from netsonde.model.bound import Bound
from netsonde.model.certificate import Certificate, Covered, covered
from netsonde.model.evidence import Evidence

FIRST_TICK = 17_639_858_612
MISSING = Covered(asked=8, answered=7, missing={"10.0.0.7": "no answer in 2 s"})


def bound(lower: int, estimate: int, upper: int) -> Bound:
    return Bound(lower=lower, estimate=estimate, upper=upper)


def key(name: str, *ends: int) -> answer.KeyCount:
    return answer.KeyCount(key=name, count=bound(*ends) if len(ends) > 1 else Bound.exactly(*ends))


def certificate(
    *, exact: bool = False, coverage: Covered | None = None, first_tick: int = FIRST_TICK
) -> Certificate:
    evidence = Evidence(
        software={"0.1.0": 8},
        hooks={"netfilter": ("10.0.0.2",)},
        first_tick=first_tick,
        last_tick=first_tick + 299,
        packets=20_000,
        drops={"truncated": 1},
    )
    return Certificate(
        software="netsonde 0.1.0",
        task=None,
        filter=FilterText(proto="tcp"),
        exact=exact,
        window=covered("last 30s", evidence),
        coverage=coverage or Covered(asked=8, answered=8),
        evidence=evidence,
        spilled_ratio=0.0,
    )


TOP = answer.TopAnswer(
    certificate=certificate(),
    by="src_dport",
    increment="packets",
    rows=(key("10.0.0.6,443", 12_000, 12_345, 12_400), key("10.0.0.9,53", 17)),
    total=Bound.exactly(20_000),
    absent_upper=5,
)
COUNT = answer.CountAnswer(
    certificate=certificate(exact=True), increment="bytes", count=Bound.exactly(1_234_567)
)
KEYS = answer.KeysAnswer(
    certificate=certificate(),
    by="src",
    increment="packets",
    rows=(key("10.0.0.6", 12), key("10.0.0.9", 17)),
    next=None,
    unlisted=bound(0, 1, 3),
    absent_upper=5,
)
DISTINCT = answer.DistinctAnswer(
    certificate=certificate(), by="src", distinct=bound(250, 253, 260), standard_error=0.0163
)
DISTRIBUTION = answer.DistributionAnswer(
    certificate=certificate(),
    by="src",
    increment="packets",
    keys=Bound.exactly(253),
    total=Bound.exactly(20_000),
    bins=(
        answer.Bin(low=1, high=1, keys=Bound.exactly(200)),
        answer.Bin(low=12_288, high=14_335, keys=bound(0, 53, 53)),
    ),
    quantiles=(answer.Quantile(q=0.5, value=Bound.exactly(1)),),
    entropy_bits=answer.RealBound(lower=1.5, estimate=1.75, upper=2.0),
)
SPREADERS = answer.SpreadersAnswer(
    certificate=certificate(), by="src", of="dst_dport", rows=(key("10.0.0.6", 85),), absent_upper=0
)
_GREW = {"before": Bound.exactly(10), "now": Bound.exactly(1_010), "change": Bound.exactly(1_000)}
_SHRANK = {"before": Bound.exactly(90), "now": Bound.exactly(0), "change": Bound.exactly(-90)}
CHANGE = answer.ChangeAnswer(
    certificate=certificate(exact=True),
    by="dst",
    increment="packets",
    rows=(
        answer.KeyChange(key="10.0.0.5", **_GREW),
        answer.KeyChange(key="10.0.0.8", **_SHRANK),
    ),
    total=answer.KeyChange(
        key="",
        before=Bound.exactly(100),
        now=Bound.exactly(1_010),
        change=Bound.exactly(910),
    ),
    absent_upper=7,
    before=certificate(exact=True, first_tick=FIRST_TICK - 300),
)
SERIES = answer.SeriesAnswer(
    certificate=certificate(exact=True),
    increment="packets",
    step_ms=1000,
    points=(
        answer.Point(tick=FIRST_TICK, begins="2025-11-24T12:04:21.2Z", count=Bound.exactly(1_000)),
        answer.Point(tick=FIRST_TICK + 10, begins="2025-11-24T12:04:22.2Z", count=None),
        answer.Point(
            tick=FIRST_TICK + 20, begins="2025-11-24T12:04:23.2Z", count=bound(1, 2, 9), whole=False
        ),
    ),
)
ALL = {
    "count": COUNT,
    "top": TOP,
    "keys": KEYS,
    "distinct": DISTINCT,
    "distribution": DISTRIBUTION,
    "spreaders": SPREADERS,
    "change": CHANGE,
    "series": SERIES,
}
