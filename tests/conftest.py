"""What every tier shares: its mark, and what happens when root is missing.

A tier that needs root is skipped without it, by name, and never with it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT_TIERS = {
    "kernel": "needs root: loads and attaches BPF programs",
    "lab": "needs root: builds network namespaces",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by its tier's folder, and skip what needs root when there is none."""
    for item in items:
        tier = item.path.relative_to(Path(__file__).parent).parts[0]
        if tier in _ROOT_TIERS:
            item.add_marker(getattr(pytest.mark, tier))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason=_ROOT_TIERS[tier]))
