"""A fan-in's commands carried out: every member is asked at once, each within its budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from netsonde.daemon.failures import Failures
from netsonde.model.coverage import Refusal
from netsonde.model.errors import NetsondeError, Unforeseen
from netsonde.overlay.gather import Ask, Gather, Lost, Replied


async def carried_out(
    gather: Gather,
    commands: Sequence[Ask],
    ask: Callable[[Ask], Awaitable[Replied]],
    failures: Failures,
) -> None:
    """Carry out a fan-in's commands at once, each within its budget, and feed it the events.

    What nobody foresaw while a member was asked is noted, and costs that member alone.
    """

    async def one(command: Ask) -> None:
        try:
            async with asyncio.timeout(command.budget_ms / 1000):
                gather.handle(await ask(command))
        except TimeoutError:
            reason = f"no answer within {command.budget_ms} ms"
            gather.handle(Lost(member=command.member, reason=reason))
        except NetsondeError as error:
            lost = Lost(
                member=command.member,
                reason=str(error),
                refusal=Refusal.of(error),
                retry_after_s=error.retry_after_s,
            )
            gather.handle(lost)
        except Exception as error:  # whatever it is, the others' parts stand
            failures.note("answer", error)
            gather.handle(Lost(member=command.member, reason=str(Unforeseen.of(error))))

    if len(commands) <= 1:  # a host without children needs no tasks
        for command in commands:
            await one(command)
        return
    async with asyncio.TaskGroup() as group:
        for command in commands:
            group.create_task(one(command))
