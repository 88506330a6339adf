"""`netsonde-agent`: reads settings, listens, joins the parts of the agent, and gives up root."""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from netsonde import __version__
from netsonde.agent.detectors import Detectors
from netsonde.agent.http.app import application
from netsonde.agent.http.budget import Budget
from netsonde.agent.http.server import HttpServer
from netsonde.agent.metrics import Metrics, Served
from netsonde.agent.node import Node
from netsonde.agent.outward import Outward
from netsonde.agent.paths import Paths
from netsonde.agent.peer_server import PeerServer
from netsonde.agent.peers import Dialer
from netsonde.agent.posting import Poster
from netsonde.agent.probing import Prober
from netsonde.agent.probing_limits import TESTS_PER_HOUR, Limits
from netsonde.agent.questions import Questions
from netsonde.agent.resolving import Resolver
from netsonde.agent.service import Service
from netsonde.agent.state import KEEPS, StateFile
from netsonde.agent.tasks import Tasks
from netsonde.agent.webhooks import Webhooks
from netsonde.daemon import log, rights, seccomp, settings
from netsonde.daemon.directories import prepared
from netsonde.daemon.failures import Failures
from netsonde.daemon.files import Directory
from netsonde.daemon.supervisor import Supervisor
from netsonde.model import address
from netsonde.model.detectors import BUILTIN
from netsonde.model.errors import BadField, NetsondeError, Unavailable
from netsonde.overlay.tree import NO_PARENT

EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2
_DRAWN_BITS = 31
_BACKLOG = 64


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of an agent; flags and TOML keys have the same names."""

    listen: Annotated[str, msgspec.Meta(description="address and port of the HTTP interface")] = (
        "127.0.0.1:8000"
    )
    address: Annotated[
        str,
        msgspec.Meta(description="this host's name in the overlay; the listen address if empty"),
    ] = ""
    peer_port: Annotated[
        int, msgspec.Meta(ge=1, le=65535, description="TCP port between agents, the same on all")
    ] = 8001
    parent: Annotated[
        str,
        msgspec.Meta(
            description="the one address whose leaf agent this may become; `none`: this is a root; "
            "empty: whoever adds it first"
        ),
    ] = ""
    monitor_socket: Annotated[
        str, msgspec.Meta(description="unix socket of this host's monitor")
    ] = "/run/netsonde/monitor.sock"
    state_dir: Annotated[
        str, msgspec.Meta(description="directory that keeps tasks and leaf agents")
    ] = "/var/lib/netsonde"
    user: Annotated[
        str,
        msgspec.Meta(
            description="user to become before serving, when started as root: a name, a number, or "
            f"auto: {rights.AGENT.account} where there is such an account, else the id "
            f"{rights.AGENT.spare_id}"
        ),
    ] = rights.AUTO
    query_deadline_ms: Annotated[
        int, msgspec.Meta(ge=50, le=60_000, description="time the network has for an answer")
    ] = 1000
    probe_max_bytes: Annotated[
        int, msgspec.Meta(ge=1, description="bytes that one active measurement may send")
    ] = 250_000_000
    probe_max_ms: Annotated[
        int, msgspec.Meta(ge=100, le=60_000, description="time one active measurement may send")
    ] = 3000
    probe_tests_per_hour: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1_000_000,
            description="active measurements of that size that an hour has room for, at either "
            "end; smaller ones cost what they send",
        ),
    ] = TESTS_PER_HOUR
    webhook_allow: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="addresses and prefixes that webhooks may be sent to though they are of "
            "this host, loopback or link-local"
        ),
    ] = ()
    http_names: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="names by which HTTP requests may call this host, besides its addresses, "
            "its own name and localhost"
        ),
    ] = ()
    answer_cpu_percent: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=100,
            description="share of one CPU that answers over HTTP may take; beyond it questions are "
            "refused, and told when to ask again",
        ),
    ] = 40.0
    log_json: Annotated[bool, msgspec.Meta(description="write log lines as JSON")] = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent listens, and its name in the overlay."""

    own: str
    listen: str
    http_port: int
    peer_port: int


@dataclass(frozen=True, slots=True)
class Listeners:
    """The two listening sockets of an agent."""

    http: socket.socket
    peers: socket.socket


def parent(config: Settings) -> str:
    """Read who may be the parent; raises BadField."""
    if config.parent in ("", NO_PARENT):
        return config.parent
    return address.host("parent", config.parent)


def place(config: Settings) -> Place:
    """Read where to listen; raises BadField, also for a wildcard without an `address`."""
    name, _, port = config.listen.rpartition(":")
    name = name.removeprefix("[").removesuffix("]")
    allowed = "an address and a port such as 127.0.0.1:8000 or [::1]:8000"
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise BadField("listen", config.listen, allowed)
    try:
        address.mapped(name)
    except ValueError:
        raise BadField("listen", config.listen, allowed) from None
    return Place(
        own=address.host("address", config.address or name),
        listen=name,
        http_port=int(port),
        peer_port=config.peer_port,
    )


def listen(at: Place) -> Listeners:
    """Open both sockets; raises Unavailable when a port is taken or may not be used."""
    http = _bind(at.listen, at.http_port, "listen")
    try:
        return Listeners(http, _bind(at.listen, at.peer_port, "peer_port"))
    except NetsondeError:
        http.close()
        raise


async def serve(
    config: Settings, own: str, listeners: Listeners, loaded: Callable[[], Directory]
) -> None:
    """Run the agent of that name until SIGTERM or SIGINT.

    `loaded` is called once all code is loaded, and before the state is read or anything answered;
    it gives the directory of the state.
    """
    software = __version__
    failures = Failures()
    failures.watch(asyncio.get_running_loop())
    supervisor = Supervisor(failures)
    dialer = Dialer(own=own, peer_port=config.peer_port, software=software)
    node = _node(config, own, dialer, supervisor)
    async with Prober(address=own, limits=_limits(config)) as prober:
        paths = Paths(own=own, prober=prober, dialer=dialer, max_ms=config.probe_max_ms)
        service = _service(config, software, node, paths, prober=prober, supervisor=supervisor)
        peers = PeerServer(
            own=own,
            software=software,
            listener=listeners.peers,
            handler=service.serve_peer,
            closed=node.peer_closed,
            failures=failures,
            is_kin=node.is_kin,
            is_parent=node.is_parent,
            refused=service.served.peers_refused,
        )
        service.served.peers = lambda: peers.slots.taken
        app = application(service, config.http_names)
        http = HttpServer(app, listeners.http, service.served, failures)
        await http.rehearse()
        await service.webhooks.rehearse()
        service.served.by_status.clear()
        with loaded() as directory:
            node.kept.restore(StateFile(directory))
            service.webhooks.restore(node.kept.webhooks)
            # What is loaded stays: else a question now and then waits 50 ms for it to be walked.
            gc.collect()
            gc.freeze()
            node.start()
            service.webhooks.start()
            supervisor.start("peers", peers.run)
            supervisor.start("http", http.run)
            await _until_stopped(supervisor, config, own)


def _node(config: Settings, own: str, dialer: Dialer, supervisor: Supervisor) -> Node:
    return Node(
        own=own,
        only_parent=parent(config),
        dialer=dialer,
        monitor_socket=Path(config.monitor_socket),
        software=__version__,
        built_in=BUILTIN,
        supervisor=supervisor,
        wall_ns=time.time_ns,
        mono_ns=time.monotonic_ns,
    )


def _limits(config: Settings) -> Limits:
    return Limits(
        max_bytes=config.probe_max_bytes,
        max_ms=config.probe_max_ms,
        tests_per_hour=config.probe_tests_per_hour,
    )


def _service(
    config: Settings,
    software: str,
    node: Node,
    paths: Paths,
    *,
    prober: Prober,
    supervisor: Supervisor,
) -> Service:
    served, budget = Served(), Budget(config.answer_cpu_percent)
    webhooks = Webhooks(
        ring=node.ring,
        keep=node.kept.change_webhooks,
        supervisor=supervisor,
        wall_ns=time.time_ns,
        draw_ratio=random.random,
        poster=Poster(outward=Outward(config.webhook_allow), lookup=Resolver().addresses),
    )
    return Service(
        node=node,
        paths=paths,
        tasks=Tasks(node=node, wall_ns=time.time_ns, draw=lambda: secrets.randbits(_DRAWN_BITS)),
        detectors=Detectors(node=node, built_in=BUILTIN),
        questions=Questions(
            node=node,
            query_deadline_ms=config.query_deadline_ms,
            software=software,
            wall_ns=time.time_ns,
            spend_ns=budget.spend,
        ),
        webhooks=webhooks,
        software=software,
        served=served,
        budget=budget,
        metrics=Metrics(
            node=node,
            webhooks=webhooks,
            prober=prober,
            served=served,
            software=software,
            supervisor=supervisor,
            mono_s=time.monotonic,
        ),
        query_deadline_ms=config.query_deadline_ms,
        failures=supervisor.failures,
    )


async def _until_stopped(supervisor: Supervisor, config: Settings, own: str) -> None:
    log.begin_writing()
    log_line = structlog.get_logger()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log_line.info("agent serves", listen=config.listen, peer_port=config.peer_port, address=own)
    try:
        await supervisor.until_dead(stop)
    finally:
        await supervisor.close()
    log_line.info("agent stopped")


def prepare(state_dir: str, owner: rights.Account) -> Directory:
    """Make the state directory and, as root, give it to its owner.

    Raises BadField for a directory that cannot be made or that other users may write.
    """
    try:
        directory, taken = prepared(Path(state_dir), owner, KEEPS)
    except Unavailable as error:
        raise BadField("state_dir", state_dir, f"a directory to keep ({error})") from None
    if taken:
        structlog.get_logger().info("state taken over from a former user", directory=state_dir)
    return directory


def _become(owner: rights.Account, directory: Directory) -> Directory:
    """Give up root; gives the directory that is the owner's."""
    rights.give_up(owner)
    seccomp.refuse(bpf=True)
    return directory


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script; exits with 2 for bad settings, 1 when the host refuses."""
    try:
        config = settings.read(
            Settings,
            "netsonde agent",
            "Answers for this host and those below it, over HTTP and between agents.",
            sys.argv[1:] if argv is None else argv,
        )
        at, owner = place(config), rights.account("user", config.user, rights.AGENT)
        rights.confine()
        log.configure(json=config.log_json)
        parent(config)
        listeners = listen(at)
        become = partial(_become, owner, prepare(config.state_dir, owner))
        with listeners.http, listeners.peers:
            asyncio.run(serve(config, at.own, listeners, become))
    except BadField as error:
        sys.exit(_failed(error, EXIT_BAD_SETTINGS))
    except (NetsondeError, OSError) as error:
        sys.exit(_failed(error, EXIT_FAILED))


def _failed(error: Exception, status: int) -> int:
    log.say(f"netsonde agent: {error}")
    return status


def _bind(name: str, port: int, field: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        return socket.create_server((name, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {name} port {port} (setting '{field}'): {error.strerror}"
        ) from None


if __name__ == "__main__":
    main()
