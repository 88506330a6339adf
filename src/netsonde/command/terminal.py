"""The way to a terminal: whatever a stranger named or said, it is shown and not obeyed.

The one idea: all that a command prints goes through two funnels, so that no place that prints has
to think of it. What is written to `sys.stdout` and `sys.stderr` is escaped as it passes; rich,
which has colours and cursors of its own to send, writes past that through a `console` that escapes
texts before it colours them. What the terminal's encoding has no letter for is written by its
number.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO, cast

from netsonde.model.text import escaped

if TYPE_CHECKING:
    from rich.console import Console


class _Guarded:
    """Writes to another stream what can do no harm there; everything else it leaves to that.

    Not derived from a stream's class, whose own answers (no encoding, not writable) would stand in
    the other's way: `input()` without an encoding does without readline.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write a text; its lines stay lines."""
        self.raw.write(escaped(text, keep="\n"))
        return len(text)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def guard() -> None:
    """Guard both streams of this process from now on; harmless when they are already."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, _Guarded):
            continue
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, cast(TextIO, _Guarded(stream)))


def raw() -> TextIO:
    """Give stdout itself, for what a terminal or a shell is meant to obey."""
    return cast(TextIO, getattr(sys.stdout, "raw", sys.stdout))


def console(*, stderr: bool = False, **settings: Any) -> Console:
    """Make a console of rich's that writes to a guarded stream, its own colours past the guard.

    Brackets and colons in a text are letters, no markup: a stranger's `[red]` or `[/x]` is shown.
    """
    from rich.console import Console, RenderHook  # noqa: PLC0415 # daemons have no rich
    from rich.measure import Measurement  # noqa: PLC0415
    from rich.segment import Segment  # noqa: PLC0415

    class Harmless:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __rich_console__(self, console: Console, options: Any) -> Iterable[Segment]:
            for text, style, control in console.render(self.inner, options):
                yield Segment(text if control else escaped(text, keep="\n"), style, control)

        def __rich_measure__(self, console: Console, options: Any) -> Measurement:
            return Measurement.get(console, options, self.inner)

    class Escaping(RenderHook):
        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            return [Harmless(one) for one in renderables]

    class Quiet(Console):
        """Leaves it to the command what becomes of a reader that has gone."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    made = Quiet(file=getattr(stream, "raw", stream), markup=False, emoji=False, **settings)
    made.push_render_hook(Escaping())
    return made
