"""The view on a pretended terminal: keys, prompts, slow and absent agents, sizes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scripted import Clock, ScriptedSource, event, task_body, top_answer
from textual.events import Key
from textual.pilot import Pilot

from netsonde.cli.top.choice import Choice
from netsonde.cli.top.view import TopView
from netsonde.model.asked import FilterText, Top
from netsonde.model.bound import Bound
from netsonde.model.errors import Unavailable

Keys = Pilot[None]


class Screen:
    """A view that is shown, driven by its test alone: no timer turns it."""

    def __init__(self, source: ScriptedSource, clock: Clock, view: TopView, keys: Keys) -> None:
        self.source, self.clock, self.view, self.keys = source, clock, view, keys

    async def turn(self) -> None:
        self.view.turn()
        await self.keys.pause()
        self.clock.go_on(1)

    async def press(self, *keys: str) -> None:
        await self.keys.press(*keys)
        await self.keys.pause()

    @property
    def text(self) -> str:
        strips = self.view.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def tops(self) -> list[Top]:
        return [each for each in self.source.asked if isinstance(each, Top)]


@asynccontextmanager
async def shown(source: ScriptedSource, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Screen]:
    clock = Clock()
    view = TopView(
        source, "http://10.0.0.2:8000", Choice(), clock_mono_ns=clock, clock_wall_ns=clock,
        turns=False, settle_s=0.0,
    )  # fmt: skip
    async with view.run_test(size=size) as keys:
        screen = Screen(source, clock, view, keys)
        await screen.turn()
        yield screen


def played(scene: Callable[..., Any], source: ScriptedSource | None = None, **how: Any) -> None:
    async def play() -> None:
        async with shown(source or ScriptedSource(), **how) as screen:
            await scene(screen)

    asyncio.run(play())


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_shows_answers_and_events(size: tuple[int, int]) -> None:
    async def scene(screen: Screen) -> None:
        await screen.turn()
        lines = screen.text.splitlines()
        assert len(lines) == size[1]
        for wanted in ("10.0.0.6", "120", "80.0%", "port_scan", "exact · 8/8 hosts", "packets/s"):
            assert wanted in screen.text

    played(scene, ScriptedSource(event_list=[event(1)]), size=size)


def test_keys_change_what_is_asked() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("k", "w", "i", "d")
        assert screen.view.choice == Choice(
            by="dst", window="last 60s", increment="bytes", filter=FilterText(interface="OUTPUT")
        )
        asked = screen.tops()[-1]
        assert (asked.by, asked.window, asked.increment) == ("dst", "last 60s", "bytes")
        before = len(screen.source.asked)
        await screen.press("s")
        assert len(screen.source.asked) == before  # sorting asks nobody

    played(scene)


def test_a_filter_is_judged_as_it_is_typed() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("slash", *"tcp dprt=443")
        assert "allowed: dport= perhaps" in screen.text
        await screen.press("enter")
        assert screen.view.choice == Choice()  # it cannot be taken
        await screen.press(*["backspace"] * 8, *"dport=443")
        assert "perhaps" not in screen.text
        await screen.press("enter")
        assert screen.view.choice.filter == FilterText(proto="tcp", dport="443")
        assert screen.tops()[-1].filter == FilterText(proto="tcp", dport="443")
        assert "INPUT tcp dport=443" in screen.text
        await screen.press("slash", "escape", "k")
        assert screen.view.choice.filter.proto == "tcp"
        assert screen.view.choice.by == "dst"

    played(scene)


def test_what_is_typed_at_once_is_kept() -> None:
    async def scene(screen: Screen) -> None:
        for letter in "/tcp dport=443":
            key = {"/": "slash", " ": "space", "=": "equals_sign"}.get(letter, letter)
            screen.view.post_message(Key(key, letter))
        await screen.keys.pause()
        await screen.press("enter")
        assert screen.view.choice.filter == FilterText(proto="tcp", dport="443")

    played(scene)


def test_letters_typed_are_no_commands() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("K", *["backspace"] * 3, *"src_dport", "enter")
        assert screen.view.choice == Choice(by="src_dport")
        await screen.press("W", *["backspace"] * 8, *"total")
        assert "total of a task only" in screen.text
        await screen.press(*["backspace"] * 5, *"last 5m", "enter")
        assert screen.view.choice.window == "last 300s"

    played(scene)


def test_a_warning_is_shown_as_it_is() -> None:
    source = ScriptedSource(
        top=lambda asked: top_answer({"[/x] [red]\x1b[2J": Bound.exactly(9)}, by=asked.by)
    )

    async def scene(screen: Screen) -> None:
        await screen.press("down", "enter")
        assert screen.text.count("[/x] [red]") > 1  # in the table, and why it cannot be looked into
        assert "\x1b" not in screen.text

    played(scene, source)


def test_a_task_is_chosen_by_its_id() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("t")
        assert "7: tcp by src_dport" in screen.text
        await screen.press("8")
        assert "field 'task' is '8'" in screen.text
        await screen.press("backspace", "7", "enter")
        asked = screen.tops()[-1]
        assert (asked.task, asked.by, asked.window, asked.filter) == (7, "src_dport", "total", None)
        await screen.press("t", "backspace", "enter")
        assert screen.view.choice.task is None

    played(scene, ScriptedSource(task_list=(task_body(),)))


def test_a_key_is_looked_into_and_out_of() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("down")
        assert "enter looks into it" in screen.text
        await screen.press("enter")
        assert screen.view.choice.filter.src == "10.0.0.6"
        assert screen.view.choice.by == "dst"
        await screen.press("backspace")
        assert screen.view.choice == Choice()

    played(scene)


def test_an_absent_agent_is_said_and_the_last_answer_kept() -> None:
    async def scene(screen: Screen) -> None:
        screen.source.error = Unavailable("http://10.0.0.2:8000 does not answer")
        for _ in range(6):
            await screen.turn()
        assert "no answer for" in screen.text
        assert "does not answer" in screen.text
        assert "below is the last answer, of" in screen.text
        assert "10.0.0.6" in screen.text
        screen.source.error = None
        for _ in range(9):
            await screen.turn()
        assert "no answer" not in screen.text
        assert "live" in screen.text

    played(scene)


def test_a_slow_agent_is_asked_once() -> None:
    async def scene(screen: Screen) -> None:
        for _ in range(12):
            await screen.turn()
        assert screen.source.most == {"Top": 1, "events": 1}
        assert "asking" in screen.text
        screen.source.release.set()
        await screen.keys.pause()
        assert "10.0.0.6" in screen.text

    played(scene, ScriptedSource(hold=True))


def test_what_is_no_longer_wanted_is_let_go() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("k", "k")
        assert screen.source.now["Top"] == 1
        screen.source.release.set()
        await screen.keys.pause()
        assert screen.view.told.top_choice == Choice(by="src_dst")

    played(scene, ScriptedSource(hold=True))


def test_a_paused_view_asks_nothing() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("space")
        asked = len(screen.source.asked)
        for _ in range(5):
            await screen.turn()
        assert len(screen.source.asked) == asked
        assert "PAUSED" in screen.text
        await screen.press("space")
        assert len(screen.source.asked) > asked
        assert "PAUSED" not in screen.text

    played(scene)


def test_it_follows_the_terminals_size() -> None:
    async def scene(screen: Screen) -> None:
        for width, height in ((160, 50), (20, 5), (80, 24)):
            await screen.keys.resize_terminal(width, height)
            await screen.keys.pause()
            lines = screen.text.splitlines()
            assert (len(lines), {len(line) for line in lines}) == (height, {width})
        assert "10.0.0.6" in screen.text

    played(scene)


def test_only_lines_that_differ_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(screen: Screen) -> None:
        painted: list[int] = []
        page = screen.view._screenful
        refresh = page.refresh

        def counted(*regions: Any, **how: Any) -> Any:
            painted.extend(region.y for region in regions)
            return refresh(*regions, **how)

        monkeypatch.setattr(page, "refresh", counted)
        page.redraw()
        assert painted == []
        screen.source.top = lambda asked: top_answer(
            {"10.0.0.6": Bound.exactly(120), "10.0.0.7": Bound.exactly(29)}, by=asked.by
        )
        await screen.press("down")
        assert 0 < len(painted) < 8

    played(scene)


def test_help_is_over_the_page_and_goes_away() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("question_mark")
        assert "certain" in screen.text
        assert "look into it" in screen.text
        await screen.press("escape")
        assert "10.0.0.6" in screen.text

    played(scene)


def test_q_ends_it() -> None:
    async def scene(screen: Screen) -> None:
        await screen.press("q")
        assert screen.view._exit

    played(scene)
