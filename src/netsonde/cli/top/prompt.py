"""A line to type into, above the keys, which says at once what is wrong with what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from netsonde.cli.top.choice import Choice
from netsonde.model.errors import NetsondeError
from netsonde.model.text import escaped

Reading = Callable[[str], Choice]
"""What a text makes of the choice; raises BadField."""


class Prompt(Vertical):
    """Asks for one text; enter takes it when it can be read, escape leaves everything as it was."""

    DEFAULT_CSS = """
    Prompt { dock: bottom; height: auto; display: none; background: ansi_default; }
    Prompt Static { height: auto; max-height: 4; background: ansi_default; }
    Prompt Input { border: none; height: 1; padding: 0; background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "leave")]

    class Taken(Message):
        """A text was taken."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self) -> None:
        super().__init__()
        self._read: Reading | None = None
        self._hint = ""

    def compose(self) -> ComposeResult:
        """Make its two lines."""
        yield Static(id="said", markup=False)
        yield Input(compact=True, select_on_focus=False)

    @property
    def open(self) -> bool:
        """Whether somebody types."""
        return self._read is not None

    def begin(self, hint: str, text: str, read: Reading) -> None:
        """Ask; `read` judges every text."""
        self._hint, self._read = escaped(hint), read
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)
        self.display = True
        self.screen.set_focus(line)  # at once: the next key may be here already
        self._judge(text)

    def type(self, text: str) -> None:
        """Put text where the cursor is."""
        self.query_one(Input).insert_text_at_cursor(text)

    def action_leave(self) -> None:
        """Close it."""
        self._read = None
        self.display = False
        self.screen.set_focus(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Judge what stands there now."""
        event.stop()
        self._judge(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, if it can be read."""
        event.stop()
        choice = self._judge(event.value)
        if choice is not None:
            self.action_leave()
            self.post_message(self.Taken(choice))

    def _judge(self, text: str) -> Choice | None:
        if self._read is None:
            return None
        said = self.query_one("#said", Static)
        try:
            choice = self._read(text)
        except NetsondeError as error:
            said.update(f"✗ {escaped(str(error))}")
            said.styles.color = "ansi_red"
            return None
        said.update(self._hint)
        said.styles.color = "ansi_default"
        return choice
