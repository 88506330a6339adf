"""Settings: flags over file over defaults, and every bad one named."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from netsonde.daemon import settings
from netsonde.model.errors import BadField


class Pace(StrEnum):
    EASY = "easy"
    BRISK = "brisk"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    listen: Annotated[str, msgspec.Meta(description="where, 100 % sure")] = "here"
    deadline_ms: Annotated[int, msgspec.Meta(ge=50, description="how long")] = 1000
    log_json: bool = False
    pace: Pace = Pace.EASY
    devices: Annotated[tuple[str, ...], msgspec.Meta(max_length=3, description="which")] = ()


def read(*argv: str) -> Example:
    return settings.read(Example, "example", "An example.", argv)


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text('listen = "there"\ndeadline_ms = 70\n')
    assert read() == Example()
    assert read("--config", str(file)) == Example(listen="there", deadline_ms=70)
    both = read("--config", str(file), "--deadline-ms", "80", "--log-json", "true")
    assert both == Example(listen="there", deadline_ms=80, log_json=True)
    assert read("--log-json") == Example(log_json=True)


def test_several_are_a_flag_with_commas_and_a_list_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "example.toml"
    file.write_text('devices = ["eth0", "eth1"]')
    assert read("--config", str(file)).devices == ("eth0", "eth1")
    assert read("--config", str(file), "--devices", "lo").devices == ("lo",)
    assert read("--devices", "eth0,eth1,lo").devices == ("eth0", "eth1", "lo")
    with pytest.raises(BadField, match="a list: at most 3, each text"):
        read("--devices", "a,b,c,d")
    with pytest.raises(SystemExit):
        read("--help")
    assert "which (default: none)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("deadline_ms = 1", "deadline_ms"),
        ('devices = "eth0"', "devices"),
        ('deadline_ms = "soon"', "deadline_ms"),
        ("listen = 5", "listen"),
        ("dead_line_ms = 70", "dead_line_ms"),
        ("deadline_ms = ", "config"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, field: str) -> None:
    file = tmp_path / "example.toml"
    file.write_text(text)
    with pytest.raises(BadField) as refused:
        read("--config", str(file))
    assert refused.value.field == field


def test_a_bad_flag_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadField, match=r"deadline_ms.*'49'"):
        read("--deadline-ms", "49")
    with pytest.raises(BadField, match="config"):
        read("--config", str(tmp_path / "none.toml"))


def test_a_bad_choice_is_told_the_choices() -> None:
    with pytest.raises(BadField, match=r"pace.*'slow'.*easy, brisk"):
        read("--pace", "slow")
    assert read("--pace", "brisk").pace is Pace.BRISK


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    said = capsys.readouterr().out
    assert all(word in said for word in ("--listen", "100 % sure", "--deadline-ms", "1000"))
