"""Certified tables and their algebra: fold, per-key totals, summaries that merge.

May import `model` alone, plus numpy and our own native extension `_core` (built from `core/` and
`native/`). No clock, no randomness, no socket: a scientist can import and check it without root.
`_abi.py` is generated from `core/abi.h`. Test: `tests/unit/sketch/`.
"""
