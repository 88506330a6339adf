"""The lab: nine hosts in network namespaces on one machine, with real traffic and known truth.

Imports nothing of ours and drives us by our commands, so that it can tell when we are wrong.
Test: `tests/lab/` (root, or run alone by an ordinary user).
"""
