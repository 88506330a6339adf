"""The client's errors: one tree, one boundary, sentences that name what was asked."""

from __future__ import annotations

import asyncio
import inspect

import httpx
import pytest
import v1

from netsonde import client
from netsonde.client import errors

URL = "http://10.0.0.2:8000"
HTTPX = [
    kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, Exception)
]
_REQUEST = httpx.Request("GET", URL)


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        return kind("why", request=_REQUEST, response=httpx.Response(500, request=_REQUEST))
    takes_nothing = (httpx.StreamConsumed, httpx.StreamClosed)
    takes_nothing += (httpx.ResponseNotRead, httpx.RequestNotRead)
    return kind() if issubclass(kind, takes_nothing) else kind("why")


def ask(service: v1.V1) -> errors.ClientError:
    async def asking() -> None:
        async with client.AsyncClient(URL, transport=service.transport) as asked:
            await asked.top("src")

    with pytest.raises(errors.ClientError) as raised:
        asyncio.run(asking())
    return raised.value


def test_there_are_errors_of_httpx() -> None:
    assert {httpx.ConnectError, httpx.InvalidURL, httpx.StreamClosed} <= set(HTTPX)


@pytest.mark.parametrize("kind", HTTPX)
def test_every_error_of_httpx_is_one_of_ours(kind: type[Exception]) -> None:
    error = ask(v1.V1([made(kind)]))
    assert URL in str(error)
    assert isinstance(error.__cause__, kind)


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        (httpx.ConnectError, errors.Unreachable),
        (httpx.RemoteProtocolError, errors.Unreachable),
        (httpx.ConnectTimeout, errors.TimedOut),
        (httpx.UnsupportedProtocol, errors.BadAddress),
        (httpx.DecodingError, errors.NotUnderstood),
    ],
)
def test_they_mean_the_same(kind: type[Exception], ours: type[Exception]) -> None:
    assert type(ask(v1.V1([made(kind)]))) is ours


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        (400, errors.WrongField),
        (413, errors.WrongField),
        (404, errors.NoSuch),
        (412, errors.Changed),
        (428, errors.Changed),
        (503, errors.Away),
        (500, errors.Refused),
    ],
)
def test_a_problem_is_raised_by_its_status(status: int, ours: type[Exception]) -> None:
    error = ask(v1.refusing(status))
    assert type(error) is ours
    assert str(error) == "because"


def test_a_wrong_field_says_what_is_allowed() -> None:
    error = ask(v1.refusing(400, field="by", value="scr", allowed="src, dst"))
    assert isinstance(error, errors.WrongField)
    assert (error.field, error.value, error.allowed) == ("by", "scr", "src, dst")


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"ask": "top"}),
        httpx.Response(200, json={"ask": "count"}),
        httpx.Response(404, text="nginx"),
    ],
)
def test_another_service_is_not_understood(reply: httpx.Response) -> None:
    error = ask(v1.V1([reply]))
    assert type(error) is errors.NotUnderstood
    assert URL in str(error)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_limit_or_a_proxy_in_front_says_that_asking_again_may_help(status: int) -> None:
    error = ask(v1.V1([httpx.Response(status, text="all connections are taken\n")]))
    assert type(error) is errors.Away
    assert str(error) == f"{URL} answered {status}: all connections are taken"


@pytest.mark.parametrize("url", ["10.0.0.2:8000", "ftp://10.0.0.2", "http://", "http://h:port"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.BadAddress, match="http://HOST:PORT"):
        client.AsyncClient(url)


def test_a_closed_client_says_so() -> None:
    async def asking() -> None:
        closed = client.AsyncClient(URL)
        await closed.close()
        await closed.top("src")

    with pytest.raises(errors.Closed):
        asyncio.run(asking())
