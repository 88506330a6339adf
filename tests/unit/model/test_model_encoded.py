"""What is encoded without memory for it raises, and ends nothing."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from netsonde.model.encoded import packed

LIMITED = """
import resource, sys
from pathlib import Path
from netsonde.model.encoded import packed
large = (b"x" * 3_000_000, b"y" * 2_000_000)
taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + (int(sys.argv[1]) << 10),) * 2)
try:
    packed(large)
except MemoryError:
    print("no memory")
"""


@pytest.mark.parametrize("room_kb", [100, 1000, 3000, 5000])
def test_no_memory_is_an_exception(room_kb: int) -> None:
    argv = [sys.executable, "-c", LIMITED, str(room_kb)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no memory\n"), done.stderr


def test_it_is_what_msgspec_writes() -> None:
    value = {"a": [1, None, b"c" * 100_000], "d": 1.5}
    assert packed(value) == msgspec.msgpack.encode(value)
