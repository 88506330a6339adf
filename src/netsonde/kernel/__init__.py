"""The only room that knows libbpf and bpf(2): load, attach, rotate, map views.

May import `model` alone; only `monitor` may import it. `_abi.py` is generated from `core/abi.h`.
Test: `tests/kernel/` (root).
"""
