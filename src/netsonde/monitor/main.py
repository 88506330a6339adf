"""`netsonde-monitor`: load, attach, give up root, serve.

Programs are held by file descriptors, so even `kill -9` detaches them and the network never
notices; unless `pin_dir` is set: then they count on, and the next monitor takes them over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import structlog

from netsonde.daemon import log, rights, seccomp, settings
from netsonde.daemon.memory import keep_freed
from netsonde.kernel.devices import Device, device_named
from netsonde.kernel.hooks import AUTO, open_device, open_path, unpin
from netsonde.kernel.path import CountingPath, Encapsulated
from netsonde.kernel.pins import Pins
from netsonde.kernel.sizing import MIB_PER_CPU_OF_DEVICE, lg_buckets, possible_cpus
from netsonde.model.device import MAX_DEVICES, device_name
from netsonde.model.errors import BadField, Busy, NetsondeError, UnsupportedByKernel
from netsonde.monitor.keep import KeptFile, beside
from netsonde.monitor.parts import Monitor, Shares
from netsonde.monitor.socket_file import bind

FREE_S = 2.0
"""Seconds that a monitor waits for the one before it, which is just ending."""
_LOOK_S = 0.05
_HASH_WORDS = 8
T = TypeVar("T")


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
    answer_cpu_percent: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=100,
            description="share of one CPU that answers may take, whoever asks; beyond it questions "
            "are refused, and told when to ask again",
        ),
    ] = 30.0
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


def start(config: Settings) -> None:
    """Attach, give up root and serve; raises NetsondeError or OSError with a sentence."""
    keep_freed()
    agent = rights.account("agent_user", config.agent_user, rights.AGENT)
    owner = rights.account("user", config.user, rights.MONITOR)
    buckets = lg_buckets(config.table_mb, possible_cpus())
    devices = _devices(config)
    opened = _when_free(
        lambda: open_path(
            config.hook,
            hash_key=_hash_key(),
            lg_buckets=buckets,
            encapsulated=config.encapsulated,
            pins=_pins(config),
        )
    )
    with ExitStack() as stack:
        stack.enter_context(opened.claim)
        stack.enter_context(opened.path)
        viewed = {device: stack.enter_context(_open_device(config, device)) for device in devices}
        socket_path = Path(config.socket)
        listener = _when_free(lambda: bind(socket_path, agent.uid))
        directory = beside(socket_path, owner)
        paths = [opened.path, *viewed.values()]
        rights.give_up(owner, frozenset().union(*(path.capabilities for path in paths)))
        seccomp.refuse(bpf=False)
        log.begin_writing()
        if owner == agent:
            structlog.get_logger().warning("agent and monitor are one user", uid=owner.uid)
        shares = Shares(
            recorder_bytes=config.recorder_mb << 20,
            ticks=config.cpu_budget_percent / 100,
            answers=config.answer_cpu_percent / 100,
        )
        monitor = Monitor(opened, viewed, KeptFile(directory), shares)
        # What is loaded stays: else a tick now and then waits for it to be walked.
        gc.collect()
        gc.freeze()
        asyncio.run(
            monitor.run(
                listener,
                allowed_uids=frozenset({0, agent.uid}),
                encapsulated=config.encapsulated.value,
                socket_path=config.socket,
            )
        )


def _when_free(take: Callable[[], T]) -> T:
    """Take what one monitor has at a time; raises Busy when another one has it still.

    A monitor that was killed holds on for some milliseconds after, until the kernel is done.
    """
    until_s = time.monotonic() + FREE_S
    while True:
        try:
            return take()
        except Busy:
            if time.monotonic() >= until_s:
                raise
            time.sleep(_LOOK_S)


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
