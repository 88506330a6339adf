"""The size of the flow table: never over its budget, never absurd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.kernel import _abi
from netsonde.kernel.sizing import MIB, MIB_PER_CPU, lg_buckets, possible_cpus
from netsonde.model.errors import BadField


def table_bytes(lg: int, cpus: int) -> int:
    slices = cpus * _abi.DIRECTIONS * _abi.PARITIES
    return slices * (_abi.HOT.itemsize + _abi.COLD.itemsize) << lg


@given(st.integers(1, 1 << 16), st.integers(1, 512))
def test_the_budget_is_kept_and_used(table_mb: int, cpus: int) -> None:
    if table_bytes(3, cpus) > table_mb * MIB:
        with pytest.raises(BadField, match="table_mb"):
            lg_buckets(table_mb, cpus)
        return
    lg = lg_buckets(table_mb, cpus)
    assert 3 <= lg <= 16
    assert table_bytes(lg, cpus) <= table_mb * MIB
    assert lg == 16 or table_bytes(lg + 1, cpus) > table_mb * MIB


@pytest.mark.parametrize("cpus", [1, 2, 16, 384])
def test_by_default_a_cpu_has_five_mebibytes(cpus: int) -> None:
    assert table_bytes(lg_buckets(0, cpus), cpus) <= MIB_PER_CPU * MIB * cpus
    assert lg_buckets(0, cpus) == 11


@pytest.mark.parametrize(("listed", "cpus"), [("0\n", 1), ("0-3\n", 4), ("0-3,8,10-11\n", 7)])
def test_possible_cpus(listed: str, cpus: int) -> None:
    assert possible_cpus(listed) == cpus
