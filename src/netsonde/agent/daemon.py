"""The console script `netsonde-agent`: says what shall not be loaded, then loads the rest.

An agent prints no colours, so rich and pygments, which structlog and httpx load where they find
them, are passed over: 4 MB. That is settled before the first import, and of this process alone, so
nothing else may import this module.
"""

from __future__ import annotations

import os
import sys

_PASSED_OVER = ("pygments", "rich")
"""structlog and httpx do without."""


def main() -> None:
    """Run the agent; see `netsonde.agent.main`."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: idle threads cost memory
    passed_over = [name for name in _PASSED_OVER if name not in sys.modules]
    for name in passed_over:
        sys.modules[name] = None  # type: ignore[assignment] # as if it were not installed
    from netsonde.agent.main import main as run  # noqa: PLC0415 # not before

    for name in passed_over:
        del sys.modules[name]  # whoever needs it later may have it
    run()


if __name__ == "__main__":
    main()
