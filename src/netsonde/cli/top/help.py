"""What keys do and signs mean, over the page."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

TEXT = """\
netsonde top                                    escape closes this

k  next key type         K  type one: src_dport, dst/24 ...
w  next window           W  type one: last 5m, or a range of time
i  packets or bytes      d  INPUT, OUTPUT or both
/  filter                t  task, by its id
s  sort by count, doubt or key
down up  select a row    enter  look into it    backspace  back
space  pause             q  quit

█ certain    ▒ up to the estimate    ░ possible: truth is never
  beyond it. A count without brackets is exact; [low..high] are
  its bounds. In the rate, · is a second nobody counted.

The last line says how far to trust the page: exact or not, hosts
that answered, what was dropped, the window, where it was counted.
Dimmed: not what was asked for last, or old; its age is said.
One question a second is asked, never two of a kind at once.
"""


class Help(ModalScreen[None]):
    """The help; any of its keys closes it."""

    DEFAULT_CSS = """
    Help { align: center middle; background: ansi_default; }
    Help VerticalScroll {
        width: 72; max-width: 100%; height: auto; max-height: 100%;
        border: round ansi_default; background: ansi_default; padding: 0 1;
    }
    Help Static { background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,question_mark,h,f1,enter,space", "dismiss", "close")
    ]

    def compose(self) -> ComposeResult:
        """Show the text."""
        with VerticalScroll():
            yield Static(TEXT, markup=False)
