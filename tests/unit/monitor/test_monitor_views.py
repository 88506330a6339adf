"""Views: a question goes where its filter says, or is refused with what could be asked."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
from packets import Flow, packet

from netsonde.daemon.failures import Failures
from netsonde.kernel.devices import Device
from netsonde.model.errors import BadField, TooLarge
from netsonde.model.task import MAX_TASKS, Filter, Interface, Question, Task
from netsonde.model.window import TOTAL, Window
from netsonde.monitor.budget import Budget
from netsonde.monitor.pace import Pace
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.views import View, ViewOfDevice, Views, reader_of
from netsonde.recorder.questions import finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi, _core
from netsonde.sketch.summary import Summary

LG_BUCKETS = 4
PACKET = packet(Flow("10.0.0.6", "10.0.0.5", 1000, 53, 17), 20)
ON_LO = Filter(interface=Interface.BOTH, device="lo")


class Path:
    """A table in memory, written by the test."""

    hook = "memory"
    cpus = 1
    lg_buckets = LG_BUCKETS
    notebook = None
    sample_shift = _abi.SAMPLE_SHIFT_LEAST

    def __init__(self) -> None:
        self.hash_key = tuple(secrets.randbits(64) for _ in range(8))
        self.table = _core.FlowTable(
            struct.pack("<8Q", *self.hash_key), LG_BUCKETS, self.sample_shift
        )
        self.hot, self.cold, self.slices = self.table.buffers()

    def refresh(self) -> None:
        pass

    def flip(self) -> int:
        return self.table.flip(self.sample_shift)

    def count(self, packets: int, direction: int = _abi.IN) -> None:
        for _ in range(packets):
            self.table.count(PACKET, direction)


class Host:
    """The views of a host and their paths."""

    def __init__(self, *devices: Device) -> None:
        self.own = Path()
        tasks = Tasks(Recorder(1 << 20))
        ticker = Ticker(self.own, reader_of(self.own), tasks.absorb, Pace(1.0))
        self.paths = {device.name: Path() for device in devices}
        viewed = [
            ViewOfDevice(
                device,
                self.paths[device.name],
                recorder_bytes=1 << 20,
                budget_ratio=1.0,
                answers=Budget(1.0),
                failures=Failures(),
            )
            for device in devices
        ]
        self.views = Views(View("own", tasks, ticker), viewed)

    async def packets(self, question: Question) -> int:
        view = self.views.of(question)
        await view.flush()
        part = finished(view.tasks.answering(question)).part
        return Summary.from_bytes(part).total_packets.estimate


LO = Device(socket.if_nametoindex("lo"), "lo", ethernet=True)
AWAY = Device(LO.index, "away0", ethernet=True)
"""What had this index once."""


def played(story: Callable[[Host], Awaitable[None]], *devices: Device) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await story(Host(*devices))

    asyncio.run(run())


def sketch(number: int, wanted: Filter) -> Task:
    return Task(series="sketch", id=number, filter=wanted, since_tick=1)


def about(number: int) -> Question:
    return Question(series="sketch", task_id=number, window=TOTAL)


def test_tasks_and_questions_go_where_their_filter_says() -> None:
    async def story(host: Host) -> None:
        both = Filter(interface=Interface.BOTH)
        await host.views.apply([sketch(0, Filter()), sketch(1, ON_LO), sketch(2, both)])
        host.own.count(3)
        host.paths["lo"].count(5)
        host.paths["lo"].count(7, _abi.OUT)
        assert [await host.packets(about(number)) for number in range(3)] == [3, 12, 3]
        last = Window.last(10)
        assert await host.packets(Question(filter=ON_LO, window=last)) == 12
        assert await host.packets(Question(filter=both, window=last)) == 3
        assert host.views.of(about(1)).hook == "memory lo"
        (state,) = host.views.states()
        assert (state.device, state.packets, state.tasks, state.gone) == ("lo", 12, 1, None)
        # A task of another id may take its place, and goes somewhere else then.
        await host.views.apply([sketch(1, Filter())])
        host.own.count(4)
        assert await host.packets(about(1)) == 4

    played(story, LO)


@pytest.mark.parametrize("devices", [(), (LO,)])
def test_a_device_that_is_not_viewed_is_refused(devices: tuple[Device, ...]) -> None:
    async def story(host: Host) -> None:
        elsewhere = Filter(interface=Interface.BOTH, device="eth7")
        await host.views.apply([sketch(0, Filter()), sketch(1, elsewhere)])
        viewed = ", or a device viewed here: lo" if devices else "; no device is viewed here"
        for question in (about(1), Question(filter=elsewhere, window=Window.last(10))):
            with pytest.raises(BadField) as refused:
                host.views.of(question)
            assert (refused.value.field, refused.value.value) == ("interface", "eth7")
            assert f"INPUT, OUTPUT, both{viewed}" in refused.value.allowed
            assert "--devices eth7" in refused.value.allowed
        host.own.count(2)
        assert await host.packets(about(0)) == 2  # the others run on

    played(story, *devices)


def test_a_device_that_is_gone_is_told_and_its_past_can_be_asked() -> None:
    async def story(host: Host) -> None:
        view = host.views.devices["lo"]
        host.paths["lo"].count(5)
        await view.flush()
        last_tick = view.tasks.last_tick
        view.device = AWAY
        assert not view.is_there()
        view.gone_tick = last_tick + 1
        view.device = LO  # another of that name is not the one that was counted at
        for window in (Window.last(10), Window.range(last_tick + 1, last_tick + 5)):
            with pytest.raises(BadField, match=r"no device is viewed.*lo is gone since 20"):
                host.views.of(Question(filter=ON_LO, window=window))
        before = Question(filter=ON_LO, window=Window.range(last_tick - 5, last_tick + 5))
        assert await host.packets(before) == 5
        assert view.tasks.last_tick == last_tick  # nothing claims to have counted since
        answered = finished(view.tasks.answering(before))
        assert answered.evidence.missed_ticks >= 5
        assert host.views.states()[0].gone is not None

    played(story, LO)


def test_more_than_a_host_holds_is_refused_before_anything_changes() -> None:
    async def story(host: Host) -> None:
        await host.views.apply([sketch(0, ON_LO)])
        halves = [sketch(i, ON_LO if i % 2 else Filter()) for i in range(MAX_TASKS + 1)]
        with pytest.raises(TooLarge):
            await host.views.apply(halves)
        host.paths["lo"].count(5)
        assert await host.packets(about(0)) == 5
        assert len(host.views.own.tasks) == 0

    played(story, LO)
