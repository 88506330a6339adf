"""Pins: what is sent while no monitor runs is in the ticks of the next one, once."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from features import needs
from pyroute2 import IPRoute, netns

from netsonde.kernel.attached import attachments
from netsonde.kernel.hooks import Opened, open_path, unpin
from netsonde.kernel.notebook import Note
from netsonde.kernel.pins import Pins, find
from netsonde.lab import namespace
from netsonde.model.errors import UnsupportedByKernel
from netsonde.monitor.takeover import close_gap
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader, Tick

HERE = f"netsonde-test-{os.getpid()}-pins"
LG_BUCKETS = 4
HOOKS = [
    pytest.param("netfilter", marks=needs("netfilter_link", minimum=(6, 4))),
    pytest.param("tcx", marks=needs("tcx", minimum=(6, 6))),
    "clsact",
]


@pytest.fixture
def network() -> Iterator[None]:
    """A namespace with loopback alone, which the test is in."""
    netns.create(HERE)
    try:
        with namespace.inside(HERE), IPRoute() as links:
            links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
            yield
    finally:
        netns.remove(HERE)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory without a BPF file system; what was mounted there goes with all its pins."""
    place = tmp_path / "pins"
    yield place
    if os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


class Life:
    """One monitor's life, as far as the kernel sees it."""

    def __init__(self, hook: str, pins: Pins | None, *, lg_buckets: int = LG_BUCKETS) -> None:
        key = [secrets.randbits(64) for _ in range(8)]
        self.opened: Opened = open_path(hook, hash_key=key, lg_buckets=lg_buckets, pins=pins)
        path = self.path = self.opened.path
        self.reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=lg_buckets,
            cpus=path.cpus,
            hash_key=path.hash_key,
        )

    def tick(self, number: int = 1) -> Tick:
        """Close a tick as the ticker does."""
        epoch = self.path.flip()
        tick = self.reader.read(epoch, number)
        if self.path.notebook:
            self.path.notebook.write(Note(epoch, number * 10**8, self.reader.state()))
        return tick

    def end(self) -> None:
        """What the kernel does when the process ends, however it ends."""
        self.path.close()
        self.opened.claim.close()


def send(packets: int) -> None:
    """Send datagrams over loopback, each of which is counted once in each direction."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        for _ in range(packets):
            sender.sendto(b"netsonde", receiver.getsockname())
            receiver.recv(64)


def found(directory: Path) -> list[Path]:
    """Loads that are pinned there; this machine may have others."""
    return [home for home in find() if home.parent == directory]


def both(packets: int) -> tuple[int, int]:
    return packets, packets


def counted(*ticks: Tick) -> tuple[int, int]:
    """Packets received and sent in all of them."""
    received, sent = (sum(tick.sides[side].packets for tick in ticks) for side in (0, 1))
    return received, sent


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.usefixtures("network")
def test_counting_goes_on_without_a_monitor(directory: Path, hook: str) -> None:
    first = Life(hook, Pins(directory))
    assert not first.path.adopted
    assert first.path.pin_fault is None
    send(3)
    assert counted(first.tick()) == both(3)
    send(5)
    first.end()
    send(7)
    second = Life("auto", Pins(directory))
    assert (second.path.hook, second.path.adopted, second.path.whole) == (hook, True, True)
    assert second.path.hash_key == first.path.hash_key
    send(11)
    gap = close_gap(second.path, second.reader)
    assert gap is not None
    assert counted(*gap.ticks) == both(23)
    assert (gap.first_tick, gap.ticks[-1].first_id) == (1, 1)
    send(13)
    assert counted(second.tick()) == both(13)
    second.end()


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.usefixtures("network")
def test_monitors_that_come_and_go_under_load_count_each_packet_once(
    directory: Path, hook: str
) -> None:
    first = Life(hook, Pins(directory))
    sent, enough = 0, threading.Event()

    def keep_sending() -> None:
        nonlocal sent
        while not enough.is_set():
            send(10)
            sent += 10

    sender = threading.Thread(target=keep_sending)  # born in this network namespace
    sender.start()
    try:
        ticks = [first.tick()]
        first.end()
        for life in range(8):
            former_sent = sent
            while sent < former_sent + 20:  # nobody is there, and packets go on
                assert sender.is_alive()
                time.sleep(0.001)
            monitor = Life(hook, Pins(directory))
            gap = close_gap(monitor.path, monitor.reader)
            assert gap is not None
            ticks += [*gap.ticks, monitor.tick(), monitor.tick()]
            if life % 2:
                monitor.path.flip()  # killed between a flip and its reading
            monitor.end()
    finally:
        enough.set()
        sender.join()
    last = Life(hook, Pins(directory))
    gap = close_gap(last.path, last.reader)
    assert gap is not None
    assert counted(*ticks, *gap.ticks) == both(sent)
    last.end()


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.usefixtures("network")
def test_an_epoch_that_was_closed_but_never_read_is_not_lost(directory: Path, hook: str) -> None:
    first = Life(hook, Pins(directory))
    send(3)
    first.tick()
    first.path.run("ns_local_out" if hook == "netfilter" else "ns_egress", b"\x44" + bytes(39))
    send(5)
    first.path.flip()  # and killed before it could read
    send(7)
    first.end()
    second = Life(hook, Pins(directory))
    gap = close_gap(second.path, second.reader)
    assert gap is not None
    assert [counted(tick) for tick in gap.ticks] == [both(5), both(7)]
    drops = [sum(tick.sides[_abi.OUT].drops.values()) for tick in gap.ticks]
    assert drops == [1, 0]
    second.end()


@pytest.mark.usefixtures("network")
def test_what_a_dead_table_hid_is_counted_once(directory: Path) -> None:
    """Contended and dropped packets are counters that only grow: the next reader goes on."""
    first = Life("clsact", Pins(directory))
    for _ in range(2):
        first.path.run("ns_egress", bytes(12) + b"\x08\x06" + bytes(40))
        assert sum(first.tick().sides[_abi.OUT].drops.values()) == 1
    first.end()
    second = Life("clsact", Pins(directory))
    gap = close_gap(second.path, second.reader)
    assert gap is not None
    assert [sum(tick.sides[_abi.OUT].drops.values()) for tick in gap.ticks] == [0]
    second.path.run("ns_egress", bytes(12) + b"\x08\x06" + bytes(40))
    assert [sum(second.tick().sides[_abi.OUT].drops.values()) for _ in range(2)] == [1, 0]
    second.end()


@pytest.mark.parametrize("spoiled", ["release", "epochs"])
@pytest.mark.usefixtures("network")
def test_a_note_that_cannot_be_read_makes_the_gap_unknown(directory: Path, spoiled: str) -> None:
    first = Life("clsact", Pins(directory))
    send(3)
    first.path.run("ns_egress", bytes(12) + b"\x08\x06" + bytes(40))
    first.tick()
    assert first.path.notebook is not None
    note = first.path.notebook.read()
    changed = replace(note, state=b"?") if spoiled == "release" else replace(note, epoch=900)
    first.path.notebook.write(changed)
    first.end()
    send(5)
    second = Life("clsact", Pins(directory))
    assert close_gap(second.path, second.reader) is None
    send(7)
    ticks = [second.tick(), second.tick()]
    assert counted(*ticks) == both(7)
    assert [sum(tick.sides[_abi.OUT].drops.values()) for tick in ticks] == [0, 0]
    second.end()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"lg_buckets": LG_BUCKETS + 1}, id="size"),
        pytest.param({"hook": "afpacket"}, id="hook"),
        pytest.param({"hook": "netfilter"}, id="hook that can be pinned", marks=HOOKS[0].marks),
    ],
)
@pytest.mark.usefixtures("network")
def test_what_does_not_fit_is_removed_and_counting_begins_anew(directory, change) -> None:
    first = Life("clsact", Pins(directory))
    send(3)
    first.end()
    assert len(found(directory)) == 1
    second = Life(**{"hook": "clsact", "pins": Pins(directory)} | change)
    assert second.opened.unpinned == 1
    assert not second.path.adopted
    assert close_gap(second.path, second.reader) is None
    ours = [one for one in attachments() if one.ours and one.here]
    send(5)
    assert counted(second.tick()) == both(5)
    assert len(found(directory)) == (0 if "afpacket" in change.values() else 1)
    second.end()
    # Nothing of the first load is attached: else its filters would be listed beside these.
    wanted = {"afpacket": 0, "netfilter": 4}.get(str(change.get("hook")), 2)
    assert len(ours) == wanted


@needs("netfilter_link", minimum=(6, 4))
@pytest.mark.usefixtures("network")
def test_the_best_hook_stays_though_its_pins_had_to_go(directory: Path) -> None:
    for size in range(4):  # the kernel lets go of the former links only after a while
        life = Life("auto", Pins(directory), lg_buckets=LG_BUCKETS + size)
        assert (life.path.hook, life.opened.unpinned) == ("netfilter", int(size > 0))
        assert life.opened.refused == {}
        life.end()
    assert unpin(directory) == 1
    last = Life("auto", None)
    assert (last.path.hook, last.opened.refused) == ("netfilter", {})
    last.end()


@pytest.mark.usefixtures("network")
def test_a_half_made_load_is_not_taken(directory: Path) -> None:
    Life("clsact", Pins(directory)).end()
    (home,) = found(directory)
    (home / "map_ns_control").unlink()
    second = Life("clsact", Pins(directory))
    assert not second.path.adopted
    assert second.opened.unpinned == 1
    second.end()


@pytest.mark.parametrize("hook", HOOKS[1:])
@pytest.mark.usefixtures("network")
def test_a_device_or_address_that_came_meanwhile_is_told(directory: Path, hook: str) -> None:
    Life(hook, Pins(directory)).end()
    with IPRoute() as links:
        links.link("add", ifname="dummy5", kind="veth", peer="dummy6")
    second = Life(hook, Pins(directory))
    assert (second.path.adopted, second.path.whole) == (True, False)
    second.end()
    third = Life(hook, Pins(directory))
    assert (third.path.adopted, third.path.whole) == (True, True)
    third.end()
    with IPRoute() as links:
        device = links.link_lookup(ifname="lo")[0]
        links.addr("add", index=device, address="127.9.9.9", prefixlen=32)
    fourth = Life(hook, Pins(directory))
    assert (fourth.path.adopted, fourth.path.whole) == (True, False)
    fourth.end()
    with IPRoute() as links:
        links.link("del", ifname="dummy5")
    fifth = Life(hook, Pins(directory))
    assert (fifth.path.adopted, fifth.path.whole) == (True, True)
    fifth.end()


@needs("netfilter_link", minimum=(6, 4))
@pytest.mark.usefixtures("network")
def test_what_is_pinned_is_found_refuses_others_and_can_be_removed(directory: Path) -> None:
    Life("netfilter", Pins(directory)).end()
    assert len(found(directory)) == 1
    with pytest.raises(UnsupportedByKernel, match="netsonde monitor --unpin removes"):
        Life("netfilter", None)
    assert unpin(directory) == 1
    assert found(directory) == []
    assert unpin(directory) == 0
    send(3)
    last = Life("netfilter", None)
    assert counted(last.tick()) == both(0)
    last.end()


@pytest.mark.usefixtures("network")
def test_what_others_pinned_in_the_directory_stays(directory: Path) -> None:
    Pins(directory)
    others = directory / "others-own-pins"
    others.mkdir()
    Life("clsact", Pins(directory)).end()
    assert unpin(directory) == 1
    assert others.exists()


def test_without_a_bpf_file_system_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsupportedByKernel, match="mount -t bpf bpf /sys/fs/bpf"):
        Pins(tmp_path / "file" / "pins")


def test_nothing_is_pinned_where_others_could_place_a_map(network: None, directory: Path) -> None:
    Pins(directory)
    for owner, mode in ((0, 0o777), (0, 0o720), (65534, 0o700)):
        os.chown(directory, owner, owner)
        directory.chmod(mode)
        with pytest.raises(UnsupportedByKernel, match="other users may write"):
            Pins(directory)
    os.chown(directory, 0, 0)
    Pins(directory)
