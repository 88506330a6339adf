"""What both daemons share as processes: settings, log, starting, and how their parts fail alone.

May import `model`. Test: `tests/unit/daemon/`.
"""
