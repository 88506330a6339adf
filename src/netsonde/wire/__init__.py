"""How things are written down: frames and messages between processes.

May import `model` alone; opens no socket and reads no clock. Sketches cross it as bytes.
Test: `tests/unit/wire/`.
"""
