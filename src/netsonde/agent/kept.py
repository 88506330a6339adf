"""What an agent keeps: its place in the tree, its tasks and its webhooks, in memory and on disk.

The one idea: what is in memory is what is on disk. A change that was asked for and cannot be kept
has not happened; one that came from elsewhere stands, and its loss at a restart is logged.
"""

from __future__ import annotations

import structlog

from netsonde.agent.state import State, StateFile
from netsonde.model.errors import Unavailable
from netsonde.model.resource import Webhook
from netsonde.overlay.tasks import Book
from netsonde.overlay.tree import Tree

log = structlog.get_logger()


class Kept:
    """The state of one agent: empty and kept nowhere, until it is restored."""

    def __init__(self, own: str, only_parent: str = "") -> None:
        """`only_parent`: as of `Tree`."""
        self.tree = Tree(own, only_parent=only_parent)
        self.book = Book()
        self.webhooks: dict[str, Webhook] = {}
        self._file: StateFile | None = None

    def restore(self, file: StateFile) -> None:
        """Go on with what a file keeps, and keep it there; raises Unavailable.

        What came from a parent that may not be one is forgotten.
        """
        state = file.load()
        self.tree = Tree(
            self.tree.own,
            state.path,
            state.children,
            removed=state.removed,
            left=state.left,
            only_parent=self.tree.only_parent,
        )
        self.book = state.book if self.tree.path == state.path else state.book.inherit(())
        self.webhooks = state.webhooks
        self._file = file

    def change(self, book: Book) -> None:
        """Take another book of tasks; raises Unavailable, with no change, if it cannot be kept."""
        self._save(book)
        self.book = book

    def change_webhooks(self, webhooks: dict[str, Webhook]) -> None:
        """Take other webhooks; raises as `change`."""
        before, self.webhooks = self.webhooks, webhooks
        try:
            self._save(self.book)
        except Unavailable:
            self.webhooks = before
            raise

    def keep(self) -> None:
        """Write what has changed in memory already."""
        try:
            self._save(self.book)
        except Unavailable as error:
            log.error("state not kept", reason=str(error))

    def _save(self, book: Book) -> None:
        if self._file is not None:
            self._file.save(self._state(book))

    def _state(self, book: Book) -> State:
        return State(
            own=book.own,
            inherited=book.inherited,
            own_detectors=book.own_detectors,
            inherited_detectors=book.inherited_detectors,
            webhooks=self.webhooks,
            path=self.tree.path,
            children=self.tree.children,
            removed=self.tree.removed,
            left=self.tree.left,
        )
