"""The pages about the command and the client say what these say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest
from console import ROOT
from cyclopts import App

from netsonde import client
from netsonde.cli import exits
from netsonde.cli.app import app
from netsonde.model.errors import NetsondeError

PAGE = (ROOT / "docs/reference/command.md").read_text()
CLIENT = (ROOT / "docs/reference/client.md").read_text()


def commands(parent: App = app, typed: str = "netsonde") -> Iterator[tuple[str, App]]:
    """Every command that does something, by what is typed."""
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        here = f"{typed} {name}"
        if child.default_command is not None:
            yield here, child
        yield from commands(child, here)


def options(command: App) -> set[str]:
    """Options of a command; one that switches off is told with the one that switches on."""
    return {
        name
        for argument in command.assemble_argument_collection()
        for name in argument.names
        if name.startswith("--") and not name.startswith("--no-")
    }


def section(command: str) -> str:
    found = re.search(rf"^##+ {re.escape(command)}(?=[ \n]).*?(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, f"{command} has no section"
    return found[0]


ALL = dict(commands())


def test_there_are_commands() -> None:
    assert {"netsonde ask top", "netsonde events", "netsonde task add"} <= ALL.keys()


@pytest.mark.parametrize("command", ALL)
def test_a_section_names_what_a_command_takes(command: str) -> None:
    text = section(command)
    title = text.splitlines()[0]
    for argument in ALL[command].assemble_argument_collection():
        if not argument.field_info.is_keyword_only:
            place = argument.names[-1].removeprefix("--").upper()
            assert place in title or argument.names[0] in text, place
    shared = PAGE.partition("### netsonde ask count")[0]
    for name in options(ALL[command]):
        assert name in text or f"`{name}`" in shared or name.removeprefix("--").upper() in title


def test_the_page_names_no_option_that_is_not_there() -> None:
    known = {name for command in ALL.values() for name in options(command)} | {"--help"}
    named = set(re.findall(r"--[a-z][a-z-]*", PAGE))
    assert named - known <= {"--no-enabled"}


def test_exit_statuses_are_those_of_the_command() -> None:
    rows = re.findall(r"^\| (\d) \| (.*) \|$", PAGE, re.M)
    assert {int(status): what for status, what in rows} == exits.MEANING


def test_the_client_page_names_every_method_and_error() -> None:
    for name, _ in inspect.getmembers(client.Client, callable):
        if not name.startswith("_") and name != "close":
            assert f"`{name}(" in CLIENT, name
    public = [getattr(client, name) for name in client.__all__]
    errors = [each for each in public if isinstance(each, type) and issubclass(each, NetsondeError)]
    assert len(errors) > 10
    assert not [error.__name__ for error in errors if error.__name__ not in CLIENT]
