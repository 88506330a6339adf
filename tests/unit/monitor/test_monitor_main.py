"""A monitor's start: what its settings refuse, and whom it waits for."""

from __future__ import annotations

import time
from itertools import count

import pytest

from netsonde.daemon import settings
from netsonde.model.device import MAX_DEVICES
from netsonde.model.errors import BadField, Busy
from netsonde.monitor import main


def test_more_devices_than_may_be_viewed_are_refused() -> None:
    def read(number: int) -> main.Settings:
        names = ",".join(f"eth{one}" for one in range(number))
        return settings.read(main.Settings, "netsonde monitor", "", ["--devices", names])

    assert len(read(MAX_DEVICES).devices) == MAX_DEVICES
    with pytest.raises(BadField, match=f"at most {MAX_DEVICES}"):
        read(MAX_DEVICES + 1)


def test_it_waits_for_the_one_before_it_and_then_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = count()

    def free_at_the_third() -> str:
        if next(tries) < 2:
            raise Busy("another monitor has it")
        return "taken"

    assert main._when_free(free_at_the_third) == "taken"

    def never() -> str:
        raise Busy("another monitor has it")

    monkeypatch.setattr(main, "FREE_S", 0.2)
    begun_s = time.monotonic()
    with pytest.raises(Busy, match="another monitor has it"):
        main._when_free(never)
    assert time.monotonic() - begun_s >= main.FREE_S
