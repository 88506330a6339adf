"""Link rates: read as tc(8) writes them, and turned into a token bucket that TCP can fill.

The one idea: a bucket must hold the tokens that a late timer would waste, yet a measurement must
not be fooled by a full bucket. So it holds 2 ms of the rate, within fixed limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netsonde.lab.errors import OptionError

UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
MIN_BITS_PER_S = 100 * 10**3
MAX_BITS_PER_S = 10 * 10**9
FULL_FRAME_BYTES = 1514


@dataclass(frozen=True, slots=True)
class Rate:
    """A link's rate in each direction, frames counted with their Ethernet header."""

    text: str
    """As it was given, such as `100mbit`."""
    bits_per_s: int

    @property
    def burst_bytes(self) -> int:
        """Depth of the token bucket: 2 ms, and never less than four frames."""
        return max(4 * FULL_FRAME_BYTES, self.bits_per_s // 8 // 500)

    @property
    def limit_bytes(self) -> int:
        """Length of the queue in front of the bucket: 50 ms, and never less than 100 frames."""
        return max(100 * FULL_FRAME_BYTES, self.bits_per_s // 8 // 20)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read a rate such as `100mbit`; raises OptionError, with what is allowed."""
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)(kbit|mbit|gbit)", text.strip().lower())
        bits_per_s = round(float(match[1]) * UNITS[match[2]]) if match else 0
        if not MIN_BITS_PER_S <= bits_per_s <= MAX_BITS_PER_S:
            allowed = "a number and kbit, mbit or gbit, from 100kbit to 10gbit, such as 100mbit"
            raise OptionError("--rate", text, allowed)
        return cls(text=text.strip().lower(), bits_per_s=bits_per_s)
