"""The unprivileged daemon: everything that listens to a network.

Composition only: HTTP in `http/`, the overlay's and the probes' sockets and clocks, the link to the
monitor. May import `overlay`, `probe`, `sketch`, `wire`, `model`. Test: `tests/unit/agent/`,
`tests/lab/`.
"""

import os

# Read once, when numpy loads: its threads would take a core's worth of stack and add nothing here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
