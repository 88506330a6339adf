"""What a monitor counts: the host's own packets, and all that passes the devices it views.

The one idea: each has a table, a ticker, a flight recorder and tasks of its own, and a question
belongs to one of them by its filter. So no device costs the host's own counting a packet or a tick,
and a device that nobody views is refused, never answered with nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import structlog

from netsonde.daemon.failures import Failures
from netsonde.daemon.supervisor import Supervisor
from netsonde.kernel.devices import Device, is_there
from netsonde.kernel.path import CountingPath
from netsonde.model.device import MAX_DEVICES, SIDES
from netsonde.model.errors import BadField
from netsonde.model.resource import DeviceView
from netsonde.model.task import Question, Task
from netsonde.model.window import TICK_NS, wall_text
from netsonde.monitor.budget import Budget
from netsonde.monitor.pace import Pace
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks, check_bounds
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.upkeep import Upkeep
from netsonde.recorder.ring import Recorder
from netsonde.sketch.tick import Reader

_LOOK_S = 1.0
"""Seconds between looks at whether a device still is there; each question looks, too."""
_log = structlog.get_logger()


class View:
    """One place where packets are counted; this one is the host itself."""

    def __init__(self, hook: str, tasks: Tasks, ticker: Ticker) -> None:
        """`hook`: as certificates name it, such as `netfilter`."""
        self.hook = hook
        self.tasks = tasks
        self.ticker = ticker

    async def flush(self) -> int:
        """Close the tick being filled; gives the id of the one that begins."""
        return await self.ticker.flush()


class ViewOfDevice(View):
    """All that passes one device, in and out, whosever it is."""

    def __init__(
        self,
        device: Device,
        path: CountingPath,
        *,
        recorder_bytes: int,
        budget_ratio: float,
        answers: Budget,
        failures: Failures,
    ) -> None:
        """Count from `path`, which is attached; shares are of memory, and of a CPU."""
        self.device = device
        self.gone_tick: int | None = None
        """Tick in which it was noticed that the device is not there any more."""
        reader = reader_of(path)
        # All devices together may take as much as the host's own tasks.
        tasks = Tasks(
            Recorder(recorder_bytes), _tick() + 1, shared_by=MAX_DEVICES, failures=failures
        )
        ticker = Ticker(path, reader, self._absorb, Pace(budget_ratio), relieve=tasks.begin_anew)
        super().__init__(f"{path.hook} {device.name}", tasks, ticker)
        self._failures = failures
        self._upkeep = Upkeep(
            (tasks.work,),
            ticker.charge,
            tasks.answering_ahead,
            budget=answers,
            failures=failures,
        )
        self._begun = False

    def is_there(self) -> bool:
        """Tell whether the device is still the one that is counted at; once gone, it stays so."""
        if self.gone_tick is None and not is_there(self.device):
            self.gone_tick = _tick()
            _log.warning("a viewed device is gone; its past can be asked", device=self.device.name)
        return self.gone_tick is None

    async def run(self) -> None:
        """Count until the device is gone, be asked about its past then; until cancelled.

        Raises what ends its ticks, and may be called again: its tasks then begin anew, and know
        what they miss.
        """
        if self._begun:
            self.tasks.begin_anew()
        self._begun = True
        parts, gone = Supervisor(self._failures), asyncio.Event()
        try:
            parts.start("upkeep of a device", self._upkeep.run)
            parts.start("look at a device", partial(self._until_gone, gone))
            ticking = parts.start("ticks of a device", self.ticker.run, vital=True)
            await parts.until_dead(gone)
            ticking.cancel()
            await self.ticker.flush()
            await asyncio.Event().wait()  # its past can be asked
        finally:
            await parts.close()

    async def flush(self) -> int:
        """Close the tick being filled, while there is a device: no tick tells of none."""
        return await self.ticker.flush() if self.is_there() else _tick()

    def state(self) -> DeviceView:
        """Tell how it fares."""
        self.ticker.tell_passed()
        gone = None if self.is_there() else wall_text(self.gone_tick or 0)
        return DeviceView(
            device=self.device.name,
            hook=self.hook,
            gone=gone,
            since_tick=self.ticker.since_tick,
            last_tick=self.tasks.last_tick,
            packets=self.tasks.packets,
            ip_bytes=self.tasks.ip_bytes,
            drops=dict(self.tasks.drops),
            tasks=len(self.tasks),
            tick_ms=self.ticker.tick_ms,
            told_one_in=self.ticker.told_one_in,
            late_ticks=self.ticker.late_ticks,
            recorder=self.tasks.recorder.reach(),
        )

    async def _until_gone(self, gone: asyncio.Event) -> None:
        while not gone.is_set():
            await asyncio.sleep(_LOOK_S)
            if not self.is_there():
                gone.set()

    def _absorb(self, closed: Closed) -> None:
        self.tasks.absorb(closed)
        self._upkeep.wake()


class Views:
    """The host's own view, and those of its devices."""

    def __init__(self, own: View, devices: Sequence[ViewOfDevice] = ()) -> None:
        self.own = own
        self.devices = {view.device.name: view for view in devices}
        self._device_of: dict[tuple[str, int], str | None] = {}
        """Task -> the device of its filter, also one that is not viewed here."""
        self._applying = asyncio.Lock()

    async def apply(self, tasks: Sequence[Task]) -> int:
        """Run exactly these tasks, each where its filter says; gives the tick they begin with.

        One of a device that is not viewed here runs nowhere, and whoever asks about it is told.
        Raises TooLarge and changes nothing.
        """
        check_bounds(tasks)

        async def begun(device: str | None, view: View) -> int:
            try:
                now_tick = await view.flush()
            except Exception:  # a device that loses its ticks begins anew, and must not hold others
                if device is None:
                    raise
                now_tick = _tick()
            view.tasks.apply([task for task in tasks if task.filter.device == device], now_tick)
            return now_tick

        async with self._applying:
            devices = [begun(name, view) for name, view in self.devices.items()]
            begins = await asyncio.gather(begun(None, self.own), *devices)
            self._device_of = {task.ref: task.filter.device for task in tasks}
        return begins[0]

    def of(self, question: Question) -> View:
        """Find the view that answers; raises BadField where there is none, or not any more."""
        device = question.filter.device
        if question.series is not None:
            device = self._device_of.get((question.series, question.task_id))
        if device is None:
            return self.own
        view = self.devices.get(device)
        if view is None:
            told = f"the monitor views {device} when started with --devices {device}"
            raise BadField("interface", device, f"{self._allowed()} ({told})")
        if not view.is_there() and not _is_before(question, view.gone_tick):
            since = wall_text(view.gone_tick or 0)
            told = f"{device} is gone since {since}; ranges of time before can still be asked"
            raise BadField("interface", device, f"{self._allowed()} ({told})")
        return view

    def states(self) -> tuple[DeviceView, ...]:
        """Tell how the views of devices fare."""
        return tuple(view.state() for view in self.devices.values())

    def _allowed(self) -> str:
        names = [name for name, view in self.devices.items() if view.is_there()]
        viewed = f", or a device viewed here: {', '.join(names)}" if names else ""
        return ", ".join(SIDES) + (viewed or "; no device is viewed here")


def reader_of(path: CountingPath) -> Reader:
    """Give the reader of a path's table."""
    return Reader(
        path.hot,
        path.cold,
        path.slices,
        lg_buckets=path.lg_buckets,
        cpus=path.cpus,
        hash_key=path.hash_key,
    )


def _is_before(question: Question, gone_tick: int | None) -> bool:
    window = question.window
    return window.kind == "range" and window.first_tick < (gone_tick or 0)


def _tick() -> int:
    return time.time_ns() // TICK_NS
