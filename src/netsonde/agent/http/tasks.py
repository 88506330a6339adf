"""`/v1/tasks`: what is measured, with an ETag on each task."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody

from netsonde.agent.http.document import problems
from netsonde.agent.http.strict import Strict
from netsonde.agent.tasks import Configured, Tasks
from netsonde.model.asking import checked_filter, written_filter
from netsonde.model.certificate import Covered
from netsonde.model.coverage import Coverage
from netsonde.model.key import KeyType
from netsonde.model.resource import CounterSpec, TaskBody, TaskList, TaskSpec
from netsonde.model.task import Counter, Increment
from netsonde.model.window import wall_text

IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="ETag that the task was read with")
]
_ANY = "*"


def routes(tasks: Tasks) -> list[HTTPRouteHandler]:
    """Give the handlers over an agent's tasks."""
    return [*_reads(tasks), *_changes(tasks)]


def _reads(tasks: Tasks) -> list[HTTPRouteHandler]:

    @get("/v1/tasks", tags=["tasks"], summary="List tasks")
    async def list_tasks() -> TaskList:
        return TaskList(tasks=tuple(_body(task) for task in await tasks.all()))

    @post(
        "/v1/tasks",
        tags=["tasks"],
        dto=Strict.of(TaskSpec),
        return_dto=None,
        summary="Add a task",
        responses=problems(400, 503),
    )
    async def add_task(data: JSONBody[TaskSpec]) -> Response[TaskBody]:
        done = await tasks.add(checked_filter(data.filter), _counters(data), data.scope)
        return _answer(done, {"Location": f"/v1/tasks/{done.task.id}"})

    @get(
        "/v1/tasks/{task_id:int}",
        tags=["tasks"],
        summary="Show a task",
        responses=problems(404),
    )
    async def show_task(task_id: FromPath[int]) -> Response[TaskBody]:
        return _answer(await tasks.one(task_id))

    return [list_tasks, add_task, show_task]


def _changes(tasks: Tasks) -> list[HTTPRouteHandler]:
    @put(
        "/v1/tasks/{task_id:int}",
        tags=["tasks"],
        dto=Strict.of(TaskSpec),
        return_dto=None,
        summary="Replace a task",
        responses=problems(400, 404, 412, 428, 503),
    )
    async def replace_task(
        task_id: FromPath[int], data: JSONBody[TaskSpec], if_match: IfMatch = None
    ) -> Response[TaskBody]:
        if if_match is None:
            raise HTTPException(
                status_code=428, detail="the header If-Match is needed: the ETag of the task"
            )
        wanted = checked_filter(data.filter)
        etag = None if if_match == _ANY else _plain(if_match)
        return _answer(await tasks.replace(task_id, wanted, _counters(data), data.scope, etag))

    @delete(
        "/v1/tasks/{task_id:int}",
        tags=["tasks"],
        summary="Remove a task",
        responses=problems(400, 404, 412),
    )
    async def remove_task(task_id: FromPath[int], if_match: IfMatch = None) -> Response[None]:
        etag = None if if_match in (None, _ANY) else _plain(if_match or "")
        coverage = await tasks.remove(task_id, etag)
        return Response(None, headers={"X-Netsonde-Coverage": coverage.header()})

    return [replace_task, remove_task]


def covered(coverage: Coverage) -> Covered:
    """Write coverage as `/v1` does."""
    return Covered(
        asked=len(coverage.members),
        answered=coverage.answered,
        missing=dict(sorted(coverage.missing.items())),
        partial=dict(sorted(coverage.partial.items())),
    )


def _counters(spec: TaskSpec) -> tuple[Counter, ...]:
    return tuple(
        Counter(
            key_type=KeyType.parse(counter.by, "by").name,
            increment=Increment(counter.increment),
            hitter_threshold=counter.hitter_threshold,
        )
        for counter in spec.counters
    )


def _body(done: Configured) -> TaskBody:
    task = done.task
    return TaskBody(
        id=task.id,
        filter=written_filter(task.filter),
        counters=tuple(
            CounterSpec(
                by=counter.key_type,
                increment=counter.increment.value,
                hitter_threshold=counter.hitter_threshold,
            )
            for counter in task.counters
        ),
        scope=done.scope,
        since_tick=task.since_tick,
        since=wall_text(task.since_tick),
        etag=done.etag,
        coverage=covered(done.coverage),
    )


def _answer(done: Configured, more: dict[str, str] | None = None) -> Response[TaskBody]:
    return Response(_body(done), headers={"ETag": f'"{done.etag}"', **(more or {})})


def _plain(etag: str) -> str:
    """Take the quotes from an entity tag, which must be a strong one (RFC 9110 §13.1.1)."""
    return etag.strip().removeprefix('"').removesuffix('"')
