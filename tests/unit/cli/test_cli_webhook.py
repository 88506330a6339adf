"""`netsonde webhook set`: where a secret comes from and where it goes."""

import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from netsonde.cli import main
from netsonde.cli.webhook import MAX_SECRET_BYTES

SECRET = "0123456789abcdef"


class Taken(BaseHTTPRequestHandler):
    """Takes any webhook, and says of it what an agent would."""

    bodies: ClassVar[list[dict[str, object]]] = []

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        if "own" in body["url"]:
            allowed = {"field": "url", "value": body["url"], "allowed": "a URL of another host"}
            self.answer(400, {"type": "", "title": "", "status": 400, "detail": ""} | allowed)
            return
        shown = {"url": body["url"], "detectors": None}
        counts = dict.fromkeys(("delivered", "failed", "dropped", "waiting"), 0)
        told = {"name": "p", "webhook": shown, "signed": bool(body.get("secret"))}
        self.answer(200, told | counts)

    def answer(self, status: int, said: dict[str, object]) -> None:
        reply = json.dumps(said)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    with HTTPServer(("127.0.0.1", 0), Taken) as server:
        monkeypatch.setenv("NETSONDE_URL", f"http://127.0.0.1:{server.server_port}")
        Taken.bodies = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Taken.bodies
        server.shutdown()
        thread.join()


def test_a_secret_is_read_from_a_file_or_standard_input_and_never_printed(
    service: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SECRET.encode())))
    for options in (["--secret-file", str(file)], ["--secret-file", "-"], ["--unsigned"], []):
        with pytest.raises(SystemExit) as end:
            main.main(["webhook", "set", "p", "http://x/", *options])
        assert end.value.code == 0
    assert [body.get("secret") for body in service] == [SECRET, SECRET, "", None]
    said = capsys.readouterr().out
    assert "webhook p sends to http://x/, signed" in said
    assert SECRET not in said


def test_a_secret_s_file_is_read_so_far_and_no_further(
    service: list[dict[str, object]], tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("s" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(SystemExit):
        main.main(["webhook", "set", "p", "http://x/", "--secret-file", str(file)])
    assert [len(str(body["secret"])) for body in service] == [MAX_SECRET_BYTES]


@pytest.mark.usefixtures("service")
def test_where_none_may_lead_is_told_of_the_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """The option --url is the agent that is asked."""
    with pytest.raises(SystemExit) as end:
        main.main(["webhook", "set", "p", "http://own/"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "'http://own/'; allowed: a URL of another host" in said
    assert "--url" not in said
