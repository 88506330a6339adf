"""The `netsonde` command: finds and runs `netsonde-<command>`, each in a room of its own.

May import nothing of ours. Test: `tests/unit/cli/`.
"""
