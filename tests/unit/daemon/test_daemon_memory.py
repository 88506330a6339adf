"""Freed memory goes back to the system, however large blocks were that came and went."""

from __future__ import annotations

import subprocess
import sys

STORY = """
import resource
from netsonde.daemon.memory import give_back, keep_freed

def resident_kb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 1024

keep_freed()
before = resident_kb()
for size in (1 << 20, 4 << 20, 24 << 20):
    bytearray(b"x") * size  # freed at once: a threshold that moves would follow it
held = [bytes(b"x" * (300 << 10)) for _ in range(200)]
pins = held[::2]
held = None
give_back()
print(resident_kb() - before, sum(map(len, pins)) // 1024)
"""


def test_blocks_between_others_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", STORY], check=True, capture_output=True, text=True)
    grown_kb, held_kb = map(int, done.stdout.split())
    assert grown_kb < 1.2 * held_kb
