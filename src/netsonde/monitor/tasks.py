"""The monitor's tasks: desired state in, ticks in, answers out.

Pure: no clock, no socket. A task that stays the same keeps its counts; one that changes starts
anew; a counter that is added begins with the next tick. Tasks fold joined seconds, a task at a time
when `work` is called, or what they lack when they are asked for their total; any other window is
answered from the flight recorder. What a window does not hold, because no monitor was there to
count it, is known to the tick and told with every answer.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

import structlog

from netsonde.daemon.failures import Failures
from netsonde.model.errors import BadField, NetsondeError, NotFound, TooLarge
from netsonde.model.task import MAX_TASKS, Counter, Question, Task
from netsonde.model.window import TICK_NS, TOTAL, Window
from netsonde.monitor.keep import Kept, KeptTask
from netsonde.monitor.known import Known
from netsonde.monitor.running import MAX_KEYS_TOTAL, Mark, Running, Span, capacity_of
from netsonde.monitor.taken import Closed, Taken
from netsonde.monitor.takeover import Gap
from netsonde.recorder.questions import Answered, Answering, answering
from netsonde.recorder.ring import LONGEST_STEP, Recorder
from netsonde.recorder.seen import Seen
from netsonde.sketch import _abi
from netsonde.sketch import window as sketch
from netsonde.sketch.kept import MAX_KEPT_BYTES

MAX_COUNTERS_TOTAL = 256
"""Counters of all tasks together."""
MAX_WAITING_BYTES = 12 << 20
"""Ticks that tasks have yet to fold may take that much memory; then a tick waits for them."""
_ENTRY_BYTES = _abi.ENTRY.itemsize
_log = structlog.get_logger()


class Tasks:
    """Every task of this host, and its flight recorder."""

    def __init__(
        self,
        recorder: Recorder,
        began_tick: int = 0,
        *,
        shared_by: int = 1,
        failures: Failures | None = None,
    ) -> None:
        """`began_tick`: the first tick that can be here; what was configured before misses some.

        `shared_by`: how many like it share what is allowed of keys and of waiting ticks.
        """
        self._failures = failures or Failures()
        self._most_keys = MAX_KEYS_TOTAL // shared_by
        self._most_waiting_bytes = MAX_WAITING_BYTES // shared_by
        self._began_tick = began_tick
        self._running: dict[tuple[str, int], Running] = {}
        self._seen = Seen()
        self._last_tick = 0
        self._take(recorder, Mark(0, began_tick - 1, Seen()))

    def _take(self, recorder: Recorder, mark: Mark) -> None:
        """Record here from now on; nobody has folded anything of it."""
        self.recorder = recorder
        self._batches = recorder.batches
        self._batches.readers = lambda: (
            (running.position, running.single) for running in self._running.values()
        )
        self._taken = Taken(self._batches.end, mark)
        self._known = Known(self._batches.end)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def last_tick(self) -> int:
        """Id of the last closed tick, 0 before the first."""
        return self._last_tick

    @property
    def seen(self) -> Seen:
        """All that this monitor saw."""
        return self._seen

    @property
    def packets(self) -> int:
        """Packets seen."""
        return self.seen.packets

    @property
    def ip_bytes(self) -> int:
        """Their IP bytes."""
        return self.seen.ip_bytes

    @property
    def drops(self) -> Tally[str]:
        """Packets seen and put into no flow, by cause."""
        return Tally(self.seen.drops)

    def apply(self, tasks: Sequence[Task], now_tick: int) -> None:
        """Run exactly these tasks from the next tick on; raises TooLarge and changes nothing."""
        check_bounds(tasks)
        former, self._running = self._running, {}
        self._known = Known(self._batches.end)
        kept = {ref: one for ref, one in former.items() if any(ref == t.ref for t in tasks)}
        for task in tasks:
            others = [one for ref, one in {**kept, **self._running}.items() if ref != task.ref]
            self._running[task.ref] = self._started(task, former.get(task.ref), others, now_tick)
        self._follow()

    def absorb(self, closed: Closed) -> None:
        """Take a closed tick; cheap, unless tasks have been left behind too far.

        Never raises: when something fails all begin anew, and know what they miss.
        """
        self._seen, self._last_tick = self._seen + Seen.of(closed.tick), closed.tick.id
        try:
            self._absorb(closed)
        except Exception as error:  # the tick may be half taken, and the next one comes
            self._begin_anew(error)

    def _absorb(self, closed: Closed) -> None:
        mark = Mark(closed.epoch, closed.tick.id, self._seen)
        self.recorder.add(closed.tick, closed.mono_ns, closed.clock_step)
        self._taken.note(self._batches.end, mark, closed.clock_step)
        self._known.close(self._batches.end)
        if not self._running:
            self._follow()
        while self._batches.waiting_bytes > self._most_waiting_bytes and self.work():
            pass

    def work(self) -> bool:
        """Do one piece of what is due, of some milliseconds; False when nothing is left.

        Never raises, as `absorb`.
        """
        try:
            if self.recorder.work():
                return True
            until = self._batches.joined_until
            for running in self._running.values():
                if running.position < until and self._fold(running, until):
                    self._follow()
                    return True
        except Exception as error:  # a step may be half built
            self._begin_anew(error)
        return False

    def begin_anew(self) -> None:
        """Let go of all ticks, and let each task begin with the next one.

        For the case that one was lost, or only half taken. Each task knows what it misses; the
        totals of what was seen stay.
        """
        self._take(Recorder(self.recorder.budget_bytes), Mark(0, self._last_tick, self._seen))
        for running in self._running.values():
            running.begin_anew(self._last_tick + 1, self._batches.end, self._seen)

    def _begin_anew(self, error: Exception) -> None:
        self._failures.note("ticks", error)
        self.begin_anew()

    def kept(self, load_id: int) -> Kept:
        """Give what the next monitor needs to go on, each task as far as it has folded."""
        kept: list[KeptTask] = []
        free_bytes = MAX_KEPT_BYTES
        for running in self._running.values():
            position = running.position
            one = running.kept(self._taken.at(position), self._taken.clock_steps_until(position))
            free_bytes -= one.window.size_bytes
            if free_bytes < 0:
                break
            kept.append(one)
        return Kept(load_id=load_id, tasks=tuple(kept))

    def catch_up(self) -> None:
        """Fold all that was taken, before all is kept for the last time."""
        for running in self._running.values():
            self._fold_all(running)
        self._follow()

    def restore(
        self, kept: Kept | None, gap: Gap | None, placement: bytes, now_tick: int, now_mono_ns: int
    ) -> None:
        """Go on with what the former monitor kept and with what was counted since.

        `gap`: what the table in use counted before this monitor came. `placement`: `ns_config` of
        that table. What neither of them holds is missing from the tasks, and they know it. The
        recorder begins with the gap, when that is whole.
        """
        if kept and gap and gap.load_id == kept.load_id:
            for one in kept.tasks:
                self._go_on(one, gap.missed_after(one.epoch, one.tick), placement)
        elif kept:
            # Another table's gap may hold what these tasks have counted already.
            for one in kept.for_another_table().tasks:
                self._go_on(one, max(1, now_tick - one.tick), placement)
            gap = None
        if gap:
            self._take_gap(gap, now_tick, now_mono_ns)

    def _take_gap(self, gap: Gap, now_tick: int, now_mono_ns: int) -> None:
        for tick in gap.ticks:
            mono_ns = now_mono_ns - (now_tick - tick.id) * TICK_NS
            if gap.whole:
                self.absorb(Closed(tick=tick, mono_ns=mono_ns, epoch=gap.epoch))
                continue
            for running in self._running.values():
                running.window.absorb(tick)
            mark = Mark(gap.epoch, tick.id, self.seen + Seen.of(tick))
            self._seen, self._last_tick = mark.seen, mark.tick
            self._taken.note(self._batches.end, mark)
        self.catch_up()

    def answering(self, question: Question) -> Answering:
        """Answer a question, in slices of some milliseconds.

        The same question, asked again before a tick has closed, has the same answer at once; one
        about closed ticks also just after, while the next is being made. Raises NotFound for an
        unknown task or counter, BadField for a window that no answer can be about, here or with
        the first slice.
        """
        again = is_of_closed(question)
        if known := self._known.get(question, again=again):
            return _at_once(known)
        return self._remembering(question, self._fresh(question), again=again)

    def answering_ahead(self) -> Answering | None:
        """Answer, as above, what was asked in the last tick and not yet since; None when all is."""
        while question := self._known.due():
            try:
                return self._remembering(question, self._fresh(question), again=False)
            except NetsondeError:
                self._known.give_up(question)  # whoever asks it is told
            except Exception:
                self._known.give_up(question)
                raise
        return None

    def _remembering(self, question: Question, slices: Answering, *, again: bool) -> Answering:
        end = self._batches.end
        try:
            answered = yield from slices
        except Exception:
            self._known.give_up(question)
            raise
        self._known.put(end, question, answered, again=again)
        return answered

    def _fresh(self, question: Question) -> Answering:
        running = None if question.series is None else self._found(question)
        counter = None
        if question.key_type is not None:
            own = running.task.counter(question.key_type) if running else None
            counter = own or Counter(key_type=question.key_type, increment=question.increment)
        window = question.window
        if window == TOTAL:
            if running is None:
                raise BadField("window", "total", "total of a task only; 'last 30s' of a filter")
            if question.of is not None:
                raise BadField("window", "total", "'last 30s' or a range, for the spread of keys")
            if not question.step_ticks:
                return self._total(running, question, counter)
            window = self._whole_of(running)
        cover = self.recorder.cover(window, question.step_ticks or LONGEST_STEP)
        asked = running.task.filter if running else question.filter
        return answering(question, asked, counter, cover)

    def _whole_of(self, running: Running) -> Window:
        """Give all the time of a task; raises BadField when its ticks are in no order."""
        span = running.spans[None]
        if span.was_set_back(self._taken.clock_steps):
            told = "the clock was set back since the task began"
            raise BadField("window", "total", f"'last 30s' or a range, for a series ({told})")
        return Window.range(span.since_tick, max(self.last_tick, span.since_tick))

    def _total(self, running: Running, question: Question, counter: Counter | None) -> Answering:
        if counter is not None and counter.key_type not in running.spans:
            raise NotFound(f"{_name(question)} has no counter {counter.key_type}")
        while self._running.get(running.task.ref) is running:
            if not self._fold(running, self._batches.end):
                break
            yield
        else:  # removed, and what it had yet to fold may be gone
            raise NotFound(f"no {_name(question)} on this host any more")
        self._follow()
        span = running.spans[counter.key_type if counter else None]
        part = running.window.summary(question, counter).to_bytes()
        evidence = span.evidence(self._taken.at(running.position), self._taken.clock_steps)
        return Answered(part=part, evidence=evidence)

    def _found(self, question: Question) -> Running:
        running = self._running.get((question.series or "sketch", question.task_id))
        if running is None:
            raise NotFound(f"no {_name(question)} on this host")
        return running

    def _go_on(self, one: KeptTask, missed_ticks: int, placement: bytes) -> None:
        most = max((len(table.entries) for table in one.window.tables.values()), default=0)
        capacity = max(self._capacity_of(one.task, self._running.values()), most // _ENTRY_BYTES)
        running = Running(one.task, sketch.Window(one.task, capacity), 0, capacity=capacity)
        try:
            running.window.restore(one.window, placement)
        except ValueError as error:
            _log.warning("a task begins anew", id=one.task.id, reason=str(error))
            return
        running.position = self._batches.end
        running.spans = {
            span.key_type: Span(
                span.since_tick,
                span.missed_ticks + missed_ticks,
                running.position,
                self.seen - span.seen,
                span.clock_steps,
            )
            for span in one.spans
        }
        self._running[one.task.ref] = running
        self._follow()

    def _started(
        self, task: Task, running: Running | None, others: Sequence[Running], now_tick: int
    ) -> Running:
        kept = running is not None and (
            running.task.filter == task.filter
            and running.task.since_tick == task.since_tick
            and set(running.task.counters) <= set(task.counters)
        )
        if running is None or not kept:
            capacity = self._capacity_of(task, others)
            window = sketch.Window(task, capacity)
            running = Running(task, window, self._batches.end, capacity=capacity)
            running.spans[None] = self._span(task.since_tick, now_tick)
        for counter in task.counters:
            if counter.key_type in running.spans:
                continue
            if counter.key_type not in running.window.key_types:
                self._fold_all(running)  # it must not count what came before it
                running.window.add_counter(counter)
            configured_tick = max(task.since_tick, counter.since_tick)
            running.spans[counter.key_type] = self._span(configured_tick, now_tick)
        running.task = task
        return running

    def _capacity_of(self, task: Task, others: Iterable[Running]) -> int:
        return capacity_of(task, others, self._most_keys)

    def _span(self, configured_tick: int, now_tick: int) -> Span:
        # What was configured while this monitor counted begins as soon as the news travels. What
        # was configured before it came may have been counted by another, which took that along.
        missed_ticks = 0 if configured_tick >= self._began_tick else now_tick - configured_tick
        return Span(now_tick, missed_ticks, self._batches.end, self.seen)

    def _follow(self) -> None:
        """Let go of what every task has folded."""
        self._batches.follow()
        positions = (running.position for running in self._running.values())
        self._taken.let_go(min(positions, default=self._batches.end))

    def _fold_all(self, running: Running) -> None:
        while self._fold(running, self._batches.end):
            pass

    def _fold(self, running: Running, until: int) -> bool:
        """Let a task fold what comes next; one that fails begins anew, and knows what it misses."""
        try:
            return running.fold(self._batches, until)
        except Exception as error:  # it may hold half a tick; the other tasks go on
            self._failures.note("task", error)
            running.begin_anew(self._last_tick + 1, self._batches.end, self._seen)
            return False


def is_of_closed(question: Question) -> bool:
    """Tell whether a question is about the last closed ticks, whichever those are."""
    return question.window.kind in ("real_time", "last")


def check_bounds(tasks: Sequence[Task]) -> None:
    """Check that a host can hold all of these; raises TooLarge."""
    counters = sum(len(task.counters) for task in tasks)
    if len(tasks) > MAX_TASKS:
        raise TooLarge("tasks", len(tasks), f"at most {MAX_TASKS} on a host")
    if counters > MAX_COUNTERS_TOTAL:
        raise TooLarge("counters", counters, f"at most {MAX_COUNTERS_TOTAL} on a host")


def _name(question: Question) -> str:
    return f"{question.series} {question.task_id}"


def _at_once(answered: Answered) -> Answering:
    yield from ()
    return answered
