"""Starting a daemon small: what it does without is not loaded.

Imports nothing but the standard library, since it settles what everything else may load.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading(*, without: tuple[str, ...]) -> Iterator[None]:
    """Let what is imported meanwhile find none of these modules, as if they were not installed.

    One that is loaded already stays. Whoever needs one later may have it. numpy's threads are held
    to one: idle ones cost memory.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    passed_over = [name for name in without if name not in sys.modules]
    for name in passed_over:
        sys.modules[name] = None  # type: ignore[assignment] # what import takes for absent
    try:
        yield
    finally:
        for name in passed_over:
            del sys.modules[name]
