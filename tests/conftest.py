"""What every tier shares: where the traces are, and when root is missing.

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


def traces_folder() -> Path | None:
    """Give the folder of the shared traces, or None in a clone without them."""
    named = os.environ.get("NETSONDE_TRACES")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "traces"
    return folder if folder.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by its tier's folder, and skip what needs root when there is none."""
    for item in items:
        tier = item.path.relative_to(Path(__file__).parent).parts[0]
        if tier in _ROOT_TIERS:
            item.add_marker(getattr(pytest.mark, tier))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason=_ROOT_TIERS[tier]))
