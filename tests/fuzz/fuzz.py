"""Fuzz a daemon's inputs, led by coverage: `fuzz.py TARGET [libFuzzer's options] [CORPUS ...]`.

An input is a finding when it makes anything fail that nobody foresaw, whoever survives it: what
`Failures` notes, or a reaction that the target calls wrong. libFuzzer keeps that input and ends.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris
import structlog
from mutating import structural
from target import Target

TESTS = Path(__file__).parents[1]

with atheris.instrument_imports(include=["netsonde"]):
    sys.path[:0] = [str(TESTS / place) for place in (".", "unit/agent", "unit/monitor")]
    import agents
    import monitors

    from netsonde.daemon.failures import Failures

STRUCTURED = 0.5


class Found(Exception):
    """Something failed that nobody foresaw."""


class Run:
    """One target and its loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._failed: list[BaseException] = []
        Failures.note = self._note  # type: ignore[method-assign]
        self._loop.run_until_complete(target.start())
        self._failed.clear()

    def take(self, data: bytes) -> None:
        """Give it an input; raises Found."""
        self._loop.run_until_complete(self.target.take(data))
        if self._failed:
            raise Found(f"{len(self._failed)} parts failed") from self._failed[0]

    def mutate(self, data: bytes, most_bytes: int, seed: int) -> bytes:
        """Change an input: a node of it, or its bytes."""
        draw = Random(seed)
        if draw.random() < STRUCTURED:
            head = self.target.head_bytes
            try:
                changed = structural(data[head:], self.target.decode, self.target.encode, draw)
            except Exception:  # noqa: S110 # not a structure, or none after that
                pass
            else:
                return (data[:head] + changed)[:most_bytes]
        return bytes(atheris.Mutate(data, most_bytes))

    def _note(self, _: str, error: BaseException) -> None:
        self._failed.append(error)


def main() -> None:
    """Fuzz until libFuzzer's options end it."""
    name, *options = sys.argv[1:]
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory() as directory:
        run = Run((agents.TARGETS | monitors.TARGETS)[name](Path(directory)))
        Path(options[-1]).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(run.target.seeds):
            (Path(options[-1]) / f"seed-{number}").write_bytes(seed)
        atheris.Setup([sys.argv[0], *options], run.take, custom_mutator=run.mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
