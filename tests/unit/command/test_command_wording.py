"""Arguments of a program: how they are read, and what is said of wrong ones."""

from typing import Literal

import pytest
from cyclopts import App

from netsonde.command import reading, wording
from netsonde.command.reading import MaybeWhole, Whole
from netsonde.model.errors import BadField

app = App(name="prog", help_format="plaintext")
seen: list[object] = []


@app.command(help_epilogue="Such as: prog draw 3 --colour red")
def draw(number: Whole, *, colour: Literal["red", "green"] = "red", size: MaybeWhole = None) -> int:
    """Draw.

    Args:
        number: how many circles.
    """
    seen.append((number, colour, size))
    return 0


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert reading.run(app, argv) == reading.WRONG
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (["draw"], "prog draw: NUMBER is missing: how many circles"),
        (["draw", "1.5"], "prog draw: NUMBER is '1.5'; allowed: a whole number"),
        (["draw", "1", "--size", "x"], "prog draw: --size is 'x'; allowed: a whole number"),
        (["draw", "1", "--size"], "prog draw: --size needs a value"),
        (["draw", "1", "--colour", "gren"], "prog draw: --colour is 'gren'; did you mean green?"),
        (["draw", "1", "--colr", "red"], "prog draw: there is no option --colr; did you mean --co"),
        (["draw", "1", "--x"], "prog draw: there is no option --x; allowed: --colour, --size"),
        (["draw", "1", "2"], "prog draw: '2' is one too many"),
        (["drew"], "prog: there is no command 'drew'; did you mean draw?"),
        (["paint"], "prog: there is no command 'paint'; allowed: draw"),
    ],
)
def test_what_is_wrong_is_one_sentence(capsys, argv: list[str], first: str) -> None:
    sentence = said(capsys, *argv)
    assert sentence.startswith(first)
    assert sentence.endswith("--help' tells more\n")
    assert ("such as: prog draw 3 --colour red" in sentence) == (argv[0] == "draw")


def test_a_whole_number_is_not_rounded() -> None:
    assert reading.run(app, ["draw", "7", "--size", "2"]) == 0
    assert seen[-1] == (7, "red", 2)


def test_a_group_alone_did_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.run(app, []) == reading.WRONG
    assert reading.run(app, ["--help"]) == 0
    assert capsys.readouterr().out.count("Usage: prog COMMAND") == 2


def test_a_field_is_told_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    command = wording.command_of(app, ["draw"])
    assert wording.typed(command, "number") == "NUMBER"
    assert wording.typed(command, "filter.size") == "--size"
    assert wording.typed(command, "sizes[0]") == "--size"
    assert wording.typed(command, "stdin") == "stdin"
    assert reading.refuse(app, ["draw"], BadField("size", 9, "1 to 8")) == reading.WRONG
    assert capsys.readouterr().err.startswith("prog draw: --size is '9'; allowed: 1 to 8\n")
