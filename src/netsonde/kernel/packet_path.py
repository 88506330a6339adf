"""Hook: a packet socket's ring (packet(7)): any Linux, no BPF, CAP_NET_RAW alone.

The one idea: the ring shows super-packets with the size of their segments (PACKET_VNET_HDR), so a
native reader counts wire packets into a table in this process as the kernel's programs would. What
the reader was too late for is counted by the kernel and reported as the drop `ring_full`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from netsonde.kernel import _abi
from netsonde.kernel._ring import PacketRing
from netsonde.kernel.addresses import local_addresses
from netsonde.kernel.devices import Device, counted_devices
from netsonde.kernel.notebook import Notebook
from netsonde.kernel.path import Encapsulated
from netsonde.model.errors import UnsupportedByKernel

BLOCK_BYTES = 1 << 15
BLOCKS = 256
RETIRE_MS = 5
"""A block is handed over after this time, full or not; a flip waits for up to two of them.

So a reader that gets no CPU loses nothing for BLOCKS times as long, unless the bytes run out.
"""
SNAP_BYTES = 192
"""As much of a frame as is copied: all headers that are read, short of long IPv6 extensions."""
_FRAME_BYTES = 2048
_TPACKET_V3 = 2
_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_VERSION, _PACKET_VNET_HDR = 5, 10, 15
_SO_ATTACH_FILTER = 26
# Classic BPF (linux/filter.h): packets for other hosts are not taken at all, of the others the
# headers. SKF_AD_OFF + SKF_AD_PKTTYPE is where a filter finds a packet's type.
_PACKET_OTHERHOST = 3
_FILTER = (
    (0x20, 0, 0, 0xFFFFF004),  # load the packet type
    (0x15, 0, 1, _PACKET_OTHERHOST),  # jump if equal
    (0x06, 0, 0, 0),  # return nothing
    (0x06, 0, 0, SNAP_BYTES),
)
_FILTER_OF_VIEW = _FILTER[-1:]


class PacketPath:
    """Counts from one packet socket of the network namespace it is made in."""

    hook = "afpacket"
    capabilities: frozenset[int] = frozenset()
    hot: memoryview
    cold: memoryview
    slices: memoryview
    cpus = 1
    sample_shift = _abi.SAMPLE_SHIFT_LEAST
    adopted = False
    whole = True
    notebook: Notebook | None = None
    pin_fault: str | None = None

    def __init__(
        self,
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
        encapsulated: Encapsulated = Encapsulated.OUTER,
        device: Device | None = None,
    ) -> None:
        """Make the socket and its ring of 8 MiB; nothing is counted yet.

        `hash_key`: 8 secret 64-bit words. `lg_buckets`: log2 of the buckets of each direction,
        3 to 16. `device`: count all that passes it and nothing else. Raises UnsupportedByKernel
        with the kernel's reason.
        """
        self._viewed = device
        self.lg_buckets = lg_buckets
        self.hash_key = tuple(hash_key)
        self.encapsulated = encapsulated
        self._reader: threading.Thread | None = None
        self._socket = _socket_with_ring(_FILTER_OF_VIEW if device else _FILTER)
        try:
            self._memory = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * BLOCKS, mmap.MAP_SHARED)
            self._ring = PacketRing(
                self._socket.fileno(),
                self._memory,
                BLOCK_BYTES,
                struct.pack("<8Q", *hash_key),
                lg_buckets,
                self.sample_shift,
                encapsulated.number,
                device is not None,
            )
        except MemoryError:
            self._socket.close()
            raise UnsupportedByKernel("no memory for a flow table of this size") from None
        except BaseException:
            self._socket.close()
            raise
        self.hot, self.cold, self.slices = self._ring.buffers()

    def attach(self) -> None:
        """Begin to take packets; they wait in the ring for the first flip."""
        if self._viewed:
            self._follow([self._viewed], frozenset())
        else:
            self.refresh()
        try:
            self._ring.listen(self._viewed.index if self._viewed else 0)
        except OSError as error:
            raise UnsupportedByKernel(f"a packet socket cannot listen: {error.strerror}") from None

    def refresh(self) -> None:
        """Follow the host's addresses and devices; a view stays what it is."""
        if self._viewed is None:
            self._follow(sorted(counted_devices(self.encapsulated)), local_addresses())

    def _follow(self, devices: Sequence[Device], addresses: frozenset[bytes]) -> None:
        self._ring.follow(
            b"".join(struct.pack("=II", device.index, device.ethernet) for device in devices),
            b"".join(sorted(addresses)),
        )

    def flip(self) -> int:
        """Close the current epoch between two packets and give its number.

        It holds every packet that this host's devices showed before the call. Blocks for up to
        some 10 ms, without the GIL. Raises OSError when the reader does not answer.
        """
        if self._reader is None:
            # Not sooner: a thread keeps the privileges it was born with, and attaching needed some.
            self._reader = threading.Thread(target=self._ring.walk, name="ring", daemon=True)
            self._reader.start()
        return self._ring.flip(self.sample_shift)

    def is_untouched(self) -> bool:
        """Never certain: packets may wait in the ring."""
        return False

    def close(self) -> None:
        """End the reader and the socket; the views must not be used any more."""
        if self._reader is not None:
            self._ring.stop()
            self._reader.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _socket_with_ring(classic: Sequence[tuple[int, int, int, int]]) -> socket.socket:
    """Make a packet socket, still deaf, whose ring shows headers and sizes of segments."""
    try:
        # Protocol 0 takes nothing: everything must be set before the first packet.
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        raise UnsupportedByKernel(
            f"packet sockets need CAP_NET_RAW and CONFIG_PACKET: {error.strerror}; start the "
            "monitor as root, or in a user namespace of its own"
        ) from None
    try:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in classic)
        held = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(classic), ctypes.addressof(held))
        packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        packets.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        packets.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        frames = BLOCKS * (BLOCK_BYTES // _FRAME_BYTES)
        ring = struct.pack("=7I", BLOCK_BYTES, BLOCKS, _FRAME_BYTES, frames, RETIRE_MS, 0, 0)
        packets.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
    except OSError as error:
        packets.close()
        reason = (
            "no memory for it" if error.errno == errno.ENOMEM else os.strerror(error.errno or 0)
        )
        raise UnsupportedByKernel(
            f"a packet ring (TPACKET_V3 with PACKET_VNET_HDR) cannot be made: {reason}"
        ) from None
    return packets
