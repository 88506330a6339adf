"""What an agent keeps and can be told to change: tasks, detectors, webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack
from urllib.parse import quote

from netsonde.client.http import Http
from netsonde.client.questions import FilterFields, counter
from netsonde.model.asked import FilterText
from netsonde.model.resource import (
    CounterSpec,
    DetectorBody,
    DetectorList,
    DetectorSpec,
    TaskBody,
    TaskList,
    TaskSpec,
    Webhook,
    WebhookBody,
    WebhookList,
)
from netsonde.model.task import Scope


def task_spec(
    counters: Iterable[CounterSpec | str] = (),
    scope: Scope | None = None,
    **fields: Unpack[FilterFields],
) -> TaskSpec:
    """Write down a task: `task_spec(["src", "src_dst:bytes"], proto="tcp", dport="80,443")`."""
    made = tuple(counter(each) for each in counters)
    return TaskSpec(filter=FilterText(**fields), counters=made, scope=scope)


class AsyncTasks:
    """Tasks: filters with counters that are kept until they are removed."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def list(self) -> tuple[TaskBody, ...]:
        """Give all tasks of the agent."""
        return (await self._http.send("GET", "/v1/tasks", TaskList)).tasks

    async def get(self, task: int) -> TaskBody:
        """Give one task; raises NoSuch."""
        return await self._http.send("GET", f"/v1/tasks/{task}", TaskBody)

    async def add(
        self,
        counters: Iterable[CounterSpec | str] = (),
        *,
        scope: Scope | None = None,
        **fields: Unpack[FilterFields],
    ) -> TaskBody:
        """Add a task: `add(["src", "src_dst:bytes"], proto="tcp")`; raises WrongField."""
        return await self.add_spec(task_spec(counters, scope, **fields))

    async def add_spec(self, spec: TaskSpec) -> TaskBody:
        """Add a task that is written down; raises WrongField."""
        return await self._http.send("POST", "/v1/tasks", TaskBody, body=spec)

    async def replace(self, task: int, spec: TaskSpec, *, etag: str) -> TaskBody:
        """Make a task another one, if it is still the one that `etag` was read of.

        Raises Changed when it is not, NoSuch, WrongField.
        """
        return await self._http.send("PUT", f"/v1/tasks/{task}", TaskBody, body=spec, etag=etag)

    async def remove(self, task: int, *, etag: str | None = None) -> None:
        """Remove a task, with `etag` only if it is still that one; raises NoSuch, Changed."""
        await self._http.send("DELETE", f"/v1/tasks/{task}", type(None), etag=etag)


class AsyncDetectors:
    """Detectors: standing questions that raise events."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def list(self) -> tuple[DetectorBody, ...]:
        """Give all detectors, built-in ones first."""
        return (await self._http.send("GET", "/v1/detectors", DetectorList)).detectors

    async def set(self, name: str, spec: DetectorSpec) -> DetectorBody:
        """Make or change a detector, built-in ones too; raises WrongField."""
        path = f"/v1/detectors/{quote(name, safe='')}"
        return await self._http.send("PUT", path, DetectorBody, body=spec)

    async def remove(self, name: str) -> None:
        """Remove a detector; a built-in one becomes as it was. Raises NoSuch."""
        await self._http.send("DELETE", f"/v1/detectors/{quote(name, safe='')}", type(None))


class AsyncWebhooks:
    """Webhooks: where events are sent."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def list(self) -> tuple[WebhookBody, ...]:
        """Give all webhooks and how they fare."""
        return (await self._http.send("GET", "/v1/webhooks", WebhookList)).webhooks

    async def set(
        self,
        name: str,
        url: str,
        *,
        detectors: Iterable[str] | None = None,
        secret: str | None = None,
    ) -> WebhookBody:
        """Make or change a webhook; without `detectors` it gets all events.

        What it sends is signed by `secret`, which is never given back. Without one that of the
        webhook before stays, and an empty one takes it away.
        """
        chosen = None if detectors is None else tuple(detectors)
        hook = Webhook(url=url, detectors=chosen, secret=secret)
        path = f"/v1/webhooks/{quote(name, safe='')}"
        return await self._http.send("PUT", path, WebhookBody, body=hook)

    async def remove(self, name: str) -> None:
        """Remove a webhook; raises NoSuch."""
        await self._http.send("DELETE", f"/v1/webhooks/{quote(name, safe='')}", type(None))
