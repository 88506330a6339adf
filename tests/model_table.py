"""The flow table as its rules say, in slow plain Python: what the C text must equal, byte for byte.

Written from `docs/explanation/counting.md` and the layouts in `core/abi.h`: integers, lists and
no cleverness. It holds one CPU, two directions, two parities, like `FlowTable`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from netsonde.sketch import _abi

WAYS = _abi.WAYS
WORD = (1 << 64) - 1
HALF = (1 << 32) - 1
COUNTER_BYTES = 128
WITH_PORTS = (6, 17, 132, 136)
EXTENSIONS = (0, 43, 44, 51, 60)


class Unparsable(Exception):
    """A packet that belongs to no flow; `cause` is its drop."""

    def __init__(self, cause: int) -> None:
        self.cause = cause


@dataclass(frozen=True)
class Parsed:
    """A packet as it is counted."""

    key: bytes
    packets: int
    ip_bytes: int
    tcp: int

    @property
    def weight(self) -> int:
        return self.packets + self.ip_bytes // 256


@dataclass
class Slot:
    fingerprint: int = 0
    ip_bytes: int = 0
    packets: int = 0
    tcp: int = 0

    def to_bytes(self) -> bytes:
        return struct.pack("<QQII", self.fingerprint, self.ip_bytes, self.packets, self.tcp)


@dataclass
class Bucket:
    """Lanes keep what they held when an epoch ends; only tags, priorities and spill start anew."""

    tags: list[int] = field(default_factory=lambda: [0] * WAYS)
    priorities: list[int] = field(default_factory=lambda: [0] * WAYS)
    epoch: int = 0
    spill_packets: int = 0
    spill_bytes: int = 0
    slots: list[Slot] = field(default_factory=lambda: [Slot() for _ in range(WAYS)])
    keys: list[bytes] = field(default_factory=lambda: [bytes(40)] * WAYS)
    label_key: bytes = bytes(40)
    label: Slot = field(default_factory=Slot)

    def begin(self, epoch: int) -> None:
        self.tags, self.priorities = [0] * WAYS, [0] * WAYS
        self.spill_packets = self.spill_bytes = 0
        self.epoch = epoch

    def hot(self) -> bytes:
        line = struct.pack("<8H8I", *self.tags, *self.priorities)
        line += struct.pack("<IIQ", self.epoch, self.spill_packets, self.spill_bytes)
        return line + b"".join(slot.to_bytes() for slot in self.slots)

    def cold(self) -> bytes:
        return b"".join(self.keys) + self.label_key + self.label.to_bytes()


@dataclass
class Slice:
    buckets: list[Bucket]
    inserts: int = 0
    drops: list[int] = field(default_factory=lambda: [0] * _abi.DROP_CAUSES)
    registers: list[int] = field(default_factory=lambda: [0] * 4096)

    def counters(self) -> bytes:
        counters = struct.pack(f"<4Q{_abi.DROP_CAUSES}Q", 0, 0, 0, self.inserts, *self.drops)
        return counters.ljust(COUNTER_BYTES, b"\0") + struct.pack("<4096I", *self.registers)

    def note(self, fingerprint: int, epoch: int) -> None:
        """HyperLogLog: keep this epoch's highest rank of the register's fingerprints."""
        at, rest = fingerprint % 4096, fingerprint // 4096
        value = epoch % (1 << 26) * 64 + 53 - rest.bit_length()
        if self.registers[at] // 64 != value // 64 or self.registers[at] < value:
            self.registers[at] = value


class ModelTable:
    """Same calls as `FlowTable`."""

    def __init__(self, secret: bytes, lg_buckets: int, sample_shift: int, epoch: int = 1) -> None:
        self._secret = struct.unpack("<8Q", secret)
        self._buckets = 1 << lg_buckets
        self._sample_shift = sample_shift
        self._epoch = epoch
        self._slices = [
            Slice([Bucket() for _ in range(self._buckets)])
            for _ in range(_abi.DIRECTIONS * _abi.PARITIES)
        ]

    def count(self, data: bytes, direction: int, gso_size: int = 0, gso_segs: int = 0) -> None:
        where = self._slices[direction * 2 + self._epoch % 2]
        try:
            packet = parse(data, direction, gso_size, gso_segs)
        except Unparsable as reason:
            where.drops[reason.cause] += 1
            return
        fingerprint = fingerprint_of(packet.key, self._secret)
        bucket = where.buckets[self.bucket_of(fingerprint)]
        if bucket.epoch != self._epoch:
            bucket.begin(self._epoch)
        for lane, slot in enumerate(bucket.slots):
            if bucket.tags[lane] and slot.fingerprint == fingerprint:
                slot.packets += packet.packets
                slot.ip_bytes += packet.ip_bytes
                slot.tcp = (slot.tcp >> 8) + (packet.tcp >> 8) << 8 | (slot.tcp | packet.tcp) & 0xFF
                bucket.priorities[lane] += packet.weight
                return
        where.inserts += 1
        where.note(fingerprint, self._epoch)
        insert(bucket, fingerprint, packet)

    def fingerprint_of(self, data: bytes, direction: int) -> int:
        """Fingerprint of a packet's flow."""
        return fingerprint_of(parse(data, direction, 0, 0).key, self._secret)

    def bucket_of(self, fingerprint: int) -> int:
        """One key of 2^shift lives in the last eighth of the buckets."""
        sample = self._buckets // 8
        if fingerprint < 1 << (64 - self._sample_shift):
            return self._buckets - sample + (fingerprint >> 32) % sample
        return ((fingerprint >> 26) % (1 << 32)) * (self._buckets - sample) >> 32

    def flip(self) -> int:
        closed = self._epoch
        self._epoch = (closed + 1) % (1 << 32) or 2
        return closed

    def labels(self, epoch: int) -> list[tuple[bytes, int, int]]:
        """Give what stands for each spilled bucket of an epoch: key, packets, further flows."""
        return [
            (bucket.label_key, bucket.spill_packets, flows_of_label(bucket) - 1)
            for direction in range(_abi.DIRECTIONS)
            for bucket in self._slices[direction * 2 + epoch % 2].buckets
            if bucket.epoch == epoch and bucket.spill_packets
        ]

    def buffers(self) -> tuple[bytes, bytes, bytes]:
        buckets = [bucket for one in self._slices for bucket in one.buckets]
        return (
            b"".join(bucket.hot() for bucket in buckets),
            b"".join(bucket.cold() for bucket in buckets),
            b"".join(one.counters() for one in self._slices),
        )


def insert(bucket: Bucket, fingerprint: int, packet: Parsed) -> None:
    """Give the flow the first free lane, or that of the lightest flow, whose priority it takes."""
    inherited = 0
    if 0 in bucket.tags:
        lane = bucket.tags.index(0)
    else:
        inherited = min(bucket.priorities)
        lane = bucket.priorities.index(inherited)
        victim = bucket.slots[lane]
        bucket.spill_packets += victim.packets
        bucket.spill_bytes += victim.ip_bytes
        draw = mix(fingerprint + bucket.spill_packets) >> 32
        if draw * bucket.spill_packets >> 32 < victim.packets:
            bucket.label, bucket.label_key = victim, bucket.keys[lane]
    bucket.keys[lane] = packet.key
    bucket.slots[lane] = Slot(fingerprint, packet.ip_bytes, packet.packets, packet.tcp)
    bucket.priorities[lane] = inherited + packet.weight
    bucket.tags[lane] = fingerprint % (1 << 16) | 1


def flows_of_label(bucket: Bucket) -> int:
    """Divide the spill by the label's packets, up as often as the rest is large."""
    own, spill = bucket.label.packets or 1, bucket.spill_packets
    draw = (mix(bucket.label.fingerprint ^ spill) >> 32) * own >> 32
    return max(1, (spill + draw) // own)


def mix(x: int) -> int:
    """Stafford's Mix13."""
    x &= WORD
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def fingerprint_of(key: bytes, secret: tuple[int, ...]) -> int:
    """NH over the key's 32-bit halves, twice, with the secret shifted by a word, then mixed."""
    words = struct.unpack("<5Q", key)

    def nh(shift: int) -> int:
        return sum(
            ((word + half) & HALF) * ((word >> 32) + (half >> 32) & HALF)
            for word, half in zip(words, secret[shift:], strict=False)
        )

    return mix(nh(0) & WORD ^ mix(nh(1) + secret[6]) ^ secret[7])


def parse(data: bytes, direction: int, gso_size: int, gso_segs: int) -> Parsed:
    """Read an IP packet by the counting rule."""
    if len(data) < 20:
        raise Unparsable(_abi.DROP_TRUNCATED)
    version = data[0] >> 4
    if version == 4:
        if data[0] % 16 < 5:
            raise Unparsable(_abi.DROP_BAD_HEADER)
        mapped = bytes(10) + b"\xff\xff"
        addresses = mapped + data[12:16] + mapped + data[16:20]
        if 0 < be16(data, 2) < data[0] % 16 * 4:
            raise Unparsable(_abi.DROP_BAD_HEADER)
        ip_bytes = be16(data, 2) or len(data)
        proto, at, later = data[9], data[0] % 16 * 4, be16(data, 6) % (1 << 13) != 0
    elif version == 6:
        if len(data) < 40:
            raise Unparsable(_abi.DROP_TRUNCATED)
        addresses, payload = data[8:40], be16(data, 4)
        no_length = payload == 0 and (data[6] == 0 or gso_size > 0)
        ip_bytes = len(data) if no_length else payload + 40
        proto, at, later = skip_extensions(data)
    else:
        raise Unparsable(_abi.DROP_BAD_HEADER)
    ports, has_ports, tcp, l4_bytes = bytes(4), 0, 0, 0
    if proto in WITH_PORTS and not later and len(data) >= at + 4:
        ports, has_ports = struct.pack("<HH", be16(data, at), be16(data, at + 2)), 1
        l4_bytes = 8
        if proto == 6 and len(data) >= at + 14:
            flags = data[at + 13]
            tcp = flags + (_abi.TCP_SYN_ONE if flags & 0x02 and not flags & 0x10 else 0)
            l4_bytes = data[at + 12] // 16 * 4
    segments, headers = 1, at + l4_bytes
    if gso_size:
        segments = gso_segs or max(1, -(-(ip_bytes - headers) // gso_size))
    key = addresses + ports + bytes([proto, direction, has_ports, 0])
    return Parsed(key, segments, ip_bytes + (segments - 1) * headers, tcp)


def skip_extensions(data: bytes) -> tuple[int, int, bool]:
    """Give the upper protocol, where it begins, and whether this is a later fragment."""
    proto, at = data[6], 40
    for _ in range(8):
        if proto not in EXTENSIONS or len(data) < at + 8:
            break
        size = (data[at + 1] + 1) * 8
        later = False
        if proto == 44:
            size, later = 8, be16(data, at + 2) >> 3 != 0
        elif proto == 51:
            size = (data[at + 1] + 2) * 4
        proto, at = data[at], at + size
        if later:
            return proto, at, True
    return proto, at, False


def be16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
