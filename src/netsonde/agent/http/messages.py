"""One prototype message to one verb of the service to one reply."""

from __future__ import annotations

from collections.abc import Mapping

from netsonde.agent.http import replies
from netsonde.agent.http.replies import Reply
from netsonde.agent.paths import Kind
from netsonde.agent.service import Service
from netsonde.model.task import Question
from netsonde.model.window import REAL_TIME, TOTAL
from netsonde.wire import legacy
from netsonde.wire.legacy import ProbeKind

_PROBES: dict[ProbeKind, Kind] = {
    "bw": "throughput",
    "jitter": "echo",
    "delay": "echo",
    "loss": "echo",
}


_Config = legacy.ConfigSketch | legacy.ConfigSketchCounter | legacy.ConfigCounter
_Tree = legacy.QueryLeafAgents | legacy.AddLeafAgent | legacy.RemoveLeafAgent | legacy.LeaveParent
_Query = (
    legacy.QueryHeavyHitters
    | legacy.QueryRealTimeCounter
    | legacy.QuerySketch
    | legacy.QueryCounter
)


async def handle(fields: Mapping[str, object], service: Service) -> Reply:
    """Carry out one message; raises the errors of `legacy.parse` and of the service's verbs."""
    asked = legacy.parse(fields)
    if isinstance(asked, legacy.ProbePath):
        result = await service.measure(_PROBES[asked.kind], asked.src, asked.dst)
        return replies.probe(asked.kind, asked.src, asked.dst, result)
    if isinstance(asked, _Tree):
        return await _place(asked, service)
    if isinstance(asked, _Config):
        return await _configure(asked, service)
    return await _ask(asked, service)


async def _place(asked: _Tree, service: Service) -> Reply:
    match asked:
        case legacy.QueryLeafAgents():
            return replies.listing(*service.leaves())
        case legacy.AddLeafAgent(agent_addr=child):
            return replies.adopted(child, await service.add_leaf(child))
        case legacy.RemoveLeafAgent(agent_addr=child):
            return replies.removed(child, told=await service.remove_leaf(child))
        case legacy.LeaveParent():
            return replies.left(*await service.leave_parent())


async def _configure(asked: _Config, service: Service) -> Reply:
    match asked:
        case legacy.ConfigSketch():
            done = await service.tasks.add(asked.filter, scope=asked.scope)
            return replies.configured(str(done.task.id), done)
        case legacy.ConfigSketchCounter(counter=counter):
            done = await service.tasks.add_counter(asked.sketch_id, counter, asked.scope)
            text = f"sketch {done.task.id} counts {counter.increment.value} by {counter.key_type}"
            return replies.configured(text, done)
        case legacy.ConfigCounter():
            done = await service.tasks.count(asked.filter, asked.scope)
            answer = await service.questions.about_counter(asked.filter, asked.scope)
            return replies.totals(answer)


async def _ask(asked: _Query, service: Service) -> Reply:
    if isinstance(asked, legacy.QueryCounter):
        return replies.totals(await service.questions.about_counter(asked.filter, asked.scope))
    answer = await service.questions.about_sketch(_question(asked), asked.scope)
    summary = answer.summary
    if isinstance(asked, legacy.QuerySketch):
        bound = summary.distinct if asked.key is None else summary.count(asked.key)
        return replies.number(bound, answer)
    rows = summary.rows()
    if isinstance(asked, legacy.QueryHeavyHitters):
        rows = [row for row in rows if row.heavy]
    return replies.table(asked.key_type, rows, answer)


def _question(
    asked: legacy.QueryHeavyHitters | legacy.QueryRealTimeCounter | legacy.QuerySketch,
) -> Question:
    real_time = isinstance(asked, legacy.QueryRealTimeCounter)
    one = asked if isinstance(asked, legacy.QuerySketch) else None
    return Question(
        series="sketch",
        task_id=asked.sketch_id,
        key_type=asked.key_type,
        window=REAL_TIME if real_time else one.window if one else TOTAL,
        key=one.key if one else None,
    )
