"""`netsonde replay`: the same tables over a capture file; no root, no daemon.

May import `sketch`, `wire`, `model`. Test: `tests/unit/replay/` against the shared traces' truth.
"""
