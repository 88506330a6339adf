"""Flows as unevenly large as those of real links."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXPONENT = 1.1


def draw(packets: int, flows: int, seed: int) -> NDArray[np.int64]:
    """Draw each packet's flow, 0 up to `flows`: flow n is (n + 1)^1.1 times as rare as flow 0."""
    heights = np.cumsum(np.arange(1, flows + 1, dtype=np.float64) ** -EXPONENT)
    drawn = np.random.default_rng(seed).random(packets) * heights[-1]
    flows_drawn: NDArray[np.int64] = np.searchsorted(heights, drawn).astype(np.int64)
    return flows_drawn
