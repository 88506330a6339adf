"""What an agent does without."""

from __future__ import annotations

import subprocess
import sys

STORY = """
import sys
from netsonde.agent import daemon
sys.argv[1:] = ["--no-such-option"]
try:
    daemon.main()
except SystemExit:
    pass
print("litestar" in sys.modules, "httpx" in sys.modules)
print(*(name for name in ("pygments", "rich", "textual") if name in sys.modules))
"""


def test_an_agent_loads_no_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", STORY], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["True True", ""]
