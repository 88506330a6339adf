"""Any tree, any liar, any order: nothing of an honest host is doubled, and nobody is lost unnamed.

Whole trees are asked in one process, each host by its own `Gather`, as agents do it.
"""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_overlay_gather import evidence, packets

from netsonde.model.coverage import Coverage
from netsonde.model.detector import Choice, Detector
from netsonde.model.errors import BadField, Busy
from netsonde.model.task import Filter, Task
from netsonde.overlay.gather import Ask, Gather, Gathered, Lost, Replied
from netsonde.overlay.tasks import Book
from netsonde.overlay.tree import Tree
from netsonde.sketch.summary import Summary

BASE = 16
"""Host number n counts BASE ** n, so that a sum tells who is in it, and how often."""
ROOT = 1


def name(number: int) -> str:
    return f"10.0.0.{number}"


@st.composite
def trees(draw: st.DrawFn) -> dict[int, list[int]]:
    """Parents, each before its children."""
    size = draw(st.integers(2, 9))
    below: dict[int, list[int]] = {number: [] for number in range(1, size + 1)}
    for number in range(2, size + 1):
        below[draw(st.integers(1, number - 1))].append(number)
    return below


class Lie(msgspec.Struct, frozen=True):
    """What a host that lies says of itself and those below it."""

    claims: frozenset[int]
    """Others whom it says to hold."""
    reports: bool
    """Whether it has reported them before."""
    obeys: bool
    """Whether it leaves out whom it is told to."""
    monitor_of: int | None
    """Whose monitor's id it copies."""
    inflates: int
    """What it adds to the counts of those whom it claims, which it has by another way."""


lies = st.builds(
    Lie,
    claims=st.frozensets(st.integers(1, 9), max_size=4),
    reports=st.booleans(),
    obeys=st.booleans(),
    monitor_of=st.none() | st.integers(1, 9),
    inflates=st.integers(0, 5),
)


class World:
    """One tree: some of its hosts lie, some share a monitor, some are away."""

    def __init__(
        self,
        below: dict[int, list[int]],
        liars: dict[int, Lie],
        twins: dict[int, int],
        away: set[int],
        shuffled: st.DataObject | None,
    ) -> None:
        self.below, self.liars, self.twins, self.away = below, liars, twins, away
        self.shuffled = shuffled

    def subtree(self, number: int) -> tuple[str, ...]:
        """Give whom a host has reported at and below itself."""
        mine = [number]
        for child in self.below[number]:
            mine += [int(one.rpartition(".")[2]) for one in self.subtree(child)]
        lie = self.liars.get(number)
        if lie is not None and lie.reports:
            mine += sorted(lie.claims)
        return tuple(dict.fromkeys(name(one) for one in mine))

    def ask(self, number: int, without: tuple[str, ...] = ()) -> Gathered:
        """Ask a host for its subtree."""
        gather = Gather(
            own=name(number),
            children={name(child): self.subtree(child) for child in self.below[number]},
            budget_ms=1000,
            summarised=True,
            without=without,
        )
        for commands in (gather.start, lambda: gather.again(500)):
            for command in self.in_any_order(commands()):
                gather.handle(self.reply(number, command))
        return gather.result(10)

    def in_any_order(self, commands: list[Ask]) -> list[Ask]:
        if self.shuffled is None:
            return commands
        return list(self.shuffled.draw(st.permutations(commands)))

    def reply(self, asker: int, command: Ask) -> Replied | Lost:
        number = int(command.member.rpartition(".")[2])
        if number in self.away:
            return Lost(member=command.member, reason="away")
        if number == asker:
            return Replied(
                member=command.member,
                coverage=Coverage.of(command.member),
                part=packets(BASE**number),
                evidence=evidence(1, command.member),
                monitors={f"{self.twins.get(number, number):016x}": command.member},
            )
        gathered = self.ask(number, command.without)
        honest = Replied(
            member=command.member,
            coverage=gathered.coverage,
            part=gathered.part.to_bytes() if gathered.part else None,
            evidence=gathered.evidence,
            monitors=gathered.monitors,
            reported=self.subtree(number),
        )
        return self.lied(number, honest, command.without)

    def lied(self, number: int, honest: Replied, without: tuple[str, ...]) -> Replied:
        lie = self.liars.get(number)
        if lie is None:
            return honest
        claims = {name(one) for one in lie.claims} - (set(without) if lie.obeys else set())
        held = honest.held | {honest.member} | claims
        if lie.obeys:
            held -= set(without)
        monitors = dict(honest.monitors)
        if lie.monitor_of is not None and honest.member in held:
            monitors[f"{lie.monitor_of:016x}"] = honest.member
        missing = {m: why for m, why in honest.coverage.missing.items() if m not in held}
        return Replied(
            member=honest.member,
            coverage=Coverage(members=(*sorted(held), *missing), missing=missing),
            part=packets(lie.inflates * BASE**12 + sum(BASE ** int(m[7:]) for m in claims)),
            evidence=evidence(1, honest.member),
            monitors={i: m for i, m in monitors.items() if m in held},
            reported=honest.reported,
        )


def counted(gathered: Gathered) -> list[int]:
    """Give how often each host's counts are in a sum, from host 1 on."""
    assert gathered.part is None or isinstance(gathered.part, Summary)
    total = gathered.part.total_packets.estimate if gathered.part else 0
    return [total // BASE**number % BASE for number in range(1, 12)]


@settings(max_examples=150, deadline=None)
@given(
    below=trees(),
    liars=st.dictionaries(st.integers(2, 9), lies, max_size=3),
    twins=st.dictionaries(st.integers(1, 9), st.integers(1, 9), max_size=2),
    away=st.sets(st.integers(2, 9), max_size=2),
    data=st.data(),
)
def test_nobody_counts_twice_or_is_lost_unnamed_in_any_order(
    below: dict[int, list[int]],
    liars: dict[int, Lie],
    twins: dict[int, int],
    away: set[int],
    data: st.DataObject,
) -> None:
    answer = World(below, liars, twins, away, None).ask(ROOT)
    again = World(below, liars, twins, away, data).ask(ROOT)
    assert (answer.coverage, counted(answer)) == (again.coverage, counted(again))
    coverage, times = answer.coverage, counted(answer)
    held = set(coverage.members) - coverage.missing.keys()
    assert all(often <= 1 for often in times)
    for number in below:
        assert name(number) in coverage.members
        assert coverage.missing.get(name(number), "why") != ""
        if times[number - 1]:
            assert name(number) in held
    if not liars:
        assert held == {name(n) for n in below if times[n - 1]}
        monitors = [twins.get(n, n) for n in below if times[n - 1]]
        assert len(set(monitors)) == len(monitors)


@settings(max_examples=100, deadline=None)
@given(below=trees(), lie=lies, place=st.integers(2, 9))
def test_a_liar_costs_those_whom_it_claims_and_those_above_it_say_so(
    below: dict[int, list[int]], lie: Lie, place: int
) -> None:
    """Honest hosts outside the liar's subtree are in the answer, or claimed by it, by name."""
    liar = min(place, len(below))
    world = World(below, {liar: lie}, {}, set(), None)
    answer = world.ask(ROOT)
    suspects = {liar, *lie.claims, *(int(m.rpartition(".")[2]) for m in world.subtree(liar))}
    for number in set(below) - suspects - {lie.monitor_of}:
        above = number == ROOT or liar in _all_below(below, number)
        if not above or number == ROOT:
            assert counted(answer)[number - 1] == 1, answer.coverage.missing


def _all_below(below: dict[int, list[int]], number: int) -> set[int]:
    return set(below[number]).union(*(_all_below(below, child) for child in below[number]))


def _task(number: int, proto: int) -> Task:
    return Task(series="sketch", id=number, filter=Filter(proto=proto), since_tick=1)


class Places(RuleBasedStateMachine):
    """Any parents that come, go and are left: what was configured here is always here."""

    def __init__(self) -> None:
        super().__init__()
        self.tree, self.book = Tree("10.0.0.5"), Book()
        self.own: dict[int, int] = {}
        self.thresholds: dict[str, int] = {}
        self.connected = False

    @rule(proto=st.integers(0, 255))
    def configure(self, proto: int) -> None:
        drawn = None if self.tree.parent is None else proto
        self.book, task = self.book.with_task("sketch", Filter(proto=proto), "subtree", 1, drawn)
        self.own[task.id] = proto

    @rule(threshold=st.integers(1, 99), which=st.sampled_from(["a", "b"]))
    def detect(self, threshold: int, which: str) -> None:
        one = Detector(name=which, measure="count", by="src", threshold=threshold)
        try:
            self.book = self.book.with_detector(Choice(detector=one), ())
        except BadField:
            return  # the parent's stands
        self.thresholds[which] = threshold

    @rule(
        parent=st.integers(1, 4),
        ids=st.sets(st.integers(0, 6), max_size=5),
        by_hand=st.booleans(),
        silences=st.booleans(),
    )
    def adopt(self, parent: int, ids: set[int], by_hand: bool, silences: bool) -> None:
        try:
            self.tree.adopted_by((name(parent),), self.connected, by_hand=by_hand)
        except Busy:
            return
        off = Detector(name="a", measure="count", by="src", threshold=1 << 40)
        detectors = [Choice(detector=off, enabled=False)] if silences else []
        self.book = self.book.inherit([_task(i, 250) for i in sorted(ids)], detectors)
        self.connected = True

    @rule()
    def disconnect(self) -> None:
        self.connected = False

    @rule()
    def leave(self) -> None:
        if self.tree.parent is not None:
            left = self.tree.leave()
            self.book, self.connected = self.book.inherit(()), False
            assert left in self.tree.left

    @invariant()
    def all_is_here(self) -> None:
        running = {task.id: task.filter.proto for task in self.book.all()}
        assert self.own.items() <= running.items()
        assert len(running) == len(self.book.all())
        unmet = {task.id for task, _ in self.book.unmet()}
        inherited = {task.id for task in self.book.inherited}
        assert unmet == inherited & self.own.keys()
        assert running.keys() == self.own.keys() | inherited
        if self.tree.parent is None:
            now = {c.detector.name: c.detector.threshold for c in self.book.detectors(())}
            assert now == self.thresholds
            assert not inherited


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
