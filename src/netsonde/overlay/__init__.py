"""The virtual overlay as step functions: who is whose child, and how answers are gathered.

May import `wire`, `sketch` and `model`; no asyncio, socket, time or random. Events go in, commands
come out; the agent carries them out. Test: `tests/unit/overlay/`.
"""
