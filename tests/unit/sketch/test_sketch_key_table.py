"""KeyTable: memory comes with the keys, up to its capacity, and bounds hold beyond."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from netsonde.model.address import mapped
from netsonde.model.key import KeyType
from netsonde.model.task import Filter
from netsonde.sketch import _abi
from netsonde.sketch._core import KeyTable
from netsonde.sketch.match import match_bytes


def records(keys: int) -> np.ndarray:
    """Records of as many sources, the n-th of n + 1 packets."""
    made = np.zeros(keys, _abi.RECORD)
    made["key"]["src"][:, 12:] = np.arange(keys, dtype=">u4").view("u1").reshape(-1, 4)
    made["packets"] = np.arange(keys) + 1
    return made


@pytest.mark.parametrize("keys", [0, 1, 255, 256, 257, 5000])
def test_it_grows_with_its_keys_and_stays_exact(keys: int) -> None:
    table = KeyTable(KeyType.parse("src", "key").masks(), 5000, False)
    for _ in range(2):
        table.add(records(keys).tobytes(), match_bytes(Filter()))
    entries = np.frombuffer(table.entries(), _abi.ENTRY)
    assert len(entries) == len(table) == keys
    assert np.array_equal(np.sort(entries["packets"]), 2 * (np.arange(keys) + 1))
    assert table.absent() == (0, 0, 0)
    assert all(table.find(entry["key"].tobytes()) == entry.tobytes() for entry in entries)


def test_its_entries_are_viewed_without_a_copy_and_stay_meanwhile() -> None:
    table = KeyTable(KeyType.parse("src", "key").masks(), 5000, False)
    assert not memoryview(table)
    table.add(records(300).tobytes(), match_bytes(Filter()))
    with memoryview(table) as view:
        assert view.readonly
        assert view == table.entries()
        with pytest.raises(BufferError, match="viewed"):
            table.add(records(5000).tobytes(), match_bytes(Filter()))
        with pytest.raises(BufferError, match="viewed"):
            table.restore(b"", 0, 0, 0)
    table.add(records(5000).tobytes(), match_bytes(Filter()))
    assert len(memoryview(table)) == 5000 * _abi.ENTRY.itemsize


def test_it_masks_by_the_family_of_the_flow() -> None:
    kind = KeyType.parse("src/24/48", "key")
    pairs = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00:0:0:1::1", "fd00:0:1::1"]
    made = np.zeros(len(pairs), _abi.RECORD)
    made["packets"] = 1
    for row, text in zip(made, pairs, strict=True):
        row["key"]["src"] = np.frombuffer(mapped(text), np.uint8)
    table = KeyTable(kind.masks(), 16, False)
    table.add(made.tobytes(), match_bytes(Filter()))
    entries = np.frombuffer(table.entries(), _abi.ENTRY)
    found = {kind.format(entry["key"].tobytes()): int(entry["packets"]) for entry in entries}
    assert found == {"10.0.0.0/24": 2, "10.0.1.0/24": 1, "fd00::/48": 2, "fd00:0:1::/48": 1}


def test_no_field_gives_totals() -> None:
    made = records(100)
    made["kind"][50:], made["others"][:10] = _abi.RECORD_LABEL, 1
    totals = KeyTable(bytes(80), 16, False)
    totals.add(made[:0].tobytes(), match_bytes(Filter()))
    assert len(totals) == 0
    totals.add(made.tobytes(), match_bytes(Filter()))
    totals.add(made.tobytes(), match_bytes(Filter(proto=17)))
    (entry,) = np.frombuffer(totals.entries(), _abi.ENTRY)
    assert not np.any(np.frombuffer(entry["key"].tobytes(), np.uint8))
    assert entry["packets"] == sum(range(1, 51))
    assert entry["label_packets"] == sum(range(51, 101)) + sum(range(1, 11))


def test_it_refuses_masks_of_one_family() -> None:
    with pytest.raises(ValueError, match="masks are 80 bytes"):
        KeyTable(bytes(40), 16, False)


def test_it_drops_the_lighter_half_when_it_may_not_grow() -> None:
    table = KeyTable(KeyType.parse("src", "key").masks(), 300, False)
    table.add(records(301).tobytes(), match_bytes(Filter()))
    packets, _, purges = table.absent()
    assert (len(table), packets, purges) == (151, 150, 1)


@pytest.mark.parametrize("keys", [0, 20, 299, 301])
def test_it_goes_on_as_the_table_it_was_restored_from(keys: int) -> None:
    mask, every = KeyType.parse("src", "key").masks(), match_bytes(Filter())
    whole, former, later = (KeyTable(mask, 300, False) for _ in range(3))
    for table in (whole, former):
        table.add(records(keys).tobytes(), every)
    later.restore(former.entries(), *former.absent())
    for table in (whole, later):
        table.add(records(200).tobytes(), every)
    assert later.entries() == whole.entries()
    assert later.absent() == whole.absent()


def test_threads_add_to_tables_of_their_own_at_once() -> None:
    masks, every = KeyType.parse("src", "key").masks(), match_bytes(Filter())
    parts = [records(20000).tobytes()] * 4
    tables = [KeyTable(masks, 1 << 15, False) for _ in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda table, part: table.add(part, every), tables, parts))
    assert {table.entries() for table in tables} == {tables[0].entries()}
    assert len(tables[0]) == 20000


def test_a_table_in_use_by_another_thread_is_left_alone() -> None:
    table = KeyTable(KeyType.parse("src", "key").masks(), 16, False)
    many, every = records(1 << 16).tobytes(), match_bytes(Filter())
    seen = Event()

    def add_until_seen() -> None:
        while not seen.is_set():
            table.add(many, every)

    def read_until_refused() -> None:
        while not adding.done():
            table.entries()

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(add_until_seen)
        try:
            with pytest.raises(RuntimeError, match="in use by another thread"):
                read_until_refused()
        finally:
            seen.set()
        adding.result()
    assert len(table) <= 16


def test_it_refuses_what_no_table_was() -> None:
    table = KeyTable(KeyType.parse("src", "key").masks(), 16, False)
    for entries in (bytes(17 * _abi.ENTRY.itemsize), b"x"):
        with pytest.raises(ValueError, match="too many entries, or of the wrong size"):
            table.restore(entries, 0, 0, 0)
    table.add(records(1).tobytes(), match_bytes(Filter()))
    with pytest.raises(ValueError, match="too many entries"):
        table.restore(b"", 0, 0, 0)
