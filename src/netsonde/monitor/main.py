"""`netsonde-monitor`: load, attach, give up root, serve.

Nothing of it outlives the process: programs are held by file descriptors, so even `kill -9`
detaches them and the network never notices.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its idle threads cost memory

import msgspec
import structlog

from netsonde.kernel.hooks import AUTO, Opened, open_path
from netsonde.kernel.sizing import lg_buckets, possible_cpus
from netsonde.model.errors import BadField, NetsondeError
from netsonde.monitor import privilege
from netsonde.monitor.pace import Pace
from netsonde.monitor.server import Server, bind
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.sketch.tick import Reader
from netsonde.wire import log, settings

_HASH_WORDS = 8
# Read while still root: the user to become may not be able to read where we are installed.
_SOFTWARE = version("netsonde")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a monitor; flags and TOML keys have the same names."""

    socket: Annotated[str, msgspec.Meta(description="unix socket that the agent connects to")] = (
        "/run/netsonde/monitor.sock"
    )
    agent_user: Annotated[
        str, msgspec.Meta(description="user the agent runs as; nobody else but root may connect")
    ] = "nobody"
    user: Annotated[
        str,
        msgspec.Meta(description="user to become once attached, keeping only what its hook needs"),
    ] = "nobody"
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
    cpu_budget_percent: Annotated[
        float,
        msgspec.Meta(gt=0, le=100, description="share of one CPU that reading ticks may take"),
    ] = 10.0
    log_json: Annotated[bool, msgspec.Meta(description="write log lines as JSON")] = False


async def serve(
    config: Settings, opened: Opened, secret: Sequence[int], listener: socket.socket
) -> None:
    """Count and answer until SIGTERM or SIGINT."""
    log_line, path = structlog.get_logger(), opened.path
    tasks = Tasks()
    reader = Reader(
        path.hot,
        path.cold,
        path.slices,
        lg_buckets=path.lg_buckets,
        cpus=path.cpus,
        hash_key=secret,
    )
    ticker = Ticker(path, reader, tasks.absorb, Pace(config.cpu_budget_percent / 100))
    agent_uid, _ = privilege.user_ids("agent_user", config.agent_user)
    server = Server(
        tasks,
        ticker,
        allowed_uids=frozenset({0, agent_uid}),
        software=_SOFTWARE,
        hook=path.hook,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for name, reason in opened.refused.items():
        log_line.warning("hook not used", hook=name, reason=reason)
    if opened.stale_filters:
        log_line.warning("a dead monitor's filters removed", filters=opened.stale_filters)
    log_line.info("monitor counts", hook=path.hook, cpus=path.cpus, socket=config.socket)
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(ticker.run()), group.create_task(server.run(listener))]
        await stop.wait()
        for job in jobs:
            job.cancel()
    log_line.info("monitor stopped", packets=tasks.packets, drops=dict(tasks.drops))


def start(config: Settings) -> None:
    """Attach, give up root and serve; raises NetsondeError or OSError with a sentence."""
    agent_uid, _ = privilege.user_ids("agent_user", config.agent_user)
    uid, gid = privilege.user_ids("user", config.user)
    secret = [secrets.randbits(64) for _ in range(_HASH_WORDS)]
    buckets = lg_buckets(config.table_mb, possible_cpus())
    opened = open_path(config.hook, hash_key=secret, lg_buckets=buckets)
    with opened.path, opened.claim:
        listener = bind(Path(config.socket), agent_uid)
        privilege.drop_to(uid, gid, opened.path.capabilities)
        asyncio.run(serve(config, opened, secret, listener))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script; exits with 2 for bad settings, 1 when the host refuses."""
    try:
        config = settings.read(
            Settings,
            "netsonde monitor",
            "Counts this host's packets in the kernel and answers its agent.",
            sys.argv[1:] if argv is None else argv,
        )
        log.configure(json=config.log_json)
        start(config)
    except BadField as error:
        sys.exit(_failed(error, 2))
    except (NetsondeError, OSError) as error:
        sys.exit(_failed(error, 1))


def _failed(error: Exception, status: int) -> int:
    sys.stderr.write(f"netsonde monitor: {error}\n")
    return status


if __name__ == "__main__":
    main()
