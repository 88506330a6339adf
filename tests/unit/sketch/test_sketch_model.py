"""The native flow table against the plain-Python model: the same packets, the same bytes."""

from __future__ import annotations

import random
import secrets

import numpy as np
import pytest
from model_table import ModelTable
from packets import Flow, odd_traffic, packet, traffic

from netsonde.sketch import _abi, _core
from netsonde.sketch._core import FlowTable

LG_BUCKETS = 4
SAMPLE_SHIFT = 6


class Twins:
    """The model and the native table, fed alike."""

    def __init__(self, epoch: int = 1) -> None:
        secret = secrets.token_bytes(64)
        self.model = ModelTable(secret, LG_BUCKETS, SAMPLE_SHIFT, epoch)
        self.native = FlowTable(secret, LG_BUCKETS, SAMPLE_SHIFT, epoch)

    def count(self, data: bytes, direction: int, gso_size: int = 0, gso_segs: int = 0) -> None:
        self.model.count(data, direction, gso_size, gso_segs)
        self.native.count(data, direction, gso_size, gso_segs)

    def flip(self) -> None:
        assert self.model.flip() == self.native.flip()

    def assert_equal(self) -> None:
        for wanted, got in zip(self.model.buffers(), self.native.buffers(), strict=True):
            assert bytes(got) == wanted


@pytest.mark.parametrize(("seed", "flows"), [(1, 20), (2, 100), (3, 3000)])
def test_traffic_over_several_epochs(seed: int, flows: int) -> None:
    twins = Twins()
    for number, (_, data) in enumerate(traffic(seed, 3000, flows)):
        twins.count(data, number % 2)
        if number % 700 == 699:
            twins.flip()
    twins.assert_equal()


@pytest.mark.parametrize("thin_shift", [0, 2])
def test_labels_stand_for_the_spilled_flows(thin_shift: int) -> None:
    twins = Twins()
    dice = random.Random(7)
    for number in range(4000):
        data = packet(Flow("10.0.0.1", "10.0.0.2", dice.randrange(700), 80, 17))
        twins.count(data, number % 2)
    epoch = twins.model.flip()
    raw = _core.fold(*twins.native.buffers(), LG_BUCKETS, 1, epoch, thin_shift)[0]
    records = np.frombuffer(raw, _abi.RECORD)
    labels = records[records["kind"] == _abi.RECORD_LABEL]
    found = [(row["key"].tobytes(), int(row["packets"]), int(row["others"])) for row in labels]
    many = 1 << thin_shift
    wanted = [
        (key, packets * many, (others + 1) * many - 1)
        for key, packets, others in twins.model.labels(epoch)
    ]
    assert len(wanted) > 20
    # A thinned tick tells some of the buckets.
    assert found == wanted if thin_shift == 0 else 0 < len(found) < len(wanted)
    assert set(found) <= set(wanted)
    assert any(0 < others + 1 < packets for _, packets, others in wanted)


def test_odd_packets() -> None:
    twins = Twins()
    for data in odd_traffic(4, 4000):
        twins.count(data, _abi.IN)
    twins.assert_equal()
    assert any(drop for one in twins.model._slices for drop in one.drops)


def test_super_packets() -> None:
    twins = Twins()
    for number, (_, data) in enumerate(traffic(5, 2000, 200)):
        twins.count(data, _abi.OUT, 1 + number % 1400, number % 3)
    twins.assert_equal()


def test_the_epoch_wraps_past_the_one_of_unused_buckets() -> None:
    twins = Twins(epoch=0xFFFFFFFE)
    for number, (_, data) in enumerate(traffic(6, 3000, 300)):
        twins.count(data, _abi.IN)
        if number % 600 == 599:
            twins.flip()
    twins.assert_equal()
    assert twins.native.flip() == 5


def test_equal_tags_in_one_bucket() -> None:
    """Flows whose tags collide, picked by their fingerprints, are still told apart."""
    twins = Twins()
    fingerprints: dict[tuple[int, int], list[bytes]] = {}
    for number in range(1 << 16):
        data = packet(Flow("10.0.0.1", "10.0.0.2", number, 80, 17))
        fingerprint = twins.model.fingerprint_of(data, _abi.IN)
        place = (fingerprint % (1 << 16) | 1, twins.model.bucket_of(fingerprint))
        fingerprints.setdefault(place, []).append(data)
    same = max(fingerprints.values(), key=len)
    assert len(same) >= 3
    for data in same * 3:
        twins.count(data, _abi.IN)
    twins.assert_equal()
