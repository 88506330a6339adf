"""`netsonde-monitor`: load, attach, give up root, serve.

Programs are held by file descriptors, so even `kill -9` detaches them and the network never
notices; unless `pin_dir` is set: then they count on, and the next monitor takes them over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from netsonde import __version__
from netsonde.daemon import log, rights, seccomp, settings
from netsonde.daemon.failures import Failures
from netsonde.daemon.memory import give_back, keep_freed
from netsonde.kernel.devices import Device, device_named
from netsonde.kernel.hooks import AUTO, Opened, open_device, open_path, unpin
from netsonde.kernel.path import CountingPath, Encapsulated
from netsonde.kernel.pins import Pins
from netsonde.kernel.sizing import MIB_PER_CPU_OF_DEVICE, lg_buckets, possible_cpus
from netsonde.model.device import MAX_DEVICES, device_name
from netsonde.model.errors import BadField, NetsondeError, UnsupportedByKernel
from netsonde.model.window import TICK_NS
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.keep import PAUSE_S, KeptFile, beside
from netsonde.monitor.pace import Pace
from netsonde.monitor.server import Server, bind
from netsonde.monitor.takeover import close_gap
from netsonde.monitor.tasks import Closed, Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import View, ViewOfDevice, Views, reader_of
from netsonde.recorder.ring import Recorder
from netsonde.sketch.absent import placement

_HASH_WORDS = 8
_BOOT_BYTES = 4
_ID_BYTES = 16


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a monitor; flags and TOML keys have the same names."""

    socket: Annotated[str, msgspec.Meta(description="unix socket that the agent connects to")] = (
        "/run/netsonde/monitor.sock"
    )
    agent_user: Annotated[
        str,
        msgspec.Meta(
            description="user the agent runs as, by name or number; nobody else but root may "
            f"connect; auto: {rights.AGENT.account} where there is such an account, else the id "
            f"{rights.AGENT.spare_id}"
        ),
    ] = rights.AUTO
    user: Annotated[
        str,
        msgspec.Meta(
            description="user to become once attached, keeping only what its hook needs: a name, a "
            f"number, or auto: {rights.MONITOR.account} where there is such an account, else the "
            f"id {rights.MONITOR.spare_id}"
        ),
    ] = rights.AUTO
    table_mb: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=1 << 20, description="memory of the flow table in MiB; 0: 5 for each CPU"
        ),
    ] = 0
    hook: Annotated[
        str,
        msgspec.Meta(description="where to count: auto (the first that works), or a hook's name"),
    ] = AUTO
    encapsulated: Annotated[
        Encapsulated,
        msgspec.Meta(
            description="what to count of tunnels: outer, the packets that carry others; exclude "
            "these and count what they carry"
        ),
    ] = Encapsulated.OUTER
    devices: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            max_length=MAX_DEVICES,
            description="devices to view as well, each by itself: all that passes, in and out, "
            f"forwarded packets too; at most {MAX_DEVICES}",
        ),
    ] = ()
    device_table_mb: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1 << 20,
            description="memory of the flow table of each of them in MiB; 0: "
            f"{MIB_PER_CPU_OF_DEVICE} for each CPU",
        ),
    ] = 0
    pin_dir: Annotated[
        str,
        msgspec.Meta(
            description="directory of a BPF file system, such as /sys/fs/bpf/netsonde, where "
            "counting goes on while no monitor runs; empty: it ends with the monitor"
        ),
    ] = ""
    unpin: Annotated[
        bool, msgspec.Meta(description="only remove what is pinned in pin_dir, and end")
    ] = False
    cpu_budget_percent: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=100,
            description="share of one CPU that reading ticks may take, of the host and each device "
            "alike",
        ),
    ] = 10.0
    recorder_mb: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1 << 16,
            description="memory of the flight recorder in MiB: the last minutes, to be asked "
            "about; of the host and each device alike",
        ),
    ] = 14
    log_json: Annotated[bool, msgspec.Meta(description="write log lines as JSON")] = False


class Monitor:
    """The parts of a monitor that counts, from taking over to passing on."""

    def __init__(
        self,
        config: Settings,
        opened: Opened,
        viewed: dict[Device, CountingPath],
        kept: KeptFile,
        agent_uid: int,
    ) -> None:
        """Take over what the former monitor left; raises OSError when the kernel refuses.

        `viewed`: what counts at each device that is viewed. `agent_uid`: who may ask.
        """
        path = self._path = opened.path
        self._id, self._failures = os.urandom(_ID_BYTES).hex(), Failures()
        self._config, self._opened, self._kept = config, opened, kept
        self._agent_uid = agent_uid
        reader = reader_of(path)
        gap, now_tick = close_gap(path, reader), time.time_ns() // TICK_NS
        shares = 1 + len(viewed)
        recorder_bytes = (config.recorder_mb << 20) // shares
        budget_ratio = config.cpu_budget_percent / 100 / shares
        self._tasks = Tasks(Recorder(recorder_bytes), began_tick=now_tick + 1)
        places = placement(path.hash_key, path.lg_buckets)
        self._tasks.restore(kept.load(), gap, places, now_tick, time.monotonic_ns())
        self._alarms = Alarms(os.urandom(_BOOT_BYTES).hex())
        self._ticker = Ticker(
            path,
            reader,
            self._absorb,
            Pace(budget_ratio),
            silence_tells=self._alarms.silence_tells,
        )
        self._devices = [
            ViewOfDevice(device, at, recorder_bytes=recorder_bytes, budget_ratio=budget_ratio)
            for device, at in viewed.items()
        ]
        works = self._tasks.work, self._alarms.work
        self._upkeep = Upkeep(works, self._ticker.charge, self._tasks.answering_ahead)

    async def run(self, listener: socket.socket) -> None:
        """Count and answer until SIGTERM or SIGINT, then pass on what was counted."""
        own = View(self._path.hook, self._tasks, self._ticker)
        server = Server(
            Views(own, self._devices),
            self._upkeep,
            self._alarms,
            allowed_uids=frozenset({0, self._agent_uid}),
            software=__version__,
            encapsulated=self._config.encapsulated.value,
            monitor=self._id,
            failures=self._failures,
        )
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._tell()
        async with asyncio.TaskGroup() as group:
            jobs = [
                self._ticker.run(),
                self._upkeep.run(),
                server.run(listener),
                self._keep_up(),
                _give_back(),
                *(view.run() for view in self._devices),
            ]
            running = [group.create_task(job) for job in jobs]
            await stop.wait()
            for job in running:
                job.cancel()
        await self._ticker.flush()
        self._tasks.catch_up()
        self._alarms.catch_up()
        self._keep()
        structlog.get_logger().info(
            "monitor stopped", packets=self._tasks.packets, drops=dict(self._tasks.drops)
        )

    def _absorb(self, closed: Closed) -> None:
        self._tasks.absorb(closed)
        self._alarms.absorb(closed.tick)
        self._upkeep.wake()

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

    def _tell(self) -> None:
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
            socket=self._config.socket,
            pinned=self._path.notebook is not None,
            taken_over=self._path.adopted,
            tasks=len(self._tasks),
        )
        for view in self._devices:
            log_line.info("device viewed", device=view.device.name, hook=view.hook)


async def _give_back() -> None:
    """Give freed memory back every second, until cancelled."""
    while True:
        await asyncio.sleep(1)
        give_back()


def start(config: Settings) -> None:
    """Attach, give up root and serve; raises NetsondeError or OSError with a sentence."""
    keep_freed()
    agent = rights.account("agent_user", config.agent_user, rights.AGENT)
    owner = rights.account("user", config.user, rights.MONITOR)
    buckets = lg_buckets(config.table_mb, possible_cpus())
    devices = _devices(config)
    opened = open_path(
        config.hook,
        hash_key=_hash_key(),
        lg_buckets=buckets,
        encapsulated=config.encapsulated,
        pins=_pins(config),
    )
    with ExitStack() as stack:
        stack.enter_context(opened.claim)
        stack.enter_context(opened.path)
        viewed = {device: stack.enter_context(_open_device(config, device)) for device in devices}
        socket_path = Path(config.socket)
        listener = bind(socket_path, agent.uid)
        directory = beside(socket_path, owner)
        paths = [opened.path, *viewed.values()]
        rights.give_up(owner, frozenset().union(*(path.capabilities for path in paths)))
        seccomp.refuse(bpf=False)
        log.begin_writing()
        if owner == agent:
            structlog.get_logger().warning("agent and monitor are one user", uid=owner.uid)
        monitor = Monitor(config, opened, viewed, KeptFile(directory), agent.uid)
        # What is loaded stays: else a tick now and then waits for it to be walked.
        gc.collect()
        gc.freeze()
        asyncio.run(monitor.run(listener))


def _devices(config: Settings) -> list[Device]:
    """Find the devices to view; raises BadField naming one that is not there, or there twice."""
    names = [device_name("devices", name) for name in config.devices]
    for name in names:
        if names.count(name) > 1:
            raise BadField("devices", name, "each device once")
    return [device_named(name) for name in names]


def _open_device(config: Settings, device: Device) -> CountingPath:
    buckets = lg_buckets(
        config.device_table_mb,
        possible_cpus(),
        mib_per_cpu=MIB_PER_CPU_OF_DEVICE,
        field="device_table_mb",
    )
    return open_device(config.hook, device, hash_key=_hash_key(), lg_buckets=buckets)


def _hash_key() -> tuple[int, ...]:
    """Draw the secret words that place flows."""
    return struct.unpack(f"{_HASH_WORDS}Q", os.urandom(8 * _HASH_WORDS))


def _pins(config: Settings) -> Pins | None:
    """Open the pin directory; where there can be none, counting is worth more than keeping."""
    if not config.pin_dir:
        return None
    try:
        return Pins(Path(config.pin_dir))
    except UnsupportedByKernel as error:
        structlog.get_logger().warning("counting ends with this process", reason=str(error))
        return None


def _unpin(config: Settings) -> None:
    if not config.pin_dir:
        raise BadField("pin_dir", config.pin_dir, "the directory whose pins are to be removed")
    loads = unpin(Path(config.pin_dir))
    structlog.get_logger().info("unpinned", loads=loads, directory=config.pin_dir)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script; exits with 2 for bad settings, 1 when the host refuses."""
    try:
        config = settings.read(
            Settings,
            "netsonde monitor",
            "Counts this host's packets in the kernel and answers its agent.",
            sys.argv[1:] if argv is None else argv,
        )
        rights.confine()
        log.configure(json=config.log_json)
        if config.unpin:
            _unpin(config)
        else:
            start(config)
    except BadField as error:
        sys.exit(_failed(error, 2))
    except (NetsondeError, OSError) as error:
        sys.exit(_failed(error, 1))


def _failed(error: Exception, status: int) -> int:
    log.say(f"netsonde monitor: {error}")
    return status


if __name__ == "__main__":
    main()
