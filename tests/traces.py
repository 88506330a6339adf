"""Where the shared captures are."""

from __future__ import annotations

import os
from pathlib import Path


def traces_folder() -> Path | None:
    """Give the folder of the shared traces, or None in a clone without them."""
    named = os.environ.get("NETSONDE_TRACES")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "traces"
    return folder if folder.is_dir() else None
