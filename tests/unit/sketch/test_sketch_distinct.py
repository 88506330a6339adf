"""The number of flows: as good as the theorem says, over every range and any union."""

from __future__ import annotations

import random
from math import sqrt

import numpy as np
import pytest
from packets import Flow, packet
from test_sketch_certified import FIVE_TUPLE, Machine

from netsonde.model.task import Counter, Filter, Interface, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch.distinct import STANDARD_ERROR, estimate
from netsonde.sketch.window import Window


def ranks(flows: int, dice: random.Random) -> np.ndarray:
    """Make the registers of so many random fingerprints."""
    made = np.zeros(_abi.HLL_REGISTERS, np.uint8)
    for _ in range(flows):
        at = dice.randrange(_abi.HLL_REGISTERS)
        made[at] = max(made[at], 53 - dice.getrandbits(52).bit_length())
    return made


@pytest.mark.parametrize("flows", [0, 1, 10, 1000, 10_000, 20_000, 60_000])
def test_unbiased_and_as_precise_as_stated(flows: int) -> None:
    """Seeds are fixed, so it passes always or never; 5 sigma of a mean of 8: under 1 in 10^6."""
    errors = [estimate(ranks(flows, random.Random(seed))) - flows for seed in range(8)]
    assert abs(np.mean(errors)) <= max(0.5, 5 * STANDARD_ERROR * flows / sqrt(8))
    assert max(map(abs, errors)) <= max(1, 5 * STANDARD_ERROR * flows)


def count_flood(machine: Machine, first: int, flows: int, sides: tuple[int, ...]) -> None:
    for number in range(first, first + flows):
        source = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        data = packet(Flow(source, "10.0.0.1", 1000, 80, 17))
        for side in sides:
            machine.tables[number % len(machine.tables)].count(data, side)


def window_of(**fields: object) -> tuple[Window, Question, Counter]:
    counter = Counter(key_type=FIVE_TUPLE.name)
    task = Task(series="sketch", id=0, filter=Filter(**fields), counters=(counter,), since_tick=0)
    return Window(task), Question(series="sketch", task_id=0, key_type=counter.key_type), counter


def test_a_flood_over_cpus_and_ticks_is_counted_once() -> None:
    """64 slots a CPU and 9,000 flows, each seen in two of four ticks, the last third twice."""
    machine = Machine(cpus=3, epoch=0xFFFFFFFE)
    window, ask, counter = window_of()
    for first, flows in ((0, 3000), (0, 6000), (3000, 3000), (6000, 3000)):
        count_flood(machine, first, flows, (_abi.IN,))
        window.absorb(machine.tick(_abi.SAMPLE_SHIFT_LEAST))
    distinct = window.summary(ask, counter).distinct
    # The secret is fixed, so this holds always or never; 4 sigma.
    assert abs(distinct.estimate - 9000) <= 4 * STANDARD_ERROR * 9000
    assert distinct.lower <= 9000 <= distinct.upper
    assert window.distinct_error(counter.key_type) == STANDARD_ERROR


def test_exact_while_nothing_is_hidden() -> None:
    machine = Machine(cpus=1, epoch=1)
    window, ask, counter = window_of()
    count_flood(machine, 0, 5, (_abi.IN,))
    window.absorb(machine.tick(_abi.SAMPLE_SHIFT_LEAST))
    assert window.summary(ask, counter).distinct.exact
    assert window.distinct_error(counter.key_type) == 0


@pytest.mark.parametrize("fields", [{"proto": 17}, {"interface": Interface.BOTH}])
def test_unknown_where_registers_cannot_tell(fields: dict[str, object]) -> None:
    machine = Machine(cpus=1, epoch=1)
    window, ask, counter = window_of(**fields)
    count_flood(machine, 0, 500, (_abi.IN, _abi.OUT))
    window.absorb(machine.tick(_abi.SAMPLE_SHIFT_LEAST))
    distinct = window.summary(ask, counter).distinct
    assert distinct.lower <= 500 <= distinct.upper
    assert window.distinct_error(counter.key_type) is None
