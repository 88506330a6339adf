"""The ticker: whoever asks gets a flip that began after the question, and shares it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from netsonde.model.window import TICK_NS
from netsonde.monitor.pace import Pace
from netsonde.monitor.taken import Closed
from netsonde.monitor.ticker import READ_TRIES, Ticker
from netsonde.sketch.tick import Tick


class Path:
    """A data path whose flips wait to be let go."""

    notebook = None

    def __init__(self) -> None:
        self.flips = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

        self.untouched = False

    def refresh(self) -> None:
        pass

    def is_untouched(self) -> bool:
        return self.untouched

    def flip(self) -> int:
        self.begun.release()
        assert self.go.acquire(timeout=10)
        self.flips += 1
        return self.flips


class Reader:
    def read(
        self, epoch: int, tick_id: int, *, first_id: int | None = None, thin_shift: int = 0
    ) -> Tick:
        return Tick(id=tick_id, first_id=first_id, records=b"", sides=())

    def empty(self, tick_id: int, *, first_id: int | None = None) -> Tick:
        return self.read(0, tick_id, first_id=first_id)

    def next_sample_shift(self, tick: Tick) -> int:
        return 7


def test_those_who_wait_together_share_a_flip() -> None:
    async def story() -> None:
        path, ticks = Path(), []
        ticker = Ticker(path, Reader(), ticks.append, Pace(1.0))
        first = asyncio.create_task(ticker.flush())
        await asyncio.to_thread(path.begun.acquire)
        # These came while the first flip was under way: it may have missed what they saw.
        others = [asyncio.create_task(ticker.flush()) for _ in range(5)]
        await asyncio.sleep(0)
        path.go.release()
        await first
        assert len(ticks) == 1
        path.go.release()
        await asyncio.gather(*others)
        assert path.flips == len(ticks) == 2

    asyncio.run(story())


def test_ticks_follow_the_wall_clock() -> None:
    async def story() -> None:
        path, ticks, enough = Path(), [], asyncio.Event()
        for _ in range(100):
            path.go.release()

        def absorb(closed: Closed) -> None:
            ticks.append(closed.tick.id)
            if ticks[-1] - ticks[0] >= 3:
                enough.set()

        ticker = Ticker(path, Reader(), absorb, Pace(1.0))
        running = asyncio.create_task(ticker.run())
        await asyncio.wait_for(enough.wait(), 10)
        running.cancel()
        assert ticks == sorted(ticks)

    asyncio.run(story())


def test_ticks_of_a_quiet_host_need_no_flip_but_one_a_second() -> None:
    async def story() -> None:
        path, ticks, enough = Path(), [], asyncio.Event()
        path.untouched = True
        for _ in range(100):
            path.go.release()

        def absorb(closed: Closed) -> None:
            ticks.append(closed)
            if len(ticks) == 25:
                enough.set()

        ticker = Ticker(path, Reader(), absorb, Pace(1.0))
        running = asyncio.create_task(ticker.run())
        await asyncio.wait_for(enough.wait(), 20)
        running.cancel()
        told = ticks[:25]
        ids = [closed.tick.id for closed in told]
        assert ids == sorted(set(ids)), "no tick twice"
        epochs = [closed.epoch for closed in told]
        assert epochs == sorted(epochs)
        assert 1 <= epochs[-1] <= 5
        await ticker.flush()  # after a flip that may be under way
        flips = path.flips
        await ticker.flush()
        assert path.flips == flips + 1, "who asks gets a flip"
        path.untouched = False
        running = asyncio.create_task(ticker.run())
        while path.flips < flips + 4:
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(story())


def test_empty_ticks_are_told_together_before_whoever_must_know() -> None:
    async def story() -> None:
        path, ticks, news = Path(), [], []
        path.untouched = True
        ticker = Ticker(path, Reader(), ticks.append, Pace(1.0), silence_tells=lambda: bool(news))

        def pass_empty(number: int) -> None:
            for _ in range(number):
                assert ticker._pass_empty(ticker._flipped_mono_ns)

        pass_empty(3)
        assert not ticks
        ticker.tell_passed()
        assert len(ticks) == 3
        pass_empty(2)
        path.go.release()
        await ticker.flush()
        assert [closed.epoch for closed in ticks] == [0, 0, 0, 0, 0, 1]
        pass_empty(9)
        assert len(ticks) == 6
        pass_empty(1)
        assert len(ticks) == 16, "a second is told at its end"
        news.append("an alarm")
        pass_empty(1)
        assert len(ticks) == 17
        ids = [closed.tick.id for closed in ticks]
        ended = [closed.mono_ns for closed in ticks]
        assert ids == sorted(ids)
        assert ended == sorted(set(ended))

    asyncio.run(story())


def test_what_ticks_cost_later_is_spread_over_a_second() -> None:
    """What is folded once a second, within the budget, does not make a tick look dear."""
    ticker = Ticker(Path(), Reader(), lambda closed: None, Pace(0.1))
    for number in range(100):
        if number % 10 == 0:
            ticker.charge(60_000_000)
        ticker._keep_pace(TICK_NS)
        assert ticker.pace.ticks == 1
    for number in range(100):
        if number % 10 == 0:
            ticker.charge(200_000_000)
        ticker._keep_pace(TICK_NS)
    assert ticker.pace.ticks > 1


class ReaderWithoutMemory(Reader):
    """Has memory for a tick from the n-th reading on."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.thinned: list[int] = []

    def read(
        self, epoch: int, tick_id: int, *, first_id: int | None = None, thin_shift: int = 0
    ) -> Tick:
        self.thinned.append(thin_shift)
        if self.fails > 0:
            self.fails -= 1
            raise MemoryError
        return super().read(epoch, tick_id, first_id=first_id, thin_shift=thin_shift)


@pytest.mark.parametrize("fails", range(1, READ_TRIES))
def test_a_tick_without_memory_is_read_again_once_some_was_given_back(fails: int) -> None:
    async def story() -> None:
        path, ticks, relieved = Path(), [], []
        for _ in range(9):
            path.go.release()
        reader = ReaderWithoutMemory(fails)
        ticker = Ticker(
            path, reader, ticks.append, Pace(1.0), relieve=lambda: relieved.append(reader.fails)
        )
        await ticker.flush()
        assert [closed.epoch for closed in ticks] == [1]
        assert len(relieved) == fails
        await ticker.flush()
        assert [closed.epoch for closed in ticks] == [1, 2]
        assert reader.thinned == [*[0, 3, 6, 9, 10][: fails + 1], 0], "each time it takes less"

    asyncio.run(story())


def test_a_tick_without_memory_at_last_ends_the_ticks_and_says_why() -> None:
    async def story() -> None:
        path, ticks = Path(), []
        for _ in range(9):
            path.go.release()
        ticker = Ticker(path, ReaderWithoutMemory(READ_TRIES), ticks.append, Pace(1.0))
        with pytest.raises(MemoryError):
            await ticker.flush()
        with pytest.raises(MemoryError):
            await asyncio.wait_for(ticker.run(), 10)
        assert not ticks

    asyncio.run(story())


# The limit leaves no room for the stack of a thread.
NO_THREAD = """
import resource
from pathlib import Path
from netsonde.model.errors import Unavailable
from netsonde.monitor.pace import Pace
from netsonde.monitor.ticker import Ticker
taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + (2 << 20),) * 2)
try:
    Ticker(None, None, print, Pace(1.0))
except Unavailable as error:
    print(error)
"""


def test_without_a_thread_there_is_no_ticker_and_a_sentence() -> None:
    argv = [sys.executable, "-c", NO_THREAD]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("no thread to read ticks with (can't start new thread)")
    assert not done.stderr
