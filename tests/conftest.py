"""What every tier shares: its mark, and what happens when root or a kernel feature is missing.

A tier that needs root is skipped without it, by name, and never with it. For features of the
kernel see `features.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from features import require
from hypothesis import HealthCheck, settings

# A busy machine makes an example slow, not wrong; the tiers have limits of their own.
settings.register_profile("netsonde", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("netsonde")

_ROOT_TIERS = {
    "kernel": "needs root: loads and attaches BPF programs",
    "lab": "needs root, or to be run alone: pytest tests/lab",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by its tier's folder, and skip what needs root when there is none."""
    for item in items:
        tier = item.path.relative_to(Path(__file__).parent).parts[0]
        if tier in _ROOT_TIERS:
            item.add_marker(getattr(pytest.mark, tier))
            if tier == "kernel" and item.get_closest_marker("any_kernel") is None:
                item.add_marker(pytest.mark.guest)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason=_ROOT_TIERS[tier]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold a test to the features it says it needs."""
    for mark in item.iter_markers("needs"):
        require(mark.kwargs["feature"], mark.kwargs["minimum"])
