"""The public library: asks a root over HTTP, async first, with the same calls without asyncio.

May import `wire` and `model` alone. Test: `tests/unit/client/`.
"""
