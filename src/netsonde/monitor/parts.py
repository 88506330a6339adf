"""The parts of a monitor that counts, and what the end of one means.

The one idea: each part fails alone and begins again, since none of the others needs it to go on.
Only the ticks of the host's own hook are vital: without them every number would be wrong, so their
end is the monitor's, at once and said.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass
from functools import partial

import structlog

from netsonde import __version__
from netsonde.daemon.failures import Failures
from netsonde.daemon.memory import give_back
from netsonde.daemon.supervisor import Supervisor
from netsonde.kernel.devices import Device
from netsonde.kernel.hooks import Opened
from netsonde.kernel.path import CountingPath
from netsonde.model.errors import Unavailable
from netsonde.model.window import TICK_NS
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.budget import Budget
from netsonde.monitor.keep import PAUSE_S, KeptFile
from netsonde.monitor.pace import Pace
from netsonde.monitor.server import Server
from netsonde.monitor.taken import Closed
from netsonde.monitor.takeover import close_gap
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import View, ViewOfDevice, Views, reader_of
from netsonde.recorder.ring import Recorder
from netsonde.sketch.absent import placement

_BOOT_BYTES = 4
_ID_BYTES = 16
_GIVE_BACK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What a monitor may take, of the host and all its devices together."""

    recorder_bytes: int
    ticks: float
    """Of one CPU, for reading ticks."""
    answers: float
    """Of one CPU, for answers."""


class Monitor:
    """The parts of a monitor that counts, from taking over to passing on."""

    def __init__(
        self,
        opened: Opened,
        viewed: dict[Device, CountingPath],
        kept: KeptFile,
        shares: Shares,
    ) -> None:
        """Take over what the former monitor left.

        `viewed`: what counts at each device that is viewed. Raises OSError when the kernel refuses,
        Unavailable when there is no thread to be had.
        """
        path = self._path = opened.path
        self._opened, self._kept = opened, kept
        self._id, self._failures = os.urandom(_ID_BYTES).hex(), Failures()
        reader = reader_of(path)
        gap, now_tick = close_gap(path, reader), time.time_ns() // TICK_NS
        views = 1 + len(viewed)
        recorder_bytes, budget_ratio = shares.recorder_bytes // views, shares.ticks / views
        self._tasks = Tasks(
            Recorder(recorder_bytes), began_tick=now_tick + 1, failures=self._failures
        )
        places = placement(path.hash_key, path.lg_buckets)
        self._tasks.restore(kept.load(), gap, places, now_tick, time.monotonic_ns())
        self._alarms = Alarms(os.urandom(_BOOT_BYTES).hex(), self._failures)
        self._ticker = Ticker(
            path,
            reader,
            self._absorb,
            Pace(budget_ratio),
            silence_tells=self._alarms.silence_tells,
            relieve=self._relieve,
        )
        answers = Budget(shares.answers)
        view_of = partial(
            ViewOfDevice,
            recorder_bytes=recorder_bytes,
            budget_ratio=budget_ratio,
            answers=answers,
            failures=self._failures,
        )
        self._devices = [view_of(device, at) for device, at in viewed.items()]
        self._upkeep = Upkeep(
            (self._tasks.work, self._alarms.work),
            self._ticker.charge,
            self._tasks.answering_ahead,
            budget=answers,
            failures=self._failures,
        )

    async def run(
        self,
        listener: socket.socket,
        *,
        allowed_uids: frozenset[int],
        encapsulated: str,
        socket_path: str,
    ) -> None:
        """Count and answer until SIGTERM or SIGINT, then pass on what was counted.

        Raises Unavailable when the host's own ticks have ended.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._failures.watch(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        server = Server(
            Views(View(self._path.hook, self._tasks, self._ticker), self._devices),
            self._upkeep,
            self._alarms,
            allowed_uids=allowed_uids,
            software=__version__,
            encapsulated=encapsulated,
            monitor=self._id,
            failures=self._failures,
        )
        self._tell(socket_path)
        parts = Supervisor(self._failures)
        parts.start("ticks", self._ticker.run, vital=True)
        parts.start("upkeep", self._upkeep.run)
        parts.start("server", lambda: server.run(listener))
        parts.start("keeping", self._keep_up)
        parts.start("memory", _give_back)
        for view in self._devices:
            parts.start("device", view.run)
        try:
            await parts.until_dead(stop)
            await parts.close()
            await self._ticker.flush()
        except Exception as error:
            await parts.close()
            self._failures.note("ticks", error)
            reason = f"{type(error).__name__}: {error}"
            raise Unavailable(f"counting has ended, and so does this monitor: {reason}") from error
        finally:
            listener.close()
            self._pass_on()

    def _pass_on(self) -> None:
        """Fold and keep everything, for the next monitor."""
        try:
            self._tasks.catch_up()
            self._alarms.catch_up()
            self._keep()
        except Exception as error:  # this one ends anyway
            self._failures.note("keeping", error)
        structlog.get_logger().info(
            "monitor stopped", packets=self._tasks.packets, drops=dict(self._tasks.drops)
        )

    def _absorb(self, closed: Closed) -> None:
        """Hand a tick on; whoever fails over it must not cost the next one."""
        self._tasks.absorb(closed)
        self._alarms.absorb(closed.tick)
        self._upkeep.wake()

    def _relieve(self) -> None:
        """Let all go that can be: there is no memory for a tick."""
        self._tasks.begin_anew()
        give_back()

    async def _keep_up(self) -> None:
        """Keep the counts now and then, for the case that this process is killed."""
        pause_s = PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._keep()

    def _keep(self) -> float:
        """Write down what is folded; gives the seconds to leave before the next time."""
        load_id = self._path.notebook.load_id if self._path.notebook else 0
        return self._kept.save(self._tasks.kept(load_id))

    def _tell(self, socket_path: str) -> None:
        log_line = structlog.get_logger()
        for name, reason in self._opened.refused.items():
            log_line.warning("hook not used", hook=name, reason=reason)
        if self._opened.stale_filters:
            log_line.warning("a dead monitor's filters removed", filters=self._opened.stale_filters)
        if self._opened.unpinned:
            log_line.warning(
                "counting begins anew: what was pinned is of another version, size or hook"
            )
        if self._path.pin_fault:
            log_line.warning("counting ends with this process", reason=self._path.pin_fault)
        log_line.info(
            "monitor counts",
            hook=self._path.hook,
            cpus=self._path.cpus,
            socket=socket_path,
            pinned=self._path.notebook is not None,
            taken_over=self._path.adopted,
            tasks=len(self._tasks),
        )
        for view in self._devices:
            log_line.info("device viewed", device=view.device.name, hook=view.hook)


async def _give_back() -> None:
    """Give freed memory back every second, until cancelled."""
    while True:
        await asyncio.sleep(_GIVE_BACK_S)
        give_back()
