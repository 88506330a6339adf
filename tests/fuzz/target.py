"""What all targets have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec


class Target(ABC):
    """Something that takes inputs; made inside a running loop by `start`."""

    seeds: tuple[bytes, ...] = ()
    decode: Callable[[bytes], Any] = staticmethod(msgspec.msgpack.decode)
    encode: Callable[[Any], bytes] = staticmethod(msgspec.msgpack.encode)
    head_bytes = 0
    """Bytes before the structure."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    async def start(self) -> None:
        """Be ready."""

    @abstractmethod
    async def take(self, data: bytes) -> None:
        """Give an input to what is fuzzed; raises AssertionError for a wrong reaction."""
