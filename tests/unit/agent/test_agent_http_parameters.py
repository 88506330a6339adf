"""Bodies and parameters that say something twice, or what there is not, are refused by name."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from fleet import Fleet, with_fleet
from hypothesis import given
from hypothesis import strategies as st

from netsonde.agent.http import body
from netsonde.model.errors import BadField

ASKED = quote('{"ask": "count"}')
CALLS = [
    ("GET", "/v1/tasks"),
    ("POST", "/v1/tasks"),
    ("GET", "/v1/tasks/1"),
    ("PUT", "/v1/tasks/1"),
    ("DELETE", "/v1/tasks/1"),
    ("POST", "/v1/questions"),
    ("GET", "/v1/questions/stream?q=" + ASKED),
    ("GET", "/v1/detectors"),
    ("PUT", "/v1/detectors/mine"),
    ("DELETE", "/v1/detectors/mine"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/stream"),
    ("GET", "/v1/webhooks"),
    ("PUT", "/v1/webhooks/mine"),
    ("DELETE", "/v1/webhooks/mine"),
    ("GET", "/v1/host"),
    ("GET", "/v1/members"),
    ("GET", "/v1/docs"),
]


@with_fleet
async def test_a_parameter_that_there_is_not_is_refused_by_every_call(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for method, path in CALLS:
        sign = "&" if "?" in path else "?"
        reply = await agent.client.request(method, f"{path}{sign}evry=1s", json={})
        assert reply.status_code == 400, (method, path)
        said = reply.json()
        assert (said["field"], said["value"]) == ("evry", "1s")
        there = {"/v1/events": "after, limit, detector, state"}.get(path, "")
        there = "q, every" if "/questions/stream" in path else there
        assert there in said["allowed"]
        assert "no such parameter" in said["allowed"]


@with_fleet
async def test_a_bad_parameter_is_refused_in_words(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for path, field, allowed in (
        ("/v1/events?limit=x", "limit", "a whole number, 1 to 1000"),
        ("/v1/events?limit=0", "limit", "a whole number, 1 to 1000"),
        ("/v1/events?limit=1001", "limit", "a whole number, 1 to 1000"),
        ("/v1/events?state=x", "state", "cleared, raised"),
        ("/v1/events?limit=1&limit=2", "limit", "twice"),
        (f"/v1/questions/stream?q={ASKED}&q={ASKED}", "q", "twice"),
    ):
        reply = await agent.client.get(path)
        assert reply.status_code == 400, path
        said = reply.json()
        assert said["field"] == field
        assert allowed in said["allowed"], said


@with_fleet
async def test_a_key_given_twice_is_refused_wherever_it_is(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    json = {"Content-Type": "application/json"}
    twice = '{"ask": "count", "filter": {"proto": 6, "proto": 17}}'
    for reply in (
        await agent.client.post("/v1/questions", content=twice, headers=json),
        await agent.client.get(f"/v1/questions/stream?q={quote(twice)}"),
        await agent.client.post(
            "/v1/tasks", content=twice.replace('"ask": "count", ', ""), headers=json
        ),
        await agent.client.post(
            "/", content='{"proto": 6, "type": "config counter", "proto": 17}', headers=json
        ),
        await agent.client.post("/", data={"type": "x", "proto": ["6", "17"]}),
    ):
        assert reply.status_code == 400, reply.text
        assert "proto" in reply.text
        assert "twice" in reply.text
    assert (await agent.client.get("/v1/tasks")).json()["tasks"] == []


@with_fleet
async def test_bodies_of_v1_say_what_they_are(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        headers = {} if kind is None else {"Content-Type": kind}
        for method, path in CALLS:
            if method in ("POST", "PUT"):
                reply = await agent.client.request(method, path, content=b"{}", headers=headers)
                assert reply.status_code in (415, 428), (method, path, kind)
    for kind in ("application/json", "APPLICATION/JSON", "application/json; charset=utf-8"):
        reply = await agent.client.post(
            "/v1/questions", content=b'{"ask": "count"}', headers={"Content-Type": kind}
        )
        assert reply.status_code == 200


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.text(max_size=40))
def test_any_bytes_are_fields_or_refused_by_name(content: bytes, kind: str) -> None:
    for said in (kind, "application/json", "application/x-www-form-urlencoded"):
        try:
            fields: dict[str, Any] = body.read(said, content)
        except BadField:
            continue
        assert len(fields) <= body.MAX_FIELDS
        msgspec.json.encode(fields)


@pytest.mark.parametrize("field", ["type", "\\u0074ype"])
def test_an_escaped_key_is_the_same_key(field: str) -> None:
    with pytest.raises(BadField):
        body.read("application/json", f'{{"type": "a", "{field}": "b"}}'.encode())
