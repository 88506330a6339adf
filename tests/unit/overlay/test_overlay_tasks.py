"""One host's book of tasks."""

import pytest

from netsonde.model.checks import check_tasks
from netsonde.model.detector import MAX_DETECTORS, Choice, Detector
from netsonde.model.errors import BadField, NotFound
from netsonde.model.task import MAX_COUNTERS, MAX_TASKS, Counter, Filter, Increment, Task
from netsonde.overlay.tasks import FIRST_DRAWN_ID, Book

TCP, UDP = Filter(proto=6), Filter(proto=17)


def sketch(task_id: int, wanted: Filter = TCP, *counters: Counter) -> Task:
    return Task(series="sketch", id=task_id, filter=wanted, counters=counters, since_tick=1)


def test_ids_without_a_parent_follow_each_other_in_each_series() -> None:
    book = Book()
    ids = []
    for series in ("sketch", "sketch", "counter", "sketch", "counter"):
        book, task = book.with_task(series, TCP, "subtree", 1, None)  # type: ignore[arg-type]
        ids.append((series, task.id))
    assert ids == [("sketch", 0), ("sketch", 1), ("counter", 0), ("sketch", 2), ("counter", 1)]


def test_drawn_ids_are_never_taken_ones() -> None:
    book, first = Book().with_task("sketch", TCP, "host", 1, 12345)
    book, second = book.with_task("sketch", TCP, "host", 1, 12345)
    assert (first.id, second.id) == (FIRST_DRAWN_ID + 12345, FIRST_DRAWN_ID + 12346)
    book, last = book.with_task("sketch", TCP, "host", 1, 2**31 - 1)
    check_tasks(book.all())
    assert last.id >= FIRST_DRAWN_ID
    _, root = book.with_task("sketch", TCP, "host", 1, None)
    assert root.id == 0


def test_children_get_what_is_for_the_subtree() -> None:
    book, _ = Book(inherited=(sketch(7),)).with_task("sketch", TCP, "host", 1, 0)
    book, wide = book.with_task("counter", UDP, "subtree", 1, 0)
    assert book.for_children() == (sketch(7), wide)
    assert len(book.all()) == 3
    assert [book.scope_of(task) for task in book.all()] == ["subtree", "host", "subtree"]


def test_an_own_task_stays_and_the_parent_s_of_its_id_is_unmet_until_one_goes() -> None:
    book, own = Book().with_task("sketch", TCP, "subtree", 1, None)
    book, other = book.with_task("counter", TCP, "subtree", 1, None)
    under = book.inherit((sketch(0, UDP), sketch(1, UDP)))
    assert under.all() == (sketch(1, UDP), own, other)
    assert under.for_children() == (sketch(0, UDP), sketch(1, UDP), other)
    assert [task.ref for task, _ in under.unmet()] == [("sketch", 0)]
    assert "another task there" in (under.why_unmet("sketch", 0) or "")
    assert under.why_unmet("sketch", 1) is under.why_unmet(None, 0) is None
    assert under.scope_of(own) == "host"
    assert under.without(own).all() == (sketch(0, UDP), sketch(1, UDP), other)
    assert under.inherit((sketch(1, UDP),)).all() == (sketch(1, UDP), own, other)
    assert under.inherit(()) == book


def test_own_tasks_leave_the_parent_s_less_room_and_stay() -> None:
    book, first = Book().with_task("sketch", TCP, "host", 1, 0)
    book, second = book.with_task("sketch", TCP, "host", 1, 5)
    book = book.inherit([sketch(number) for number in range(MAX_TASKS - 1)])
    assert book.all()[-2:] == (first, second)
    assert len(book.all()) == MAX_TASKS
    assert "no room" in (book.why_unmet("sketch", MAX_TASKS - 2) or "")
    with pytest.raises(BadField, match=str(MAX_TASKS)):
        book.with_task("sketch", TCP, "host", 1, 9)


def detector(name: str, threshold: int = 1) -> Choice:
    return Choice(detector=Detector(name=name, measure="count", by="src", threshold=threshold))


def test_own_detectors_stay_and_come_back_when_the_parent_goes() -> None:
    built_in = [detector("scan").detector]
    book = Book().with_detector(detector("scan", 7), built_in).with_detector(detector("mine"), ())
    above = [Choice(detector=detector("scan", 1 << 40).detector, enabled=False)]
    above += [detector(f"d{number}") for number in range(MAX_DETECTORS - 1)]
    under = book.inherit((), above)
    chosen = {choice.detector.name: choice for choice in under.detectors(built_in)}
    assert len(chosen) == MAX_DETECTORS
    assert not chosen["scan"].enabled
    assert "mine" not in chosen  # no room for it while these stand
    assert under.inherit(()).detectors(built_in) == book.detectors(built_in)


def test_the_same_counter_again_changes_nothing_and_another_one_is_refused() -> None:
    book, _ = Book().with_task("sketch", TCP, "subtree", 1, None)
    book, task = book.with_counter(0, Counter(key_type="src"), 40)
    assert task.counters == (Counter(key_type="src", since_tick=40),)
    again, _ = book.with_counter(0, Counter(key_type="src"), 90)
    assert again == book
    with pytest.raises(BadField, match=r"packets of it with hitter_threshold 0\.1"):
        book.with_counter(0, Counter(key_type="src", increment=Increment.BYTES), 90)
    with pytest.raises(NotFound, match=r"'sketch_id' is 1.*allowed: 0"):
        book.with_counter(1, Counter(key_type="src"), 90)
    with pytest.raises(BadField, match="parent"):
        Book(inherited=(sketch(0),)).with_counter(0, Counter(key_type="src"), 90)


def test_counters_of_a_sketch_are_bounded() -> None:
    names = ["src", "dst", "sport", "dport", "proto"]
    pairs = [f"{a}_{b}" for a in names for b in names if a != b]
    book, _ = Book().with_task("sketch", TCP, "subtree", 1, None)
    for name in pairs[:MAX_COUNTERS]:
        book, _ = book.with_counter(0, Counter(key_type=name), 1)
    with pytest.raises(BadField, match=f"at most {MAX_COUNTERS}"):
        book.with_counter(0, Counter(key_type="src"), 1)


def test_a_change_can_be_taken_back() -> None:
    empty = Book()
    book, task = empty.with_task("sketch", TCP, "subtree", 1, None)
    grown, _ = book.with_counter(0, Counter(key_type="src"), 1)
    assert grown.with_version(task) == book
    assert book.without(task) == empty


def test_an_equal_filter_is_the_same_counter_when_its_scope_reaches_as_far() -> None:
    book, here = Book().with_task("counter", TCP, "host", 1, None)
    assert book.same_counter(TCP, "host") == here
    assert book.same_counter(TCP, "subtree") is None
    assert book.same_counter(UDP, "host") is None
    book, wide = book.with_task("counter", UDP, "subtree", 1, None)
    assert book.same_counter(UDP, "host") == book.same_counter(UDP, "subtree") == wide


def test_a_task_that_is_replaced_keeps_what_stays_the_same() -> None:
    by_src, by_dst = Counter(key_type="src"), Counter(key_type="dst")
    book, _ = Book().with_task("sketch", TCP, "subtree", 10, None, counters=(by_src,))
    grown, task = book.replaced(0, TCP, (by_dst, by_src), scope="host", since_tick=50)
    since = {counter.key_type: counter.since_tick for counter in task.counters}
    assert (task.since_tick, since) == (10, {"dst": 50, "src": 0})
    assert (grown.all(), grown.for_children()) == ((task,), ())
    again, other = grown.replaced(0, UDP, (by_src,), scope="host", since_tick=90)
    assert (other.since_tick, other.counters) == (90, (by_src,))
    assert len(again.all()) == 1
    with pytest.raises(BadField, match="one counter of a task"):
        book.replaced(0, TCP, (by_src, by_src), scope="host", since_tick=50)
    with pytest.raises(NotFound, match="'task' is 9"):
        book.replaced(9, TCP, (), scope="host", since_tick=50)
    with pytest.raises(BadField, match="the parent's"):
        Book(inherited=(sketch(0),)).replaced(0, TCP, (), scope="host", since_tick=50)
