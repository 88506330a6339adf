"""Answers: from what all hosts counted to what people are told, with its certificate.

The one idea: an answer repeats bounds and never makes them nicer. It is called exact only when
every number in it is, when no key that it leaves out could belong in it, and when every host that
answered holds all of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from netsonde.model import answer as told
from netsonde.model.asked import (
    Change,
    Count,
    Distinct,
    Distribution,
    Keys,
    Spreaders,
    Top,
)
from netsonde.model.asking import written_filter
from netsonde.model.bound import Bound
from netsonde.model.certificate import Certificate, Covered, covered
from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import Increment
from netsonde.model.window import TICK_NS, wall_text
from netsonde.sketch.distribution import Population, entropy, histogram, quantile
from netsonde.sketch.part import Part
from netsonde.sketch.planning import DEFAULT_K, MAX_ROWS, Plan
from netsonde.sketch.series import Series
from netsonde.sketch.sets import ascending
from netsonde.sketch.summary import Counts, Flags, Summary
from netsonde.sketch.summary import Keys as Rows

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What all hosts answered to one question of a plan."""

    part: Part
    coverage: Coverage
    evidence: Evidence


def answered(plan: Plan, heard: Sequence[Heard], software: str) -> told.Answer:
    """Answer a planned question from what was heard, in the order of `plan.questions`.

    `software`: of who answers. Raises ProtocolError for parts of another kind than was asked for.
    """
    return _Answering(plan, heard, software).answer()


def certificate(
    plan: Plan, heard: Sequence[Heard], software: str, *, exact: bool
) -> tuple[Certificate, ...]:
    """Certify each window of an answer; `exact`: whether every number in the answer is.

    The first one's `exact` is the answer's, so it holds only where it does of every window.
    """
    whole = [_holds_all(one) for one in heard]
    return tuple(
        Certificate(
            software=software,
            task=plan.asked.task,
            filter=written_filter(plan.filter),
            exact=exact and (all(whole) if place == 0 else whole[place]),
            window=covered(text, one.evidence),
            coverage=Covered(
                asked=len(one.coverage.members),
                answered=one.coverage.answered,
                missing=one.coverage.missing,
                partial=one.coverage.partial,
            ),
            evidence=one.evidence,
            spilled_ratio=_spilled_ratio(one.evidence),
        )
        for place, (text, one) in enumerate(zip(plan.windows, heard, strict=True))
    )


class _Answering:
    """One answer in the making."""

    def __init__(self, plan: Plan, heard: Sequence[Heard], software: str) -> None:
        self._plan = plan
        self._heard = heard
        self._software = software

    def answer(self) -> told.Answer:
        made: told.Answer
        match self._plan.asked:
            case Count() as asked:
                made = self._count(asked)
            case Top() as asked:
                made = self._top(asked)
            case Keys() as asked:
                made = self._keys(asked)
            case Distinct():
                made = self._distinct()
            case Distribution() as asked:
                made = self._distribution(asked)
            case Spreaders() as asked:
                made = self._spreaders(asked)
            case Change() as asked:
                made = self._change(asked)
            case _:
                made = self._series()
        return made

    def _count(self, asked: Count) -> told.CountAnswer:
        summary, key = self._summary(), self._plan.key
        bound = self._total(summary) if key is None else summary.count(key)
        return told.CountAnswer(
            certificate=self._certified(bound.exact)[0],
            increment=asked.increment,
            count=bound,
            key=None if key is None else self._by.format(key),
        )

    def _top(self, asked: Top) -> told.TopAnswer:
        summary = self._summary()
        total, chosen, over = self._total(summary), summary.upper > 0, 0
        most = asked.k or (DEFAULT_K if asked.share is None else MAX_ROWS)
        if asked.share is not None:
            over = int(asked.share * total.lower)
            chosen = summary.upper > asked.share * total.lower
        rows, absent, certain = self._largest(summary, most, chosen, over)
        return told.TopAnswer(
            certificate=self._certified(certain and total.exact)[0],
            by=self._by.name,
            increment=asked.increment,
            rows=rows,
            total=total,
            absent_upper=absent,
        )

    def _spreaders(self, asked: Spreaders) -> told.SpreadersAnswer:
        summary = self._summary()
        rows, absent, certain = self._largest(summary, asked.k, summary.upper > 0, 0)
        return told.SpreadersAnswer(
            certificate=self._certified(certain)[0],
            by=self._by.name,
            of=asked.of if self._plan.of is None else self._plan.of.name,
            rows=rows,
            absent_upper=absent,
        )

    def _keys(self, asked: Keys) -> told.KeysAnswer:
        summary, kind = self._summary(), self._by
        places = np.flatnonzero(summary.upper > 0)
        texts = zip(kind.format_all(_each(summary.keys[places])), places.tolist(), strict=True)
        after = asked.after or ""
        page = nsmallest(asked.limit + 1, (one for one in texts if one[0] > after))
        rows = tuple(
            told.KeyCount(key=text, count=_bound(summary, at)) for text, at in page[: asked.limit]
        )
        listed, keys = len(places), summary.distinct
        unlisted = Bound(
            lower=max(0, keys.lower - listed),
            estimate=max(0, keys.estimate - listed),
            upper=max(0, keys.upper - listed),
        )
        certain = unlisted.upper == 0 and all(row.count.exact for row in rows)
        return told.KeysAnswer(
            certificate=self._certified(certain)[0],
            by=kind.name,
            increment=asked.increment,
            rows=rows,
            next=rows[-1].key if len(page) > asked.limit else None,
            unlisted=unlisted,
            absent_upper=_absent_upper(summary),
        )

    def _distinct(self) -> told.DistinctAnswer:
        summary = self._summary()
        exact = summary.distinct.exact
        return told.DistinctAnswer(
            certificate=self._certified(exact)[0],
            by=self._by.name,
            distinct=summary.distinct,
            standard_error=0.0 if exact else summary.distinct_error,
        )

    def _distribution(self, asked: Distribution) -> told.DistributionAnswer:
        summary, kind = self._summary(), self._by
        keys = Population.of(summary, self._total(summary), all_have_keys=not kind.needs_ports)
        shares = asked.quantiles if keys.distinct.upper else ()
        return told.DistributionAnswer(
            certificate=self._certified(keys.exact)[0],
            by=kind.name,
            increment=asked.increment,
            keys=keys.distinct,
            total=keys.total,
            bins=histogram(keys),
            quantiles=tuple(told.Quantile(q=q, value=quantile(keys, q)) for q in shares),
            entropy_bits=entropy(keys),
        )

    def _change(self, asked: Change) -> told.ChangeAnswer:
        kind, parts = self._by, (self._summary(0), self._summary(1))
        keys = ascending(np.concatenate([part.keys for part in parts]))
        now, before = (_counts_of(part, keys) for part in parts)
        lower, upper = now[0] - before[2], now[2] - before[0]
        estimate = now[1] - before[1]
        order = _ranked(np.abs(estimate), keys, kind, asked.k)
        rows = tuple(
            told.KeyChange(
                key=text,
                before=_bound_at(before, at),
                now=_bound_at(now, at),
                change=_bound_at(np.stack([lower, estimate, upper]), at),
            )
            for text, at in order
        )
        farthest = np.maximum(np.abs(lower), np.abs(upper))
        farthest[[at for _, at in order]] = 0
        absent = max(*(_absent_upper(part) for part in parts), int(farthest.max(initial=0)))
        shown = [abs(row.change.estimate) for row in rows]
        total = _changed("", self._total(parts[1]), self._total(parts[0]))
        certain = all(row.change.exact for row in rows) and total.change.exact
        certain = certain and absent <= (min(shown) if len(shown) == asked.k else 0)
        ours, others = self._certified(certain)
        return told.ChangeAnswer(
            certificate=ours,
            by=kind.name,
            increment=asked.increment,
            rows=rows,
            total=total,
            absent_upper=absent,
            before=others,
        )

    def _series(self) -> told.SeriesAnswer:
        series, key = self._heard[0].part, self._plan.key
        if not isinstance(series, Series):
            raise ProtocolError("hosts were asked for a series and told counts of keys")
        points = tuple(
            told.Point(
                tick=tick,
                begins=wall_text(tick),
                count=series.count(place),
                whole=int(series.hosts[place]) == series.of_hosts,
            )
            for place, tick in enumerate(series.first_ticks.tolist())
        )
        exact = series.complete and bool((series.lower == series.upper).all())
        return told.SeriesAnswer(
            certificate=self._certified(exact)[0],
            increment=self._plan.increment.value,
            step_ms=series.step_ticks * TICK_NS // _NS_PER_MS,
            points=points,
            key=None if key is None else self._by.format(key),
        )

    @property
    def _by(self) -> KeyType:
        if self._plan.by is None:
            raise ProtocolError("a question about keys names no key type")
        return self._plan.by

    def _summary(self, place: int = 0) -> Summary:
        part = self._heard[place].part
        if not isinstance(part, Summary):
            raise ProtocolError("hosts were asked for counts of keys and told a series")
        return part

    def _total(self, summary: Summary) -> Bound:
        by_bytes = self._plan.increment is Increment.BYTES
        return summary.total_bytes if by_bytes else summary.total_packets

    def _certified(self, exact: bool) -> tuple[Certificate, ...]:
        return certificate(self._plan, self._heard, self._software, exact=exact)

    def _largest(
        self,
        summary: Summary,
        most: int,
        chosen: Flags,
        over: int,
    ) -> tuple[tuple[told.KeyCount, ...], int, bool]:
        """Give the largest rows, the most of a key outside them, and whether all that is certain.

        It is when rows are exact and nobody outside can have more than the last of them, or where
        they are fewer than `most`, more than `over`.
        """
        places = np.flatnonzero(chosen)
        order = _ranked(summary.estimate[places], summary.keys[places], self._by, most)
        shown = [int(places[at]) for _, at in order]
        rows = tuple(
            told.KeyCount(key=text, count=_bound(summary, at))
            for (text, _), at in zip(order, shown, strict=True)
        )
        outside = summary.upper.copy()
        outside[shown] = 0
        absent = max(_absent_upper(summary), int(outside.max(initial=0)))
        least = min(row.count.lower for row in rows) if len(rows) == most else over
        return rows, absent, absent <= least and all(row.count.exact for row in rows)


def _ranked(values: Counts, keys: Rows, kind: KeyType, most: int) -> list[tuple[str, int]]:
    """Give text and place of the largest values, largest first, ties by text."""
    bar = np.partition(values, -most)[-most] if len(values) > most else values.min(initial=0)
    places = np.flatnonzero(values >= bar)
    texts = zip(kind.format_all(_each(keys[places])), places.tolist(), strict=True)
    return nsmallest(most, texts, key=lambda one: (-int(values[one[1]]), one[0]))


def _each(keys: Rows) -> list[bytes]:
    raw = keys.tobytes()
    return [raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)]


def _absent_upper(summary: Summary) -> int:
    """Give the most of a key that is not listed: 0 where every key surely is."""
    listed = int(np.count_nonzero(summary.lower))
    return summary.absent_upper if summary.distinct.upper > listed else 0


def _counts_of(summary: Summary, keys: Rows) -> Counts:
    """Give lower, estimate and upper of keys, listed or not: shape (3, n)."""
    counts = np.zeros((3, len(keys)), np.int64)
    counts[2] = _absent_upper(summary)
    places = np.searchsorted(keys, summary.keys)
    counts[:, places] = np.stack([summary.lower, summary.estimate, summary.upper])
    return counts


def _bound(summary: Summary, at: int) -> Bound:
    return Bound(
        lower=int(summary.lower[at]),
        estimate=int(summary.estimate[at]),
        upper=int(summary.upper[at]),
    )


def _bound_at(counts: Counts, at: int) -> Bound:
    lower, estimate, upper = counts[:, at].tolist()
    return Bound(lower=lower, estimate=estimate, upper=upper)


def _changed(key: str, before: Bound, now: Bound) -> told.KeyChange:
    change = Bound(
        lower=now.lower - before.upper,
        estimate=now.estimate - before.estimate,
        upper=now.upper - before.lower,
    )
    return told.KeyChange(key=key, before=before, now=now, change=change)


def _holds_all(one: Heard) -> bool:
    return not one.coverage.partial and one.evidence.missed_ticks == 0


def _spilled_ratio(evidence: Evidence) -> float:
    hidden = evidence.spilled_packets + evidence.contended_packets + evidence.thinned_packets
    return hidden / evidence.packets if evidence.packets else 0.0
