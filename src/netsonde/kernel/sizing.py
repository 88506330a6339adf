"""How large the flow table is: from a budget of memory and the CPUs that share it.

Each possible CPU has four slices (two directions, two parities) of a power of two buckets, a hot
and a cold part each. Memory is taken at load and never grows. What a slice holds beside its buckets
is not in the budget: 66 KB a CPU, whatever the size.
"""

from __future__ import annotations

from pathlib import Path

from netsonde.kernel import _abi
from netsonde.model.errors import BadField

MIB = 1 << 20
MIB_PER_CPU = 5
"""Default budget: 2,048 buckets a slice, exact to some 3,600 flows per CPU, direction and tick."""
MIB_PER_CPU_OF_DEVICE = 1
"""Default budget of the table of a device view."""
_LEAST_LG, _MOST_LG = 3, 16
_SLICES_PER_CPU = _abi.DIRECTIONS * _abi.PARITIES
_BUCKET_BYTES = _abi.HOT.itemsize + _abi.COLD.itemsize


def possible_cpus(listed: str | None = None) -> int:
    """Count the CPUs this kernel may ever bring up; `listed` as in sysfs, such as `0-3,8`."""
    text = listed or Path("/sys/devices/system/cpu/possible").read_text()
    spans = [span.split("-") for span in text.strip().split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def lg_buckets(
    table_mb: int, cpus: int, *, mib_per_cpu: int = MIB_PER_CPU, field: str = "table_mb"
) -> int:
    """Give log2 of the buckets of a slice, the most that fit into `table_mb` MiB.

    0 stands for `mib_per_cpu` for each CPU. Raises BadField, of the setting `field`, when not even
    8 buckets fit.
    """
    budget_bytes = (table_mb or mib_per_cpu * cpus) * MIB
    buckets = budget_bytes // (cpus * _SLICES_PER_CPU * _BUCKET_BYTES)
    lg = min(buckets.bit_length() - 1, _MOST_LG)
    if lg < _LEAST_LG:
        least_bytes = cpus * _SLICES_PER_CPU * _BUCKET_BYTES << _LEAST_LG
        allowed = f"at least {-(-least_bytes // MIB)} (MiB) for {cpus} CPUs, or 0 for the default"
        raise BadField(field, table_mb, allowed)
    return lg
