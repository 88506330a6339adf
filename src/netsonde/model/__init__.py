"""What netsonde talks about: keys, filters, tasks, questions, coverage, errors.

Imports nothing of ours, no clock, no socket. Everything here that crosses a process is a frozen,
keyword-only `msgspec.Struct`. Test: `tests/unit/model/`.
"""
