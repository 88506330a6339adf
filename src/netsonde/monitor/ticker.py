"""The ticker: closes a tick at each boundary of the wall clock, and whenever someone must know.

Ticks are as long as `Pace` says, and as complete, so that closing them stays within the budget.
The one idea: `flush()` returns after a flip that *began* after it was called, so everything this
host sent or received before a question is in its answer, and everything before a task is not in
the task. Calls that wait together share one flip.

A quiet host's ticks are mostly empty, and who is asked nothing need not tell them one by one: they
are handed on together, each as it was, once a second or as soon as anybody must know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from netsonde.kernel.notebook import Note, Notebook
from netsonde.model.errors import NetsondeError, Unavailable
from netsonde.model.window import TICK_NS, TICKS_PER_S
from netsonde.monitor.pace import MAX_THIN_SHIFT, Pace
from netsonde.monitor.taken import Closed
from netsonde.monitor.wall import Named, WallClock, read_clocks
from netsonde.sketch.tick import Reader, Tick

REFRESH_NS = 1_000_000_000
READ_TRIES = 5
READ_PAUSE_S = 0.05
"""For a tick that there is no memory for: it is in the table until the next flip."""
THINNER_SHIFT = 3
"""Each time it is read again, one flow in eight of those before is told."""
LONGEST_EPOCH_NS = 1_000_000_000
"""While nothing is counted ticks close without a flip, but for one so often: whoever takes over
knows no better when it began."""
_log = structlog.get_logger()


class Flippable(Protocol):
    """What the ticker needs of a counting path."""

    sample_shift: int
    """1 of 2^sample_shift flows is sampled from the next flip on."""
    notebook: Notebook | None
    """What one monitor leaves for the next."""

    def refresh(self) -> None:
        """Follow the host's addresses and devices."""

    def flip(self) -> int:
        """Close the current epoch and give its number; blocks until nobody writes it."""

    def is_untouched(self) -> bool:
        """Tell whether certainly nothing was counted since the last flip."""


class Ticker:
    """Flips, reads and hands ticks on, in the event loop's thread."""

    def __init__(
        self,
        path: Flippable,
        reader: Reader,
        absorb: Callable[[Closed], None],
        pace: Pace,
        *,
        silence_tells: Callable[[], bool] = lambda: False,
        relieve: Callable[[], None] = lambda: None,
    ) -> None:
        """Read `path` with `reader`, and give each tick to `absorb`, which is cheap.

        Raises Unavailable when there is no thread to be had.

        `silence_tells`: whether an empty tick may be news to anybody. `relieve`: give memory back,
        since there is none for a tick.
        """
        self.pace = pace
        self._silence_tells = silence_tells
        self._relieve = relieve
        self._passed: list[tuple[Named, int]] = []
        """Empty ticks that are to be handed on, and when each ended."""
        self._path = path
        self._reader = reader
        self._absorb = absorb
        self._lock = asyncio.Lock()
        self._worker = _started_worker()
        self._begun = 0
        self._closing: asyncio.Task[None] | None = None
        self._epoch = 0
        """The last one that was closed; 0 before the first."""
        self._flipped_mono_ns = 0
        """When that was."""
        self._wall = WallClock(read_clocks())
        self.spent_ns = 0
        """CPU time of all that was closed."""
        self._paced_ns = 0
        """Of it, what the pace knows of."""
        self._owed_ns = 0
        self.late_ticks = 0
        self.failed_refreshes = 0
        self.since_tick = time.time_ns() // TICK_NS
        self._lost: Exception | None = None
        """What lost a tick: nothing that is counted from then on could be told."""

    @property
    def tick_ms(self) -> int:
        """Length of a tick now: 100, or longer to keep within the budget."""
        return self.pace.ticks * TICK_NS // 1_000_000

    @property
    def told_one_in(self) -> int:
        """Flows of one in so many buckets are told."""
        return 1 << self.pace.thin_shift

    async def run(self) -> None:
        """Close a tick at each boundary and follow the host once a second, until cancelled.

        Raises what lost a tick: what it held is in no answer, and nobody could say so.
        """
        refresh_mono_ns = last_mono_ns = time.monotonic_ns()
        while True:
            if time.monotonic_ns() >= refresh_mono_ns:
                refresh_mono_ns = time.monotonic_ns() + REFRESH_NS
                await self._refresh()
            length_ns = self.pace.ticks * TICK_NS
            await _boundary(length_ns)
            if self._lost is not None:
                lost, self._lost = self._lost, None
                raise lost
            begun_mono_ns = time.monotonic_ns()
            if not self._pass_empty(begun_mono_ns):
                await self.flush()
            if time.monotonic_ns() - begun_mono_ns > TICK_NS:
                self.late_ticks += 1
            self._keep_pace(begun_mono_ns - last_mono_ns)
            last_mono_ns = begun_mono_ns

    async def flush(self) -> int:
        """Close the tick being filled, hand it on, and give the id of the one that begins."""
        wanted = self._begun + 1
        async with self._lock:
            if self._begun < wanted:
                self._begun += 1
                # Whoever waits may be cancelled; a tick that was read must be handed on all the
                # same. The worker is one thread, so ticks are handed on in their order.
                self._closing = asyncio.create_task(self._close_and_absorb())
                await asyncio.shield(self._closing)
        return time.time_ns() // TICK_NS

    def tell_passed(self) -> None:
        """Hand on the empty ticks that have passed, before anybody asks about them."""
        begun_ns = time.thread_time_ns()
        passed, self._passed = self._passed, []
        for named, mono_ns in passed:
            tick = self._reader.empty(named.last_tick, first_id=_first_id(named))
            step = named.clock_step
            self._absorb(Closed(tick=tick, mono_ns=mono_ns, epoch=self._epoch, clock_step=step))
        self.spent_ns += time.thread_time_ns() - begun_ns

    def _pass_empty(self, now_mono_ns: int) -> bool:
        """Pass over an empty tick, if it certainly is; most of a quiet host's are."""
        closing = self._closing is not None and not self._closing.done()
        old = now_mono_ns - self._flipped_mono_ns > LONGEST_EPOCH_NS
        if closing or old or not self._path.is_untouched():
            return False
        now = read_clocks()
        named = self._wall.named(now)
        self._passed.append((named, now.mono_ns))
        if named.clock_step or len(self._passed) >= TICKS_PER_S or self._silence_tells():
            self.tell_passed()
        return True

    def charge(self, cost_ns: int) -> None:
        """Count what ticks cost later on, seconds at a time, as a cost of the next second's."""
        self._owed_ns += cost_ns

    async def _close_and_absorb(self) -> None:
        loop = asyncio.get_running_loop()
        self.tell_passed()
        try:
            closed = await loop.run_in_executor(self._worker, self._close, loop)
        except Exception as error:  # also where a question wanted the tick, which has a deadline
            self._lost = error
            raise
        begun_ns = time.thread_time_ns()
        self._absorb(closed)
        self.spent_ns += time.thread_time_ns() - begun_ns

    def _close(self, loop: asyncio.AbstractEventLoop) -> Closed:
        begun_ns = time.thread_time_ns()
        now = read_clocks()
        epoch, named = self._path.flip(), self._wall.named(now)
        self._epoch, self._flipped_mono_ns = epoch, now.mono_ns
        tick = self._read(epoch, named, loop)
        if self._path.notebook:
            self._path.notebook.write(Note(epoch, time.time_ns(), self._reader.state()))
        self._path.sample_shift = self._reader.next_sample_shift(tick)
        self.spent_ns += time.thread_time_ns() - begun_ns
        return Closed(tick=tick, mono_ns=now.mono_ns, epoch=epoch, clock_step=named.clock_step)

    def _read(self, epoch: int, named: Named, loop: asyncio.AbstractEventLoop) -> Tick:
        """Read a closed epoch; while memory is short again, and each time fewer of its flows.

        It is there until the next flip, and bounds allow for the flows that are not told.
        """
        read = partial(self._reader.read, epoch, named.last_tick, first_id=_first_id(named))
        thin_shift = self.pace.thin_shift
        for _ in range(READ_TRIES - 1):
            with suppress(MemoryError):
                return read(thin_shift=thin_shift)
            loop.call_soon_threadsafe(self._relieve)
            time.sleep(READ_PAUSE_S)
            thin_shift = min(thin_shift + THINNER_SHIFT, MAX_THIN_SHIFT)
        return read(thin_shift=thin_shift)

    def _keep_pace(self, elapsed_ns: int) -> None:
        # What is done once a second must not make one tick look dear.
        part_ns = int(self._owed_ns * min(1.0, elapsed_ns / 1e9))
        self._owed_ns -= part_ns
        cost_ns, self._paced_ns = self.spent_ns - self._paced_ns + part_ns, self.spent_ns
        before = self.pace.ticks, self.pace.thin_shift
        self.pace.spent(cost_ns, elapsed_ns)
        if (self.pace.ticks, self.pace.thin_shift) != before:
            _log.warning(
                "ticks change to keep within the budget",
                tick_ms=self.tick_ms,
                told_one_in=self.told_one_in,
                cost_ms=cost_ns // 1_000_000,
            )

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._worker, self._path.refresh)
        except (NetsondeError, OSError) as error:
            self.failed_refreshes += 1
            if self.failed_refreshes == 1:
                _log.warning("the host's devices cannot be followed", reason=str(error))


def _started_worker() -> ThreadPoolExecutor:
    """Start the thread that flips: none is to be had later by whoever could not have it now."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flip")
    try:
        worker.submit(int).result()
    except RuntimeError as error:
        reason = f"no thread to read ticks with ({error}); a limit on processes or on memory?"
        raise Unavailable(reason) from None
    return worker


def _first_id(named: Named) -> int | None:
    return None if named.first_tick == named.last_tick else named.first_tick


async def _boundary(length_ns: int) -> None:
    """Wait for the wall clock's next multiple, or until it is set.

    A timer goes by another clock, and may end before it by microseconds: the rest of the tick would
    be one of its own.
    """
    due_ns = (time.time_ns() // length_ns + 1) * length_ns
    while 0 < (left_ns := due_ns - time.time_ns()) <= length_ns:  # noqa: ASYNC110 # no event tells
        await asyncio.sleep(left_ns / 1e9)
