"""The data path in the kernel: drops by name, flips that lose nothing, one monitor a namespace."""

from __future__ import annotations

import ctypes
import secrets
import threading
from collections.abc import Iterator

import pytest
from features import needs
from packets import Flow, packet

from netsonde.kernel import _abi
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.model.errors import Busy
from netsonde.sketch.tick import Reader

pytestmark = needs("netfilter_link", minimum=(6, 4))

LG_BUCKETS = 4
SECRET = [secrets.randbits(64) for _ in range(8)]
CLONE_NEWNET = 0x40000000


@pytest.fixture
def path() -> Iterator[NetfilterPath]:
    with NetfilterPath(hash_key=SECRET, lg_buckets=LG_BUCKETS) as loaded:
        yield loaded


def reader(path: NetfilterPath) -> Reader:
    return Reader(
        path.hot, path.cold, path.slices, lg_buckets=LG_BUCKETS, cpus=path.cpus, hash_key=SECRET
    )


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x44" + bytes(39), "bad_header"),
        (b"\x60" + bytes(30), "truncated"),
    ],
)
def test_nonsense_is_a_named_drop(path: NetfilterPath, data: bytes, cause: str) -> None:
    path.run("ns_local_out", data)
    side = reader(path).read(path.flip(), 0).sides[_abi.OUT]
    assert side.drops[cause] == 1
    assert side.packets == 0


def test_flips_lose_and_double_nothing(path: NetfilterPath) -> None:
    sends = [packet(Flow("10.0.0.1", "10.0.0.2", 1000 + i, 53, 17), 100) for i in range(8)]
    sent = 0
    enough = threading.Event()

    def send() -> None:
        nonlocal sent
        while not enough.is_set():
            path.run("ns_local_out", sends[sent % 8], repeat=101)
            sent += 101

    source = reader(path)
    sender = threading.Thread(target=send)
    sender.start()
    ticks = [source.read(path.flip(), number) for number in range(100)]
    enough.set()
    sender.join()
    ticks.append(source.read(path.flip(), len(ticks)))
    assert sum(tick.sides[_abi.OUT].packets for tick in ticks) == sent
    assert sum(tick.sides[_abi.OUT].ip_bytes for tick in ticks) == sent * 128
    assert sum(1 for tick in ticks if tick.sides[_abi.OUT].packets) > 50


def test_a_path_knows_while_nothing_was_counted(path: NetfilterPath) -> None:
    sends = [packet(Flow("10.0.0.1", "10.0.0.2", 1000 + i, 53, 17), 100) for i in range(200)]
    assert not path.is_untouched(), "nobody has looked at this buffer yet"
    path.flip()
    path.flip()
    for data in [sends[0], sends[0], b"\x44" + bytes(39), *sends]:
        assert path.is_untouched()
        path.run("ns_local_out", data)
        assert not path.is_untouched()
        path.flip()
    assert path.is_untouched()


def test_a_second_monitor_is_refused_by_name(path: NetfilterPath) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    failure: list[BaseException] = []

    def in_own_namespace() -> None:
        try:
            assert libc.unshare(CLONE_NEWNET) == 0
            path.attach()
            with (
                NetfilterPath(hash_key=SECRET, lg_buckets=LG_BUCKETS) as second,
                pytest.raises(Busy, match="is a monitor running in this network namespace"),
            ):
                second.attach()
            path.detach()
            path.attach()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=in_own_namespace)
    thread.start()
    thread.join()
    assert not failure, failure
