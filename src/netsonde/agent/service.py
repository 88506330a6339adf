"""What an agent can be asked to do: its verbs, by what they are about.

The one idea: an agent without a parent speaks for its whole subtree, any other for its host alone,
so the answer for a host does not depend on the shape of the tree; `scope` says otherwise.
"""

from __future__ import annotations

import asyncio

import msgspec

from netsonde.agent.detectors import Detectors
from netsonde.agent.http.budget import Budget
from netsonde.agent.metrics import Metrics, Served
from netsonde.agent.node import Node
from netsonde.agent.paths import Kind, Paths
from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Reply, Request
from netsonde.agent.questions import Questions
from netsonde.agent.tasks import Tasks
from netsonde.agent.webhooks import Webhooks
from netsonde.daemon.failures import Failures
from netsonde.model.coverage import Coverage
from netsonde.model.errors import Unavailable
from netsonde.model.resource import Host
from netsonde.wire import peer


class Service:
    """The verbs of one agent."""

    def __init__(
        self,
        *,
        node: Node,
        paths: Paths,
        tasks: Tasks,
        detectors: Detectors,
        questions: Questions,
        webhooks: Webhooks,
        served: Served,
        budget: Budget,
        metrics: Metrics,
        software: str,
        query_deadline_ms: int,
        failures: Failures,
    ) -> None:
        self.tasks = tasks
        self.detectors = detectors
        self.questions = questions
        self.webhooks = webhooks
        self.served = served
        self.budget = budget
        self.metrics = metrics
        self.ring = node.ring
        self.failures = failures
        self._node = node
        self._software = software
        self._paths = paths
        self._query_deadline_ms = query_deadline_ms

    async def measure(self, kind: Kind, src: str, dst: str) -> peer.ProbeResult:
        """Measure a path; raises as `Paths.measure`."""
        return await self._paths.measure(kind, src, dst)

    async def add_leaf(self, child: str) -> peer.Adopted:
        """Adopt a child; raises as `Children.add`."""
        return await self._node.children.add(child)

    async def remove_leaf(self, child: str) -> bool:
        """Let a child go; tells whether it could be told, raises as `Children.remove`."""
        return await self._node.children.remove(child)

    async def leave_parent(self) -> tuple[str, Coverage]:
        """Be no child any more; gives and raises as `Node.leave_parent`."""
        return await self._node.leave_parent()

    def leaves(self) -> tuple[tuple[str, ...], Coverage]:
        """List the children, and who below is connected."""
        return tuple(self._node.tree.children), self._node.children.coverage()

    async def host(self) -> Host:
        """Tell how this host's monitor is; raises Unavailable when it is away or too slow."""
        try:
            async with asyncio.timeout(self._query_deadline_ms / 1000):
                status = await self._node.monitor_status()
        except TimeoutError:
            raise Unavailable("the monitor does not answer in time") from None
        tree = self._node.tree
        told = msgspec.structs.asdict(status)
        return Host(host=tree.own, software=self._software, parent=tree.parent, **told)

    async def serve_peer(self, request: Request, inbound: Inbound) -> Reply:
        """Serve another agent."""
        if isinstance(request, peer.Adopt):
            return await self._node.be_adopted(request, inbound)
        if isinstance(request, peer.Release):
            return self._node.be_released(request, inbound)
        if isinstance(request, peer.Query):
            return await self._node.answer_parent(request, inbound)
        return await self._paths.handle(request, inbound)
