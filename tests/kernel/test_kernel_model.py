"""One core, one truth: programs, native build and plain-Python model give the same bytes."""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from features import needs
from model_table import ModelTable
from packets import odd_traffic, traffic
from traces import ip_packets, traces_folder

from netsonde.kernel import _abi
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.sketch._core import FlowTable

pytestmark = needs("netfilter_link", minimum=(6, 4))

LG_BUCKETS = 4
SECRET = [secrets.randbits(64) for _ in range(8)]
MAX_RUN_BYTES = 3000
"""BPF_PROG_TEST_RUN takes a packet of a page at most, its own room included."""
TRACES = ("mix-apps", "dns-udp-tcp-random", "attack-ddos-tcp-syn-ecn-cwr")


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """Pin the test to one CPU, whose slices then hold all it counts."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, {cpu})
    yield cpu
    os.sched_setaffinity(0, before)


@pytest.fixture
def path() -> Iterator[NetfilterPath]:
    with NetfilterPath(hash_key=SECRET, lg_buckets=LG_BUCKETS) as loaded:
        yield loaded


def slices_of(buffers: tuple[memoryview | bytes, ...], cpu: int) -> tuple[bytes, ...]:
    """Cut one CPU's outbound slices, both parities, out of (hot, cold, slices)."""
    first = (cpu * _abi.DIRECTIONS + _abi.OUT) * _abi.PARITIES
    sizes = (_abi.HOT.itemsize << LG_BUCKETS, _abi.COLD.itemsize << LG_BUCKETS, _abi.SLICE.itemsize)
    return tuple(
        bytes(view[first * size : (first + _abi.PARITIES) * size])
        for view, size in zip(buffers, sizes, strict=True)
    )


def assert_equal(path: NetfilterPath, cpu: int, packets: Iterable[bytes], flip_every: int) -> None:
    """Count the packets three times over, and compare all there is to compare."""
    secret, epoch = struct.pack("<8Q", *SECRET), path.epoch
    native = FlowTable(secret, LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST, epoch)
    model = ModelTable(secret, LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST, epoch)
    for number, data in enumerate(packets, 1):
        path.run("ns_local_out", data)
        native.count(data, _abi.OUT)
        model.count(data, _abi.OUT)
        if number % flip_every == 0:
            assert path.flip() == native.flip() == model.flip()
    kernel = slices_of((path.hot, path.cold, path.slices), cpu)
    assert kernel == slices_of(native.buffers(), 0)
    assert kernel == slices_of(model.buffers(), 0)
    assert any(kernel[0])


@pytest.mark.parametrize(("seed", "flows"), [(1, 20), (2, 100), (3, 3000)])
def test_generated_traffic(path: NetfilterPath, one_cpu: int, seed: int, flows: int) -> None:
    assert_equal(path, one_cpu, (data for _, data in traffic(seed, 4000, flows)), 1500)


def test_odd_packets(path: NetfilterPath, one_cpu: int) -> None:
    assert_equal(path, one_cpu, odd_traffic(4, 3000), 5000)
    # Far more flows than the 128 slots: whatever the secret, some gave way.
    assert np.frombuffer(path.hot, _abi.HOT)["spill_packets"].any()


def test_the_epoch_wraps(path: NetfilterPath, one_cpu: int) -> None:
    path._write_control(0xFFFFFFFD)
    assert_equal(path, one_cpu, (data for _, data in traffic(5, 2000, 300)), 300)
    assert path.epoch == 5


@pytest.mark.parametrize("name", TRACES)
def test_open_traces(path: NetfilterPath, one_cpu: int, name: str) -> None:
    folder = traces_folder()
    trace = folder / f"{name}.pcap" if folder else Path(name)
    if not trace.exists():
        pytest.skip("needs the shared traces")
    fitting = (data for data in ip_packets(trace) if 20 <= len(data) <= MAX_RUN_BYTES)
    assert_equal(path, one_cpu, islice(fitting, 4000), 1500)
