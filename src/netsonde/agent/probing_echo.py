"""UDP ends of an echo test: sockets and clocks around `probe.echo`.

The one idea: all waiting is the event loop's, all timing the kernel's, so a late wake-up changes
when a packet is sent and never what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress

from netsonde.agent.kernel_stamps import WARM_UP_S, StampedSocket
from netsonde.model.errors import ProbeFailed
from netsonde.probe import echo
from netsonde.probe.stamp import PACKET_BYTES

REPLY_TIMEOUT_S = 0.8
"""A reply that comes later than this after the last probe was sent counts as lost."""

_LOWEST_USER_PORT = 1024


class Reflector:
    """Answers the probes of one `src` that carry the cookie, until it is closed."""

    def __init__(
        self, *, address: str, src: str, cookie: bytes, max_packets: int, max_packets_per_s: int
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._src = src
        self._socket = StampedSocket(address)
        self.port = self._socket.port
        self._steps = echo.Reflector(
            cookie=cookie,
            max_packets=max_packets,
            max_packets_per_s=max_packets_per_s,
            opened_mono_ns=time.monotonic_ns(),
            clock_wall_ns=time.time_ns,
        )

    @property
    def received(self) -> int:
        """Distinct probes that came with the right cookie."""
        return self._steps.received

    @property
    def used(self) -> bool:
        """Whether any probe came."""
        return self._steps.received > 0

    @property
    def carried_bytes(self) -> int:
        """Bytes that were sent back."""
        return self._steps.answered * PACKET_BYTES

    def start(self) -> None:
        """Begin to answer, on the running loop."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_readable)

    def stop(self) -> None:
        """Close the socket; harmless when it is closed."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    async def close(self) -> None:
        """Close the socket."""
        self.stop()

    def _on_readable(self) -> None:
        try:
            self._take()
        except Exception:
            self.stop()  # else it is called again at once, for ever; the loop notes what it was
            raise

    def _take(self) -> None:
        for datagram in self._socket.arrivals():
            host, port = datagram.source
            if host != self._src or port < _LOWEST_USER_PORT:
                self.dropped["wrong source"] += 1
                continue
            reply = self._steps.handle(
                datagram.payload,
                received_wall_ns=datagram.arrived_wall_ns,
                ttl=datagram.ttl,
                now_mono_ns=time.monotonic_ns(),
            )
            if isinstance(reply, bytes):
                self._answer(reply, datagram.source)
            else:
                self.dropped[reply] += 1

    def _answer(self, reply: bytes, destination: tuple[str, int]) -> None:
        try:
            self._socket.send_to(reply, destination)
        except OSError:
            self.dropped["not sent"] += 1


class _Sender:
    """One exchange in progress at src."""

    def __init__(self, open_socket: StampedSocket, exchange: echo.Exchange) -> None:
        self.dropped: Counter[str] = Counter()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when all replies have come, or with what nobody foresaw."""
        self._socket = open_socket
        self._exchange = exchange
        self._sequences: list[int] = []
        self._numbered = True

    def send(self, sequence: int) -> None:
        """Send a probe now.

        A refused send may or may not use up a number of the kernel's, so departure stamps can no
        longer be told apart after it and are left aside.
        """
        try:
            self._socket.send(self._exchange.probe(sequence, time.time_ns()))
        except OSError:
            self._exchange.unsent(sequence)
            self._numbered = False
        else:
            self._sequences.append(sequence)

    def on_readable(self) -> None:
        """Take departure stamps and replies, until it has ended."""
        try:
            self._take()
        except Exception as error:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            if not self.ended.done():
                self.ended.set_exception(error)

    def _take(self) -> None:
        for number, sent_wall_ns in self._socket.departures():
            if self._numbered and number < len(self._sequences):
                self._exchange.stamped(self._sequences[number], sent_wall_ns)
        for datagram in self._socket.arrivals():
            drop = self._exchange.reply(
                datagram.payload, datagram.arrived_wall_ns, stamped=datagram.stamped
            )
            if drop is not None:
                self.dropped[drop] += 1
        if self._exchange.complete and not self.ended.done():
            self.ended.set_result(None)


async def exchange(
    *,
    address: str,
    dst: str,
    port: int,
    cookie: bytes,
    schedule: echo.Schedule,
    dropped: Counter[str],
) -> tuple[echo.Exchange, int]:
    """Send the schedule's probes to a reflector and collect the replies.

    Gives the exchange, and how far (ns) the wall clock moved against the monotonic one meanwhile.
    Adds packets that were not ours to `dropped`. Raises ProbeFailed when dst cannot be reached.
    """
    steps = echo.Exchange(schedule, cookie)
    loop = asyncio.get_running_loop()
    with StampedSocket(address, departures=True) as open_socket:
        try:
            open_socket.connect(dst, port)
        except OSError as error:
            raise ProbeFailed(f"cannot send to {dst}: {error.strerror}") from None
        sender = _Sender(open_socket, steps)
        loop.add_reader(open_socket.fileno(), sender.on_readable)
        try:
            await asyncio.sleep(WARM_UP_S)
            before_ns = _clock_offset_ns()
            await _send_all(sender, schedule)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    await sender.ended
        finally:
            loop.remove_reader(open_socket.fileno())
            dropped.update(sender.dropped)
    return steps, _clock_offset_ns() - before_ns


async def _send_all(sender: _Sender, schedule: echo.Schedule) -> None:
    start_mono_ns = time.monotonic_ns()
    for sequence in range(schedule.count):
        early_ns = start_mono_ns + schedule.due_ns(sequence) - time.monotonic_ns()
        await asyncio.sleep(max(0, early_ns) / 1e9)
        sender.send(sequence)


def _clock_offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()
