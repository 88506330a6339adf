"""The flight recorder: the last minutes of ticks in bounded memory, and what may be asked of them.

Questions about any window, and detectors that stand. Pure: ticks and times go in, answers and
events come out; no clock, no socket, so a monitor and a replayed capture say the same.
May import `sketch` and `model`. Test: `tests/unit/recorder/`.
"""
