"""`netsonde top` on a terminal: puts pages on it line by line, takes keys, has asked what is due.

The one idea: a page is computed whole and compared with the one shown; only lines that differ are
painted, so nothing flickers and an idle view costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from netsonde.cli.top import words
from netsonde.cli.top.choice import MOST_KEYS, Choice
from netsonde.cli.top.help import Help
from netsonde.cli.top.page import Page, View, page
from netsonde.cli.top.panels import ordered
from netsonde.cli.top.poll import Poll, Source
from netsonde.cli.top.prompt import Prompt, Reading
from netsonde.cli.top.told import NS, Told, same_rate, same_top
from netsonde.model.errors import BadField, NetsondeError
from netsonde.model.resource import TaskBody
from netsonde.model.text import escaped
from netsonde.model.window import TOTAL, Window

_SETTLE_S = 0.15
"""A key held down asks once it is let go, not each time it repeats."""
_LEAST_K = 30
_MOST_BACK = 32

Clock = Callable[[], int]


class Screenful(Widget):
    """Shows lines of text; paints those alone that changed."""

    DEFAULT_CSS = "Screenful { width: 1fr; height: 1fr; background: ansi_default; }"

    def __init__(self, draw: Callable[[int, int], Page]) -> None:
        super().__init__()
        self._draw = draw
        self._page = Page((), (), 0)

    @property
    def page(self) -> Page:
        """What is shown."""
        return self._page

    def redraw(self) -> None:
        """Draw the page and paint what differs."""
        before, width, height = self._page, self.size.width, self.size.height
        if not width or not height:
            return
        self._page = self._draw(width, height)
        changed = [
            Region(0, y, width, 1)
            for y, line in enumerate(self._page.lines)
            if y >= len(before.lines) or line != before.lines[y] or not _same(line, before.lines[y])
        ]
        if changed:
            self.refresh(*changed)

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the page to the terminal."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """Give one line as Textual paints it."""
        width = self.size.width
        line = self._page.lines[y] if y < len(self._page.lines) else Text()
        return Strip(line.render(self.app.console)).adjust_cell_length(width)

    def get_content_height(self, _container: Size, viewport: Size, _width: int) -> int:
        """Take the whole terminal."""
        return viewport.height


def _same(one: Text, other: Text) -> bool:
    return one.style == other.style and one.spans == other.spans


class TopView(App[None]):
    """The live view."""

    CSS = "Screen { background: ansi_default; }"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit"),
        Binding("k", "key_type(1)", "next key type"),
        Binding("K", "ask_key_type", "type a key type"),
        Binding("w", "window(1)", "next window"),
        Binding("W", "ask_window", "type a window"),
        Binding("i", "increment", "packets or bytes"),
        Binding("d", "interface", "INPUT, OUTPUT or both"),
        Binding("slash", "ask_filter", "filter"),
        Binding("t", "ask_task", "task"),
        Binding("s", "sort", "sort"),
        Binding("space,p", "pause", "pause"),
        Binding("down,j", "move(1)", "next row"),
        Binding("up", "move(-1)", "row before"),
        Binding("enter", "into", "look into the row"),
        Binding("backspace", "out", "back"),
        Binding("escape", "unselect", "no row"),
        Binding("question_mark,h,f1", "help", "help"),
    ]

    def __init__(
        self,
        source: Source,
        url: str,
        choice: Choice,
        *,
        every_s: float = 1.0,
        clock_mono_ns: Clock = time.monotonic_ns,
        clock_wall_ns: Clock = time.time_ns,
        turns: bool = True,
        settle_s: float = _SETTLE_S,
    ) -> None:
        """Look at `choice` through `source`.

        `turns`: whether a timer calls `turn`; without it the caller does.
        """
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._url, self.choice, self._every_s, self._settle_s = url, choice, every_s, settle_s
        self._clock_mono_ns, self._clock_wall_ns, self._turns = clock_mono_ns, clock_wall_ns, turns
        self.told = Told()
        self.poll = Poll(source, self.told, clock_mono_ns, every_s)
        self._paused = False
        self._selected: str | None = None
        self._back: list[Choice] = []
        self._screenful = Screenful(self._page)

    def compose(self) -> ComposeResult:
        """Make the page and the prompt."""
        yield self._screenful
        yield Prompt()

    def on_mount(self) -> None:
        """Begin."""
        if self._turns:
            self.set_interval(self._every_s, self.turn)
            self.call_after_refresh(self.turn)

    def turn(self) -> None:
        """Ask for what is due, and let ages grow."""
        if not self._paused:
            self._ask(self.poll.due(self.choice))
        self._screenful.redraw()

    def choose(self, choice: Choice) -> None:
        """Look at something else from now on."""
        before, self.choice = self.choice, choice
        if not same_top(before, choice) or not same_rate(before, choice):
            self._paused = False
            self.workers.cancel_group(self, "top")
            self.workers.cancel_group(self, "series")
            self.poll.anew()
            if self._settle_s:
                self.set_timer(self._settle_s, partial(self._settled, choice))
            else:
                self._settled(choice)
        if before.by != choice.by:
            self._selected = None
        self._screenful.redraw()

    def _settled(self, wanted: Choice) -> None:
        if self.choice is wanted and "top" not in self.poll.under_way and not self._paused:
            self._ask(["top"])
            self._screenful.redraw()

    def _ask(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.run_worker(self._asked(kind, self.choice), group=kind, exclusive=True, name=kind)

    async def _asked(self, kind: str, choice: Choice) -> None:
        height = self.size.height
        k = min(MOST_KEYS, max(_LEAST_K, -(-height // 10) * 10))
        await self.poll.ask(kind, choice, k)
        self._screenful.redraw()

    def _page(self, width: int, height: int) -> Page:
        return page(
            View(
                url=self._url,
                choice=self.choice,
                told=self.told,
                now_mono_ns=self._clock_mono_ns(),
                now_wall_ns=self._clock_wall_ns(),
                every_ns=round(self._every_s * NS),
                paused=self._paused,
                waiting="top" in self.poll.under_way,
                retry_in_s=self.poll.retry_in_s("top"),
                selected=self._selected,
            ),
            width,
            height,
        )

    def action_key_type(self, step: int) -> None:
        """Look at the next key type."""
        self.choose(self.choice.another_key_type(step))

    def action_window(self, step: int) -> None:
        """Look at the next window."""
        self.choose(self.choice.another_window(step))

    def action_increment(self) -> None:
        """Count packets or bytes."""
        if self.choice.task is not None:
            self.notify("a task's counter adds what it was made for; / leaves the task")
        self.choose(self.choice.another_increment())

    def action_interface(self) -> None:
        """Look at what goes out, or both, or comes in."""
        if self.choice.task is not None:
            self.notify("a task looks at the side it was made for; / leaves the task")
        self.choose(self.choice.another_interface())

    def action_sort(self) -> None:
        """Sort by something else."""
        self.choose(self.choice.another_sort())

    def action_pause(self) -> None:
        """Hold the page, or go on."""
        self._paused = not self._paused
        if not self._paused:
            self._ask(self.poll.due(self.choice))
        self._screenful.redraw()

    def action_move(self, step: int) -> None:
        """Select another row."""
        rows = [] if self.told.top is None else self._order()
        if not rows:
            return
        at = rows.index(self._selected) + step if self._selected in rows else 0
        self._selected = rows[min(max(at, 0), len(rows) - 1)]
        self._screenful.redraw()

    def action_unselect(self) -> None:
        """Select none."""
        self._selected = None
        self._screenful.redraw()

    def action_into(self) -> None:
        """Look into the selected key."""
        told = self.told.top_choice
        if self._selected is None or told is None or not same_top(told, self.choice):
            return
        try:
            inside = self.choice.into(self._selected)
        except BadField as error:
            self._warn(str(error))
            return
        self._back = [*self._back[1 - _MOST_BACK :], self.choice]
        self.choose(inside)
        self._selected = None

    def action_out(self) -> None:
        """Look at what was looked at before a key was looked into."""
        if self._back:
            self.choose(replace(self._back.pop(), sort=self.choice.sort))

    def action_help(self) -> None:
        """Say what keys do and signs mean."""
        self.push_screen(Help())

    def action_ask_key_type(self) -> None:
        """Type a key type."""
        hint = "key type: src dst sport dport proto joined by _ · src/24 counts by prefix"
        self._prompt(hint, self.choice.by, self.choice.keyed_by)

    def action_ask_window(self) -> None:
        """Type a window."""
        hint = "window: real_time, last 30s, last 5m, 2026-11-24T12:04:00Z/2026-11-24T12:05:00Z"
        self._prompt(hint, self.choice.window, self._windowed)

    def action_ask_filter(self) -> None:
        """Type a filter."""
        hint = f"filter: {words.ALLOWED} · empty: all traffic"
        chosen = self.choice.filter if self.choice.task is None else self.choice.task.filter
        self._prompt(hint, words.write(chosen), self.choice.filtered)

    async def action_ask_task(self) -> None:
        """Choose a task."""
        self.run_worker(self._task_prompt(), group="tasks", exclusive=True)

    async def _task_prompt(self) -> None:
        try:
            tasks = await self.poll.tasks()
        except (NetsondeError, TimeoutError) as error:
            self._warn(str(error) or "the agent gave no list of tasks")
            return
        listed = " · ".join(f"{task.id}: {_described(task)}" for task in tasks) or "there is none"
        now = "" if self.choice.task is None else str(self.choice.task.id)
        self._prompt(f"task, by its id ({listed}) · empty: none", now, partial(self._tasked, tasks))

    def on_prompt_taken(self, event: Prompt.Taken) -> None:
        """Look at what was typed."""
        self.choose(event.choice)

    def on_click(self, event: events.Click) -> None:
        """Select the row that was clicked."""
        shown = self._screenful.page
        row = event.screen_y - shown.first_row
        if 0 <= row < len(shown.keys):
            self._selected = shown.keys[row]
            self._screenful.redraw()

    def on_key(self, event: events.Key) -> None:
        """Take what is typed into a prompt that opens, before it has the keys."""
        prompt = self.query_one(Prompt)
        if prompt.open and event.is_printable and event.character is not None:
            event.stop()
            prompt.type(event.character)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While somebody types, keys are letters."""
        del parameters
        typing = bool(self.query(Prompt)) and self.query_one(Prompt).open
        return not typing or action in ("quit", "leave")

    def _warn(self, said: str) -> None:
        """Say what did not work; a stranger's text in it is neither obeyed nor read as markup."""
        self.notify(escaped(said), severity="warning", markup=False)

    def _prompt(self, hint: str, text: str, read: Reading) -> None:
        self.query_one(Prompt).begin(hint, text, read)

    def _order(self) -> list[str]:
        found = self.told.top
        return [] if found is None else [row.key for row in ordered(found.rows, self.choice.sort)]

    def _windowed(self, text: str) -> Choice:
        window = Window.parse(text.strip())
        if window == TOTAL and self.choice.task is None:
            raise BadField("window", text, "total of a task only (t chooses one)")
        return replace(self.choice, window=window.text)

    def _tasked(self, tasks: tuple[TaskBody, ...], text: str) -> Choice:
        if not text.strip():
            return self.choice.untasked()
        for task in tasks:
            if str(task.id) == text.strip():
                return self.choice.tasked(task)
        raise BadField("task", text, ", ".join(str(task.id) for task in tasks) or "none: no task")


def _described(task: TaskBody) -> str:
    kinds = ",".join(counter.by for counter in task.counters) or "totals"
    return f"{words.write(task.filter) or 'all'} by {kinds}"
