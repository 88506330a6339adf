"""Active measurement as step functions: estimators, schedules, STAMP packets.

May import `wire` and `model`. Clock, randomness and sockets are passed in as values, so every
estimate can be replayed from a list of samples. Test: `tests/unit/probe/`.
"""
