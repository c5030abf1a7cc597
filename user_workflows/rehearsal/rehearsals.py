"""Dry runs of workflows, a few at a time: they compute in the process that is asked."""

import asyncio
from collections.abc import Mapping
from typing import Any

from plugins.egress.client import EgressClient
from plugins.host.registry import Registry
from user_workflows.definition.faults import pointer
from user_workflows.errors import InvalidInput
from user_workflows.rehearsal.rehearse import Rehearsal, RehearsedStep, Subject, rehearse
from user_workflows.workflows.workflows import Workflows

__all__ = ["Rehearsal", "Rehearsals", "RehearsedStep"]

#: others wait
_AT_A_TIME = 2


class Rehearsals:
    """Makes dry runs. Every method takes the tenant from the principal.

    Args:
        workflows: where plans come from.
        registry: the plugins that nodes name.
        egress: of this process; nothing is let through it.
    """

    def __init__(self, *, workflows: Workflows, registry: Registry, egress: EgressClient) -> None:
        self._workflows = workflows
        self._registry = registry
        self._egress = egress
        self._room = asyncio.Semaphore(_AT_A_TIME)

    async def version(
        self, tenant_id: str, workflow_id: str, version: int | None, given: Any, pins: Mapping[str, Any]
    ) -> Rehearsal:
        """Rehearse a version, by default the published one.

        Raises:
            NotFound: no such workflow or version of this tenant.
            Conflict: nothing is published.
            InvalidInput: a pin names no node, or one that has no output.
        """
        published = await self._workflows.plan(tenant_id, workflow_id, version)
        return await self._rehearse(
            Subject(
                workflow_id=workflow_id,
                version=published.version,
                definition=published.definition,
                plan=published.plan,
                pins=pins,
            ),
            given,
        )

    async def draft(self, tenant_id: str, workflow_id: str, given: Any, pins: Mapping[str, Any]) -> Rehearsal:
        """Rehearse the draft.

        Raises:
            NotFound: no such workflow of this tenant.
            InvalidDefinition: with every error of the draft.
            InvalidInput: a pin names no node, or one that has no output.
        """
        definition, plan = await self._workflows.compile_draft(tenant_id, workflow_id)
        return await self._rehearse(
            Subject(workflow_id=workflow_id, version=None, definition=definition, plan=plan, pins=pins), given
        )

    async def _rehearse(self, subject: Subject, given: Any) -> Rehearsal:
        nodes = {node.id: node for graph in subject.plan.graphs() for node in graph.nodes}
        for node_id in subject.pins:
            if node_id not in nodes:
                raise InvalidInput(pointer("pins", node_id), "there is no node of this id")
            if nodes[node_id].plugin == "stop":
                raise InvalidInput(pointer("pins", node_id), "it ends the execution, and has no output to pin")
        async with self._room:
            return await asyncio.to_thread(rehearse, subject, given, registry=self._registry, egress=self._egress)
